"""Figures that compare layers: their learning curves, and their differences."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lstm_keras.plots.style import (
    BLUE,
    REFERENCE_LINE,
    label_axes,
    legend_below,
    line_style,
    new_figure,
    whole_ticks,
)

Histories = Sequence[Mapping[str, Sequence[float]]]

CURVES = {"val_loss": "Validation loss (nats)", "val_accuracy": "Validation accuracy"}


def plot_paired_curves(histories: Mapping[str, Histories]) -> Figure:
    """Draw the validation curves of several layers: every seed, and their mean.

    Args:
        histories: by layer a history for each seed, as in `History.history`, with one
            value per epoch under "val_loss" and "val_accuracy".

    Raises:
        ValueError: if there is no history, a curve is missing, or the histories differ
            in length.
    """
    curves = {
        key: {name: _stacked(of_seeds, key) for name, of_seeds in histories.items()}
        for key in CURVES
    }
    shapes = {found.shape[1] for group in curves.values() for found in group.values()}
    if len(shapes) != 1:
        raise ValueError(
            "expected histories of equal length; received some of "
            f"{sorted(shapes)} epochs"
        )
    (epochs,) = shapes
    figure = new_figure(4.2 * len(CURVES), 3.8)
    panels = figure.subplots(1, len(CURVES))
    for axes, (key, group) in zip(panels, curves.items(), strict=True):
        label_axes(
            axes, f"{CURVES[key].partition(' (')[0]} by epoch", "Epoch", CURVES[key]
        )
        for index, (name, values) in enumerate(group.items()):
            _draw_seeds(axes, values, index, f"{name}, mean of {len(values)}")
        axes.set_xlim(0.5, epochs + 0.5)
        whole_ticks(axes)
    legend_below(figure, panels, columns=len(histories))
    return figure


def plot_paired_differences(panels: Mapping[str, Mapping[str, Mapping]]) -> Figure:
    """Draw differences between two layers: every seed, the mean, its interval.

    Args:
        panels: by a panel's title and by outcome: "values", the difference of each
            seed, their "mean", and its "interval", or None.

    Raises:
        ValueError: if there is no outcome, or one without a value.
    """
    found = [one["values"] for rows in panels.values() for one in rows.values()]
    if not found or not all(map(len, found)):
        raise ValueError(
            f"expected differences in every panel; received {dict(panels)}"
        )
    figure = new_figure(4.2 * len(panels), 2.6)
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, rows) in zip(all_axes, panels.items(), strict=True):
        label_axes(axes, title, "Difference", "")
        axes.axvline(0, label="no difference", **REFERENCE_LINE)
        for place, one in enumerate(rows.values()):
            count = len(one["values"])
            axes.scatter(
                one["values"],
                [place] * count,
                s=26,
                facecolors="none",
                edgecolors="#555555",
                linewidths=0.9,
                zorder=2,
                label="a seed",
            )
            low, high = one["interval"] or (one["mean"], one["mean"])
            axes.errorbar(
                one["mean"],
                place,
                xerr=[[one["mean"] - low], [high - one["mean"]]],
                fmt="D",
                color=BLUE,
                markersize=5,
                capsize=5,
                zorder=3,
                label="mean, with 95% interval" if one["interval"] else "mean",
            )
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.locator_params(axis="x", nbins=5)
        axes.ticklabel_format(axis="x", scilimits=(-3, 3), useMathText=True)
    legend_below(figure, all_axes, columns=3)
    return figure


def _draw_seeds(axes: Axes, values: np.ndarray, index: int, label: str) -> None:
    """Draw the curves of one layer, (seeds, epochs): the seeds thinly, and the mean."""
    x, style = np.arange(1, values.shape[1] + 1), line_style(index)
    axes.plot(x, values.T, linewidth=0.8, alpha=0.35, **style)
    axes.plot(
        x,
        values.mean(axis=0),
        # Where curves coincide, a thinner one leaves the one below visible.
        linewidth=1.4 if index else 2.2,
        marker="o" if len(x) == 1 else None,
        label=label,
        **style,
    )


def _stacked(histories: Histories, key: str) -> np.ndarray:
    """Return the curves of all seeds, (seeds, epochs)."""
    found = [np.asarray(history.get(key, ()), np.float64) for history in histories]
    if (
        not found
        or {len(values) for values in found} != {len(found[0])}
        or not len(found[0])
    ):
        raise ValueError(
            f"expected {key!r} in the histories of at least one seed, all of the same "
            f"length; received {[len(values) for values in found]} epochs"
        )
    return np.stack(found)
