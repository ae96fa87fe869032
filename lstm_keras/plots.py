"""Every figure of the reports: each function takes arrays and returns a Figure.

The figures are made without pyplot: no display is needed and no global state is kept.
Save one with `figure.savefig(path)`.
"""

import math
import textwrap
from collections.abc import Collection, Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
    StrMethodFormatter,
)
from numpy.typing import ArrayLike
from sklearn.metrics import roc_auc_score, roc_curve

from lstm_keras.evaluation import THRESHOLD, calibration_bins, check_predictions
from lstm_keras.language_evaluation import TokenScores, top_calibration

# The palette of Okabe and Ito (2008), told apart with every kind of color vision;
# without its yellow, which is too pale for a line on white.
BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"
ORANGE, SKY, PURPLE = "#E69F00", "#56B4E9", "#CC79A7"
COLORS = (BLUE, VERMILLION, GREEN, ORANGE, SKY, PURPLE)
LINE_STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P")
REFERENCE_LINE = {"color": "#555555", "linewidth": 0.9, "zorder": 1.5}

UNIT = (-0.02, 1.02)  # the range from 0 to 1 with room for the marks at its ends

# A range wider than this factor is drawn on a logarithmic axis.
LINEAR_RANGE = 10

# The sizes by which the time of a step grows.
SIZES = {"T": "Steps of a sequence (T)", "B": "Sequences (B)", "H": "Units (H)"}

Curves = Mapping[str, tuple[ArrayLike, ArrayLike]]
Bins = Sequence[Mapping[str, float | int | None]]
Rows = Sequence[Mapping[str, float | int | str]]


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
    curves, epochs = _check_history(history, units, best_epoch)
    metrics = [m for m in units if m in curves or f"val_{m}" in curves]
    figure = _figure(4.0 * len(metrics), 3.8)
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    for metric, axes in zip(metrics, panels, strict=True):
        name = metric.capitalize()
        _label(axes, f"{name} by epoch", "Epoch", f"{name} ({units[metric]})")
        _draw_epochs(axes, curves, metric, epochs, best_epoch)
    _legend_below(figure, panels, columns=3)
    return figure


def plot_perplexity(
    history: Mapping[str, Sequence[float]],
    best_epoch: int | None = None,
    references: Mapping[str, float] | None = None,
) -> Figure:
    """Draw perplexity by epoch, training beside validation and other models.

    The axis is logarithmic where the highest is over `LINEAR_RANGE` times the lowest.

    Args:
        history: one value per epoch under "perplexity" and "val_perplexity", read as
            `plot_learning_curves` reads its own.
        best_epoch: the epoch to mark, counted from 1.
        references: by name of the model the perplexity to draw a line at.

    Raises:
        ValueError: as `plot_learning_curves`, or for a perplexity below 1.
    """
    references = references or {}
    curves, epochs = _check_history(history, ("perplexity",), best_epoch)
    values = np.concatenate([*curves.values(), list(references.values())])
    values = values[np.isfinite(values)]
    if (values < 1).any():
        raise ValueError(f"expected perplexities >= 1; received {values.min()}")
    figure = _figure(6.0, 4.2)
    axes = figure.subplots()
    _label(axes, "Perplexity by epoch", "Epoch", "Perplexity (lower is better)")
    _draw_epochs(axes, curves, "perplexity", epochs, best_epoch)
    for index, (name, value) in enumerate(references.items(), start=2):
        label = f"{name} ({value:,.1f})"
        axes.axhline(value, label=label, linewidth=1.2, **_line_style(index))
    _logarithmic_if_wide(axes, "y", values)
    _legend_below(figure, [axes])
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
    return _calibration_figure(
        "Calibration: do the probabilities come true?",
        "Observed share of positives",
        {
            name: calibration_bins(*curve)
            for name, curve in _check_curves(curves).items()
        },
    )


def plot_top_calibration(scores: TokenScores) -> Figure:
    """Draw how often the most probable token is right, as `plot_calibration` does.

    Args:
        scores: what a language model says of a text.
    """
    return _calibration_figure(
        "Calibration: does the most probable word come true?",
        "Observed share of right words",
        {"most probable word": top_calibration(scores)},
    )


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
    size = len(labels) // len(members)

    figure = _figure(6.0, 4.2)
    axes = figure.subplots()
    _label(
        axes,
        "Accuracy by length of the text",
        "Length (tokens; median of the bucket)",
        "Accuracy (share of right answers)",
    )
    _draw_accuracy(
        axes,
        medians,
        [right[m].mean() for m in members],
        [m.sum() for m in members],
        label=f"accuracy per bucket of about {size:,}, with 95% interval",
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


def plot_position_accuracy(rows: Rows) -> Figure:
    """Draw a language model's accuracy by a token's position in its segment.

    Each group of positions is drawn at its middle, with the 95% interval of Wilson
    (1927). The axis of positions is logarithmic where `LINEAR_RANGE` asks for it.

    Args:
        rows: what `language_evaluation.accuracy_by_position` returns.

    Raises:
        ValueError: for no rows.
    """
    _check_rows(rows)
    figure = _figure(6.0, 4.2)
    axes = figure.subplots()
    _label(
        axes,
        "Accuracy by position in the segment",
        "Position (tokens from 1; middle of the group)",
        "Top-1 accuracy (share of right answers)",
    )
    middles = np.array([(row["first"] + row["last"]) / 2 for row in rows])
    _draw_accuracy(
        axes,
        middles,
        [row["accuracy"] for row in rows],
        [row["tokens"] for row in rows],
        label="accuracy, with 95% interval",
    )
    _whole_ticks(axes)
    _logarithmic_if_wide(axes, "x", middles)
    _legend_below(figure, [axes])
    return figure


def plot_frequency_loss(rows: Rows) -> Figure:
    """Draw a language model's loss by how often a word occurs in the training text.

    Args:
        rows: what `language_evaluation.loss_by_frequency` returns.

    Raises:
        ValueError: for no rows.
    """
    _check_rows(rows)
    losses = np.array([row["loss"] for row in rows])
    tokens = np.array([row["tokens"] for row in rows])
    special = [row["frequency"] in ("END", "OOV") for row in rows]
    names = [
        f"{row['frequency']} ({share:.1%})"
        for row, share in zip(rows, tokens / tokens.sum(), strict=True)
    ]
    figure = _figure(6.0, 2.2 + 0.3 * len(rows))
    axes = figure.subplots()
    _label(
        axes,
        "Loss by frequency of the word",
        "Mean loss (nats per token)",
        "Occurrences in training\n(share of the tokens)",
    )
    axes.barh(names, losses, color=np.where(special, SKY, BLUE))
    mean = np.average(losses, weights=tokens)
    axes.axvline(
        mean, label=f"all {tokens.sum():,} tokens ({mean:.2f})", **REFERENCE_LINE
    )
    axes.invert_yaxis()
    _legend_below(figure, [axes])
    return figure


def plot_growth(kind: str, panels: Mapping[str, Curves], limit: str) -> Figure:
    """Draw how the time of a step grows with the sizes T, B and H, on log axes.

    Args:
        kind: what is timed, for the titles.
        panels: for some of the sizes in `SIZES` the curves by name: sizes and seconds,
            each of shape (n,). A name looks the same in every panel.
        limit: the name that is no measurement but a bound, drawn as a dashed line.

    Raises:
        ValueError: if there is no panel or no curve, for an unknown size, or a number
            that is not above 0.
    """
    _check_panels(panels)
    names = dict.fromkeys(name for curves in panels.values() for name in curves)
    styles = {
        name: {"color": color, "marker": marker}
        for name, color, marker in zip(
            [n for n in names if n != limit],
            cycle(COLORS),
            cycle(MARKERS),
            strict=False,
        )
    }
    styles[limit] = REFERENCE_LINE | {"linestyle": "--"}
    figure = _figure(3.6 * len(panels), 4.0)
    rows = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (size, curves) in zip(rows, panels.items(), strict=True):
        _label(axes, f"{kind} by {size}", SIZES[size], "Milliseconds a step")
        axes.set(xscale="log", yscale="log")
        for name, (sizes, seconds) in curves.items():
            milliseconds = 1000 * np.asarray(seconds)
            axes.plot(sizes, milliseconds, label=name, markersize=4, **styles[name])
        _ticks_at(axes, np.unique(np.concatenate([x for x, _ in curves.values()])))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    _legend_below(figure, rows, columns=len(panels))
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


def _draw_epochs(
    axes: Axes,
    curves: Mapping[str, np.ndarray],
    metric: str,
    epochs: int,
    best_epoch: int | None,
) -> None:
    """Draw a metric's curves, and mark the best epoch."""
    # Markers show single epochs, but would hide a long curve.
    marker = "o" if epochs <= 30 else None
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


def _draw_accuracy(
    axes: Axes,
    x: ArrayLike,
    accuracy: ArrayLike,
    counts: ArrayLike,
    label: str,
) -> None:
    """Draw accuracies of groups with their 95% intervals, and that of all together."""
    accuracy, counts = np.asarray(accuracy), np.asarray(counts)
    low, high = _wilson_interval(accuracy, counts)
    axes.plot(x, accuracy, color=BLUE, marker="o", markersize=4, label=label)
    axes.errorbar(
        x,
        accuracy,
        yerr=(accuracy - low, high - accuracy),
        fmt="none",
        ecolor=BLUE,
        elinewidth=1,
        capsize=3,
    )
    mean = np.average(accuracy, weights=counts)
    axes.axhline(
        mean, label=f"accuracy of all {counts.sum():,} ({mean:.3f})", **REFERENCE_LINE
    )


def _calibration_figure(title: str, y_label: str, curves: Mapping[str, Bins]) -> Figure:
    """Return a reliability diagram of each model's bins, their sizes below it."""
    figure = _figure(5.2, 5.6)
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    _label(upper, title, "", y_label)
    _label(
        lower,
        "",
        "Predicted probability (above: mean of each bin)",
        "Share of\nexamples",
    )
    for index, (name, bins) in enumerate(curves.items()):
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
        counts = np.array([b["count"] for b in bins])
        edges = np.linspace(0, 1, len(bins) + 1)
        lower.stairs(counts / counts.sum(), edges, **style)
    upper.plot([0, 1], [0, 1], label="perfect calibration", **REFERENCE_LINE)
    upper.set(xlim=UNIT, ylim=UNIT)
    _legend_below(figure, [upper])
    return figure


def _logarithmic_if_wide(axes: Axes, name: str, values: np.ndarray) -> None:
    """Make the "x" or "y" axis logarithmic if `LINEAR_RANGE` asks for it."""
    ratio = values.max() / values.min() if len(values) else 1
    if ratio <= LINEAR_RANGE:
        return
    axes.set(**{f"{name}scale": "log"})
    axis = {"x": axes.xaxis, "y": axes.yaxis}[name]
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if ratio < 1e4 else (1,)))
    axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axis.set_minor_formatter(NullFormatter())


def _whole_ticks(axes: Axes) -> None:
    """Put few ticks on the x axis, at whole numbers."""
    axes.xaxis.set_major_locator(
        MaxNLocator(nbins=8, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
    )
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def _ticks_at(axes: Axes, values: np.ndarray, most: int = 5) -> None:
    """Put ticks on the x axis at some of the values, the last one among them."""
    chosen = values[:: -math.ceil(len(values) / most)]
    axes.set_xticks(chosen, [f"{value:,g}" for value in chosen])
    axes.xaxis.set_minor_locator(NullLocator())


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


def _check_history(
    history: Mapping[str, Sequence[float]],
    metrics: Collection[str],
    best_epoch: int | None,
) -> tuple[dict[str, np.ndarray], int]:
    """Return the curves of the metrics, checked, and the number of epochs."""
    curves = {
        key: _check_curve(values, key)
        for key, values in history.items()
        if key.removeprefix("val_") in metrics
    }
    if not curves:
        raise ValueError(
            f"expected a history with {' or '.join(map(repr, metrics))}; "
            f"received the keys {list(history)}"
        )
    epochs = max(len(values) for values in curves.values())
    if best_epoch is not None and not 1 <= best_epoch <= epochs:
        raise ValueError(
            f"expected best_epoch from 1 to {epochs}; received {best_epoch}"
        )
    return curves, epochs


def _check_rows(rows: Rows) -> None:
    if not rows:
        raise ValueError("expected at least one row; received none")


def _check_panels(panels: Mapping[str, Curves]) -> None:
    if not panels or not all(panels.values()):
        raise ValueError(
            f"expected at least one curve in every panel; received {dict(panels)}"
        )
    if not set(panels) <= set(SIZES):
        raise ValueError(f"expected sizes of {list(SIZES)}; received {list(panels)}")
    for curves in panels.values():
        for name, values in curves.items():
            if not (np.asarray(values) > 0).all():
                raise ValueError(
                    f"expected sizes and seconds above 0; received {name}: {values}"
                )


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
