"""Every figure of the reports: each function takes arrays and returns a Figure.

The figures are made without pyplot: no display is needed and no global state is kept.
Save one with `figure.savefig(path)`.
"""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from numpy.typing import ArrayLike
from sklearn.metrics import roc_auc_score, roc_curve

from lstm_keras.evaluation import THRESHOLD, calibration_bins, check_predictions

# The palette of Okabe and Ito (2008), told apart with every kind of color vision;
# without its yellow, which is too pale for a line on white.
BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"
ORANGE, SKY, PURPLE = "#E69F00", "#56B4E9", "#CC79A7"
COLORS = (BLUE, VERMILLION, GREEN, ORANGE, SKY, PURPLE)
LINE_STYLES = ("-", "--", "-.", ":")
REFERENCE_LINE = {"color": "#555555", "linewidth": 0.9, "zorder": 1.5}

UNIT = (-0.02, 1.02)  # the range from 0 to 1 with room for the marks at its ends

Curves = Mapping[str, tuple[ArrayLike, ArrayLike]]


def plot_learning_curves(
    history: Mapping[str, Sequence[float]], best_epoch: int | None = None
) -> Figure:
    """Draw loss and accuracy by epoch, training beside validation.

    Args:
        history: one value per epoch under "loss", "val_loss", "accuracy" and
            "val_accuracy", as `History.history` has them. Missing ones are left out,
            other keys are ignored, and a value that is not finite leaves a gap.
        best_epoch: the epoch to mark, counted from 1.

    Raises:
        ValueError: if there is no curve, a curve is not of shape (epochs,) with at
            least one epoch, or `best_epoch` is not one of the epochs.
    """
    units = {"loss": "nats", "accuracy": "share right"}
    curves = {
        key: _check_curve(values, key)
        for key, values in history.items()
        if key.removeprefix("val_") in units
    }
    if not curves:
        raise ValueError(
            "expected a history with 'loss' or 'accuracy'; "
            f"received the keys {list(history)}"
        )
    epochs = max(len(values) for values in curves.values())
    if best_epoch is not None and not 1 <= best_epoch <= epochs:
        raise ValueError(
            f"expected best_epoch from 1 to {epochs}; received {best_epoch}"
        )
    metrics = [m for m in units if m in curves or f"val_{m}" in curves]
    figure = _figure(4.0 * len(metrics), 3.8)
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    # Markers show single epochs, but would hide a long curve.
    marker = "o" if epochs <= 30 else None
    for metric, axes in zip(metrics, panels, strict=True):
        name = metric.capitalize()
        _label(axes, f"{name} by epoch", "Epoch", f"{name} ({units[metric]})")
        for key, label, color, style in (
            (metric, "training", BLUE, "-"),
            (f"val_{metric}", "validation", VERMILLION, "--"),
        ):
            if key in curves:
                axes.plot(
                    np.arange(1, len(curves[key]) + 1),
                    curves[key],
                    style,
                    color=color,
                    marker=marker,
                    markersize=4,
                    label=label,
                )
        axes.set_xlim(0.5, epochs + 0.5)
        _whole_ticks(axes)
        if best_epoch is not None:
            axes.axvline(
                best_epoch,
                label=f"best epoch ({best_epoch})",
                linestyle=":",
                **REFERENCE_LINE,
            )
    _legend_below(figure, panels, columns=3)
    return figure


def plot_confusion_matrix(
    confusion: ArrayLike, class_names: Sequence[str] = ("negative", "positive")
) -> Figure:
    """Draw counts, and their share of the true class, of every kind of answer.

    Args:
        confusion: counts, shape (classes, classes): rows true, columns predicted.
        class_names: one name per class.

    Raises:
        ValueError: for another shape, a negative or non-finite count, or no example.
    """
    confusion = np.asarray(confusion)
    classes = len(class_names)
    if confusion.shape != (classes, classes):
        raise ValueError(
            f"expected a confusion matrix of shape {(classes, classes)}; "
            f"received shape {confusion.shape}"
        )
    total = confusion.sum()
    if not (np.isfinite(confusion) & (confusion >= 0)).all() or total == 0:
        raise ValueError(
            "expected counts >= 0 with at least one example; "
            f"received {confusion.tolist()}"
        )
    rows = confusion.sum(axis=1, keepdims=True)
    shares = confusion / np.where(rows > 0, rows, 1)
    figure = _figure(4.8, 4.6)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    _label(
        axes,
        f"{np.trace(confusion) / total:.1%} of {total:,.0f} examples are right",
        "Predicted class",
        "True class",
    )
    axes.grid(False)
    names = [textwrap.fill(name, 16) for name in class_names]
    axes.set_xticks(range(classes), names)
    axes.set_yticks(range(classes), names)
    for (row, column), share in np.ndenumerate(shares):
        percentage = f"{share:.1%} of row" if rows[row, 0] else "no example"
        axes.text(
            column,
            row,
            f"{confusion[row, column]:,.0f}\n{percentage}",
            color="white" if share > 0.715 else "black",  # the higher contrast
            horizontalalignment="center",
            verticalalignment="center",
        )
    return figure


def plot_roc(curves: Curves) -> Figure:
    """Draw the ROC curves of several classifiers, each with its area (AUC).

    Args:
        curves: by name of the classifier its labels and probabilities, each of shape
            (n,) or (n, 1). With one class only there is no curve; the legend says so.

    Raises:
        ValueError: if there is no classifier, or for arrays that
            `evaluation.check_predictions` refuses.
    """
    checked = _check_curves(curves)
    figure = _figure(5.2, 4.6)
    axes = figure.subplots()
    _label(
        axes,
        "ROC: positives found against false alarms",
        "False positive rate (share of the negatives)",
        "True positive rate (share of the positives)",
    )
    for index, (name, (labels, probabilities)) in enumerate(checked.items()):
        if labels.min() == labels.max():
            x, y, area = [], [], "undefined: one class only"
        else:
            x, y, _ = roc_curve(labels, probabilities)
            area = f"{roc_auc_score(labels, probabilities):.3f}"
        axes.plot(x, y, label=f"{name} (AUC {area})", **_line_style(index))
    axes.plot([0, 1], [0, 1], label="guessing (AUC 0.500)", **REFERENCE_LINE)
    axes.set(xlim=UNIT, ylim=UNIT, aspect="equal")
    _legend_below(figure, [axes])
    return figure


def plot_calibration(curves: Curves) -> Figure:
    """Draw how often the probabilities come true, and how they are distributed.

    Args:
        curves: by name of the classifier its labels and probabilities, each of shape
            (n,) or (n, 1).

    Raises:
        ValueError: if there is no classifier, or for arrays that
            `evaluation.check_predictions` refuses.
    """
    checked = _check_curves(curves)
    figure = _figure(5.2, 5.6)
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    _label(
        upper,
        "Calibration: do the probabilities come true?",
        "",
        "Observed share of positives",
    )
    _label(
        lower,
        "",
        "Predicted probability (above: mean of each bin)",
        "Share of\nexamples",
    )
    for index, (name, (labels, probabilities)) in enumerate(checked.items()):
        bins = calibration_bins(labels, probabilities)
        filled = [b for b in bins if b["count"]]
        style = _line_style(index)
        upper.plot(
            [b["predicted"] for b in filled],
            [b["observed"] for b in filled],
            marker="o",
            markersize=4,
            label=name,
            **style,
        )
        shares = [b["count"] / len(labels) for b in bins]
        lower.stairs(shares, np.linspace(0, 1, len(bins) + 1), **style)
    upper.plot([0, 1], [0, 1], label="perfect calibration", **REFERENCE_LINE)
    upper.set(xlim=UNIT, ylim=UNIT)
    _legend_below(figure, [upper])
    return figure


def plot_length_accuracy(
    lengths: ArrayLike,
    labels: ArrayLike,
    probabilities: ArrayLike,
    maxlen: int | None = None,
    *,
    buckets: int = 10,
) -> Figure:
    """Draw accuracy by text length, in buckets of about equally many texts.

    Each bucket is drawn at its median length, with the 95% interval of Wilson (1927).

    Args:
        lengths: of the texts in tokens before truncation, shape (n,).
        labels: 0 or 1, shape (n,) or (n, 1).
        probabilities: of label 1, shape (n,) or (n, 1).
        maxlen: the length to which longer texts were cut, marked by a line.
        buckets: number of buckets; fewer are drawn where many lengths are equal.

    Raises:
        ValueError: for lengths of another shape or below 0, `maxlen` or `buckets` below
            1, or arrays that `evaluation.check_predictions` refuses.
    """
    labels, probabilities = check_predictions(labels, probabilities)
    lengths = np.asarray(lengths)
    if lengths.shape != labels.shape or not (lengths >= 0).all():
        raise ValueError(
            f"expected lengths >= 0 of shape {labels.shape}; "
            f"received shape {lengths.shape} and minimum {lengths.min(initial=0)}"
        )
    for name, value in (("maxlen", maxlen), ("buckets", buckets)):
        if value is not None and value < 1:
            raise ValueError(f"expected {name} >= 1; received {name}={value}")
    right = (probabilities > THRESHOLD) == labels
    inner_edges = np.quantile(lengths, np.linspace(0, 1, buckets + 1)[1:-1])
    bucket = np.searchsorted(inner_edges, lengths)
    members = [bucket == number for number in np.unique(bucket)]
    medians = [np.median(lengths[m]) for m in members]
    accuracy = np.array([right[m].mean() for m in members])
    low, high = _wilson_interval(accuracy, np.array([m.sum() for m in members]))

    figure = _figure(6.0, 4.2)
    axes = figure.subplots()
    _label(
        axes,
        "Accuracy by length of the text",
        "Length (tokens; median of the bucket)",
        "Accuracy (share of right answers)",
    )
    size = len(labels) // len(members)
    axes.plot(
        medians,
        accuracy,
        color=BLUE,
        marker="o",
        markersize=4,
        label=f"accuracy per bucket of about {size:,}, with 95% interval",
    )
    axes.errorbar(
        medians,
        accuracy,
        yerr=(accuracy - low, high - accuracy),
        fmt="none",
        ecolor=BLUE,
        elinewidth=1,
        capsize=3,
    )
    axes.axhline(
        right.mean(),
        label=f"accuracy of all {len(labels):,} ({right.mean():.3f})",
        **REFERENCE_LINE,
    )
    if maxlen is not None:
        axes.axvline(
            maxlen,
            color=VERMILLION,
            linestyle="--",
            label=f"longer texts are cut to {maxlen:,} tokens",
        )
    _whole_ticks(axes)
    _legend_below(figure, [axes])
    return figure


def _figure(width: float, height: float) -> Figure:
    """Return an empty figure of that size in inches, laid out without overlaps."""
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    return figure


def _label(axes: Axes, title: str, x_label: str, y_label: str) -> None:
    """Give a panel its labels and the look that all panels share."""
    axes.set_title(title, fontsize=11)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(linewidth=0.4, alpha=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _whole_ticks(axes: Axes) -> None:
    """Put few ticks on the x axis, at whole numbers."""
    axes.xaxis.set_major_locator(
        MaxNLocator(nbins=8, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
    )
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def _line_style(index: int) -> dict[str, str]:
    """Return color and dashes: two cues, so that gray print can be read as well."""
    return {
        "color": COLORS[index % len(COLORS)],
        "linestyle": LINE_STYLES[index % len(LINE_STYLES)],
    }


def _legend_below(figure: Figure, panels: Sequence[Axes], columns: int = 1) -> None:
    """Put one legend for all panels under the figure, where it can hide no data.

    The figure grows by the height of the legend, so that its panels keep their size.
    """
    entries = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(textwrap.fill(label, 64), handle)
    lines = sum(label.count("\n") + 1 for label in entries) / columns
    figure.set_figheight(figure.get_figheight() + 0.2 * lines)
    figure.legend(
        entries.values(),
        entries.keys(),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=9,
    )


def _wilson_interval(
    shares: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95% score interval of shares observed in `counts` trials."""
    z = 1.96
    center = (shares + z**2 / (2 * counts)) / (1 + z**2 / counts)
    spread = np.sqrt(shares * (1 - shares) / counts + z**2 / (4 * counts**2))
    half = z * spread / (1 + z**2 / counts)
    # At a share of 0 or 1 rounding could leave the share a hair outside.
    return np.minimum(center - half, shares), np.maximum(center + half, shares)


def _check_curve(values: Sequence[float], key: str) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(
            f"expected {key!r} of shape (epochs,) with at least one epoch; "
            f"received shape {values.shape}"
        )
    return values


def _check_curves(curves: Curves) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    if not curves:
        raise ValueError("expected at least one classifier; received none")
    return {name: check_predictions(*curve) for name, curve in curves.items()}
