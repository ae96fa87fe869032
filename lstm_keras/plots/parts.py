"""Parts that several figures share."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from lstm_keras.plots.style import (
    MARKERS,
    OURS,
    REFERENCE_LINE,
    TRAINING,
    UNIT,
    VALIDATION,
    WIDTH,
    label_axes,
    legend_below,
    line_style,
    new_figure,
    whole_ticks,
)

Bins = Sequence[Mapping[str, Any]]
# By label positions, means and standard deviations.
Bands = Mapping[str, tuple[ArrayLike, ArrayLike, ArrayLike]]

LEAST_IN_BIN = 10


def draw_epochs(
    axes: Axes,
    curves: Mapping[str, np.ndarray],
    metric: str,
    epochs: int,
    best_epoch: int | None,
) -> None:
    """Draw a metric's curves, and mark the best epoch; one epoch is drawn as bars."""
    marker = "o" if epochs <= 30 else None  # it would hide a long curve
    for key, label, color, style in (
        (metric, "training", TRAINING, "-"),
        (f"val_{metric}", "validation", VALIDATION, "--"),
    ):
        if key not in curves:
            continue
        if epochs == 1:
            axes.bar_label(axes.bar(label, curves[key], 0.5, color=color), fmt="{:.4g}")
            axes.set_xlabel("Epoch 1")
            continue
        axes.plot(
            np.arange(1, len(curves[key]) + 1),
            curves[key],
            style,
            color=color,
            marker=marker,
            markersize=4,
            label=label,
        )
    if epochs == 1:
        axes.margins(y=0.15)
        return
    axes.set_xlim(0.5, epochs + 0.5)
    whole_ticks(axes)
    if best_epoch is not None:
        axes.axvline(
            best_epoch,
            label=f"best epoch ({best_epoch})",
            linestyle=":",
            **REFERENCE_LINE,
        )


def draw_bands(
    axes: Axes, curves: Bands, styles: Mapping[str, Mapping], floor: float = -np.inf
) -> None:
    """Draw means as lines, and their deviations as bands that end at `floor`."""
    for index, (label, (x, mean, deviation)) in enumerate(curves.items()):
        mean, deviation = np.asarray(mean, float), np.asarray(deviation, float)
        axes.plot(
            x,
            mean,
            label=label,
            marker=MARKERS[index % len(MARKERS)],
            # Decreasing, so that equal curves are all visible.
            markersize=max(9 - 1.5 * index, 3),
            **styles[label],
        )
        axes.fill_between(
            x,
            np.maximum(mean - deviation, floor),
            mean + deviation,
            color=styles[label]["color"],
            alpha=0.15,
            linewidth=0,
        )


def draw_accuracy(
    axes: Axes,
    x: ArrayLike,
    accuracy: ArrayLike,
    counts: ArrayLike,
    label: str,
) -> None:
    """Draw the accuracy of each group with its 95% interval, and that of all groups."""
    accuracy, counts = np.asarray(accuracy), np.asarray(counts)
    low, high = _wilson_interval(accuracy, counts)
    axes.plot(x, accuracy, color=OURS, marker="o", markersize=4, label=label)
    axes.errorbar(
        x,
        accuracy,
        yerr=(accuracy - low, high - accuracy),
        fmt="none",
        ecolor=OURS,
        elinewidth=1,
        capsize=3,
    )
    mean = np.average(accuracy, weights=counts)
    axes.axhline(
        mean, label=f"accuracy of all {counts.sum():,} ({mean:.3f})", **REFERENCE_LINE
    )


def _wilson_interval(
    shares: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95% score interval of shares observed in `counts` trials."""
    z = 1.96
    center = (shares + z**2 / (2 * counts)) / (1 + z**2 / counts)
    deviation = np.sqrt(shares * (1 - shares) / counts + z**2 / (4 * counts**2))
    half = z * deviation / (1 + z**2 / counts)
    # Rounding must not exclude a share of 0 or 1.
    return np.minimum(center - half, shares), np.maximum(center + half, shares)


def calibration_figure(title: str, y_label: str, curves: Mapping[str, Bins]) -> Figure:
    """Return a reliability diagram of each model's bins, with their sizes below.

    The shares of fewer than `LEAST_IN_BIN` examples are left out, since chance decides
    them.
    """
    figure = new_figure(WIDTH, 4.8)
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    label_axes(upper, title, "", y_label)
    label_axes(
        lower,
        "",
        f"Predicted probability (above: mean of each bin of {LEAST_IN_BIN} or more)",
        "Share of\nexamples",
    )
    for index, (name, bins) in enumerate(curves.items()):
        filled = [b for b in bins if b["count"] >= LEAST_IN_BIN]
        style = line_style(index)
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
        lower.stairs(counts / counts.sum(), edges, fill=len(curves) == 1, **style)
    upper.plot([0, 1], [0, 1], label="perfect calibration", **REFERENCE_LINE)
    upper.set(xlim=UNIT, ylim=UNIT)
    legend_below(figure, [upper])
    return figure


def check_history(
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


def _check_curve(values: Sequence[float], key: str) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(
            f"expected {key!r} of shape (epochs,) with at least one epoch; "
            f"received shape {values.shape}"
        )
    return values
