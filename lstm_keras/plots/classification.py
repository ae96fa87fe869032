"""Figures of a classifier."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike
from sklearn.metrics import roc_auc_score, roc_curve

from lstm_keras.evaluation.classification import (
    THRESHOLD,
    ClassificationResult,
    calibration_bins,
    check_predictions,
)
from lstm_keras.plots.parts import (
    calibration_figure,
    check_history,
    draw_accuracy,
    draw_epochs,
)
from lstm_keras.plots.style import (
    BASELINE,
    OURS,
    REFERENCE_LINE,
    SEQUENTIAL,
    UNIT,
    WIDTH,
    label_axes,
    legend_below,
    line_style,
    new_figure,
    new_panel,
    whole_ticks,
)

Curves = Mapping[str, tuple[ArrayLike, ArrayLike]]


def plot_learning_curves(
    history: Mapping[str, Sequence[float]], best_epoch: int | None = None
) -> Figure:
    """Draw loss and accuracy by epoch, training beside validation.

    Args:
        history: one value per epoch under "loss", "val_loss", "accuracy" and
            "val_accuracy", as in `History.history`. Missing curves are omitted, other
            keys are ignored, and a value that is not finite leaves a gap.
        best_epoch: the epoch to mark, counted from 1.

    Raises:
        ValueError: if there is no curve, a curve is not of shape (epochs,) with at
            least one epoch, or `best_epoch` is not one of the epochs.
    """
    units = {"loss": "nats", "accuracy": "share right"}
    curves, epochs = check_history(history, units, best_epoch)
    metrics = [m for m in units if m in curves or f"val_{m}" in curves]
    figure = new_figure(WIDTH, 1.1 + 1.8 * len(metrics))
    panels = figure.subplots(len(metrics), 1, squeeze=False, sharex=True)[:, 0]
    for metric, axes in zip(metrics, panels, strict=True):
        name = metric.capitalize()
        label_axes(axes, f"{name} by epoch", "Epoch", f"{name} ({units[metric]})")
        draw_epochs(axes, curves, metric, epochs, best_epoch)
        axes.label_outer()
    legend_below(figure, panels)
    return figure


def plot_accuracies(
    results: Sequence[ClassificationResult],
    baselines: Sequence[ClassificationResult] = (),
) -> Figure:
    """Draw the accuracy of models and of baselines, with their 95% intervals.

    Args:
        results: of the models, from top to bottom.
        baselines: of what they are compared with, drawn below in gray.

    Raises:
        ValueError: if there is no model.
    """
    if not results:
        raise ValueError("expected at least one result; received none")
    rows = [*results, *baselines]
    figure, axes = new_panel(
        WIDTH,
        1 + 0.5 * len(rows),
        "Accuracy with its 95% interval",
        "Accuracy",
        "Model",
    )
    for place, one in enumerate(rows):
        low, high = one.accuracy_interval
        axes.errorbar(
            one.accuracy,
            place,
            xerr=[[one.accuracy - low], [high - one.accuracy]],
            fmt="o",
            color=OURS if place < len(results) else BASELINE,
            capsize=4,
        )
        axes.annotate(
            f"{one.accuracy:.1%}",
            (one.accuracy, place),
            xytext=(0, 6),
            textcoords="offset points",
            fontsize=9,
            horizontalalignment="center",
        )
    axes.set_yticks(range(len(rows)), [textwrap.fill(one.name, 24) for one in rows])
    axes.set_ylim(len(rows) - 0.6, -0.7)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.margins(x=0.12)
    axes.grid(False, axis="y")
    return figure


def plot_confusion_matrix(
    confusion: ArrayLike, class_names: Sequence[str] = ("negative", "positive")
) -> Figure:
    """Draw the confusion matrix: counts, and their fractions of the true class.

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
    figure, axes = new_panel(
        WIDTH,
        4.2,
        f"{np.trace(confusion) / total:.1%} of {total:,.0f} examples are right",
        "Predicted class",
        "True class",
    )
    axes.grid(False)
    edges = np.arange(classes + 1) - 0.5
    # At most half opaque, so that text in the color of the page's text is readable.
    axes.pcolormesh(edges, edges, shares, cmap=SEQUENTIAL, vmin=0, vmax=2)
    axes.invert_yaxis()
    names = [textwrap.fill(name, 16) for name in class_names]
    axes.set_xticks(range(classes), names)
    axes.set_yticks(range(classes), names)
    for (row, column), share in np.ndenumerate(shares):
        percentage = f"{share:.1%} of row" if rows[row, 0] else "no example"
        axes.text(
            column,
            row,
            f"{confusion[row, column]:,.0f}\n{percentage}",
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
        ValueError: if there is no classifier, or for invalid arrays (see
            `evaluation.check_predictions`).
    """
    checked = _check_curves(curves)
    figure, axes = new_panel(
        WIDTH,
        4.4,
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
        axes.plot(x, y, label=f"{name} (AUC {area})", **line_style(index))
    axes.plot([0, 1], [0, 1], label="guessing (AUC 0.500)", **REFERENCE_LINE)
    axes.set(xlim=UNIT, ylim=UNIT)
    legend_below(figure, [axes])
    return figure


def plot_calibration(curves: Curves) -> Figure:
    """Draw a reliability diagram, and the distribution of the probabilities.

    Args:
        curves: by name of the classifier its labels and probabilities, each of shape
            (n,) or (n, 1).

    Raises:
        ValueError: if there is no classifier, or for invalid arrays (see
            `evaluation.check_predictions`).
    """
    return calibration_figure(
        "Calibration: do the probabilities come true?",
        "Observed share of positives",
        {
            name: calibration_bins(*curve)
            for name, curve in _check_curves(curves).items()
        },
    )


def plot_length_accuracy(
    lengths: ArrayLike,
    labels: ArrayLike,
    probabilities: ArrayLike,
    maxlen: int | None = None,
    *,
    buckets: int = 10,
) -> Figure:
    """Draw accuracy by text length, in buckets of about equal size.

    Each bucket is drawn at its median length, with the 95% interval of Wilson (1927).

    Args:
        lengths: lengths of the texts in tokens before truncation, shape (n,).
        labels: 0 or 1, shape (n,) or (n, 1).
        probabilities: of label 1, shape (n,) or (n, 1).
        maxlen: the length to which longer texts were truncated, marked by a line.
        buckets: number of buckets; fewer are drawn where many lengths are equal.

    Raises:
        ValueError: for lengths of another shape or below 0, `maxlen` or `buckets` below
            1, or invalid arrays (see `evaluation.check_predictions`).
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

    figure, axes = new_panel(
        WIDTH,
        3.8,
        "Accuracy by length of the text",
        "Length (tokens; median of the bucket)",
        "Accuracy (share of right answers)",
    )
    draw_accuracy(
        axes,
        medians,
        [right[m].mean() for m in members],
        [m.sum() for m in members],
        label=f"accuracy per bucket of about {size:,}, with 95% interval",
    )
    if maxlen is not None:
        axes.axvline(
            maxlen,
            linestyle="--",
            label=f"longer texts are cut to {maxlen:,} tokens",
            **REFERENCE_LINE,
        )
    whole_ticks(axes)
    legend_below(figure, [axes])
    return figure


def _check_curves(curves: Curves) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    if not curves:
        raise ValueError("expected at least one classifier; received none")
    return {name: check_predictions(*curve) for name, curve in curves.items()}
