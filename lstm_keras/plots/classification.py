"""Figures of a classifier."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from sklearn.metrics import roc_auc_score, roc_curve

from lstm_keras.evaluation.classification import (
    THRESHOLD,
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
    REFERENCE_LINE,
    UNIT,
    VERMILLION,
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
    figure = new_figure(4.0 * len(metrics), 3.8)
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    for metric, axes in zip(metrics, panels, strict=True):
        name = metric.capitalize()
        label_axes(axes, f"{name} by epoch", "Epoch", f"{name} ({units[metric]})")
        draw_epochs(axes, curves, metric, epochs, best_epoch)
    legend_below(figure, panels, columns=3)
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
        4.8,
        4.6,
        f"{np.trace(confusion) / total:.1%} of {total:,.0f} examples are right",
        "Predicted class",
        "True class",
    )
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
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
        ValueError: if there is no classifier, or for invalid arrays (see
            `evaluation.check_predictions`).
    """
    checked = _check_curves(curves)
    figure, axes = new_panel(
        5.2,
        4.6,
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
    axes.set(xlim=UNIT, ylim=UNIT, aspect="equal")
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
        6.0,
        4.2,
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
            color=VERMILLION,
            linestyle="--",
            label=f"longer texts are cut to {maxlen:,} tokens",
        )
    whole_ticks(axes)
    legend_below(figure, [axes])
    return figure


def _check_curves(curves: Curves) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    if not curves:
        raise ValueError("expected at least one classifier; received none")
    return {name: check_predictions(*curve) for name, curve in curves.items()}
