"""Figures that compare layers: their learning curves, and their differences."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from lstm_keras.plots.parts import Bands, draw_bands
from lstm_keras.plots.style import (
    GRAY,
    LINEAR_RANGE,
    MARKERS,
    NEGATIVE,
    OURS,
    POSITIVE,
    REFERENCE_LINE,
    WIDE,
    WIDTH,
    label_axes,
    layer_styles,
    legend_below,
    line_style,
    new_figure,
    new_panel,
    ticks_at,
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
    figure = new_figure(WIDTH, 5.0)
    panels = figure.subplots(len(CURVES), 1, sharex=True)
    styles = layer_styles(histories)
    for axes, (key, group) in zip(panels, curves.items(), strict=True):
        title = f"{CURVES[key].partition(' (')[0]} by epoch{_equal(group.values())}"
        label_axes(axes, title, "Epoch", CURVES[key])
        for index, (name, values) in enumerate(group.items()):
            label = f"{name}, mean of {len(values)}"
            _draw_seeds(axes, values, index, label, styles[name])
        axes.set_xlim(0.5, epochs + 0.5)
        whole_ticks(axes)
        axes.label_outer()
    legend_below(figure, panels)
    return figure


def plot_equality(differences: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw how far layers differ from another, in units of what is tolerated.

    Args:
        differences: by data type and layer the largest difference over its tolerance.

    Raises:
        ValueError: if there is no data type.
    """
    if not differences:
        raise ValueError("expected at least one data type; received none")
    layers = list(dict.fromkeys(layer for row in differences.values() for layer in row))
    figure, axes = new_panel(
        WIDTH,
        1.4 + 0.5 * len(differences),
        "Largest difference, as a share of the tolerance",
        "Difference ÷ tolerance (0: equal bit for bit)",
        "",
    )
    styles = layer_styles(layers)
    for index, layer in enumerate(layers):
        places = [n for n, row in enumerate(differences.values()) if layer in row]
        axes.plot(
            [row[layer] for row in differences.values() if layer in row],
            np.add(places, 0.15 * (index - (len(layers) - 1) / 2)),
            linestyle="none",
            marker=MARKERS[index % len(MARKERS)],
            color=styles[layer]["color"],
            label=layer,
            clip_on=False,
        )
    axes.axvline(1, label="tolerance", linestyle="--", **REFERENCE_LINE)
    found = [value for row in differences.values() for value in row.values()]
    axes.set_xscale("symlog", linthresh=1e-4)
    axes.set_xlim(0, max(2, 2 * np.nanmax(found, initial=0)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_yticks(range(len(differences)), list(differences))
    axes.set_ylim(len(differences) - 0.5, -0.5)
    legend_below(figure, [axes])
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
    figure = new_figure(WIDTH, 0.6 + 1.7 * len(panels))
    all_axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
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
                edgecolors=GRAY,
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
                color=OURS,
                markersize=5,
                capsize=5,
                zorder=3,
                label="mean, with 95% interval" if one["interval"] else "mean",
            )
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.locator_params(axis="x", nbins=5)
        axes.ticklabel_format(axis="x", scilimits=(-3, 3))
    legend_below(figure, all_axes)
    return figure


def plot_differences(panels: Mapping[str, Mapping[str, Mapping | None]]) -> Figure:
    """Draw differences from a reference: a row for each row name, a column each panel.

    Args:
        panels: by a panel's title, its axis after a line break, the same rows; each has
            the "mean", its "interval" or None, and whether it is "significant". None
            leaves the row empty.

    Raises:
        ValueError: if there is no row, or the panels have different rows.
    """
    rows = [list(panel) for panel in panels.values()]
    if not rows or not rows[0] or any(one != rows[0] for one in rows):
        raise ValueError(f"expected panels with equal rows; received {rows}")
    names = rows[0]
    width = WIDE if len(panels) > 1 else WIDTH
    figure = new_figure(width, 1.1 + 0.27 * len(names))
    columns = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (title, panel) in zip(columns, panels.items(), strict=True):
        title, _, label = title.partition("\n")
        label_axes(axes, title, label, "")
        axes.axvline(0, **REFERENCE_LINE)
        for place, one in enumerate(panel.values()):
            if one is None:
                continue
            low, high = one["interval"] or (one["mean"], one["mean"])
            color = NEGATIVE if one["mean"] > 0 else POSITIVE
            axes.errorbar(
                one["mean"],
                place,
                xerr=[[one["mean"] - low], [high - one["mean"]]],
                fmt="o",
                color=color if one["significant"] else GRAY,
                markerfacecolor=None if one["significant"] else "none",
                markersize=5,
                capsize=3,
            )
        axes.locator_params(axis="x", nbins=6)
    columns[0].set_yticks(range(len(names)), names)
    columns[0].set_ylim(len(names) - 0.5, -0.5)
    return figure


def _draw_seeds(
    axes: Axes, values: np.ndarray, index: int, label: str, style: Mapping[str, str]
) -> None:
    """Draw the curves of one layer, (seeds, epochs): the seeds thinly, and the mean."""
    x = np.arange(1, values.shape[1] + 1)
    axes.plot(x, values.T, linewidth=0.8, alpha=0.35, **style)
    axes.plot(
        x,
        values.mean(axis=0),
        # Where curves coincide, a thinner one leaves the one below visible.
        linewidth=1.4 if index else 3.0,
        marker="o" if len(x) == 1 else None,
        label=label,
        **style,
    )


def _equal(curves: Iterable[np.ndarray]) -> str:
    """Return how little curves that cover each other differ; empty if they do not."""
    first, *others = curves
    if any(len(other) != len(first) for other in others):
        return ""
    largest = max((np.abs(other - first).max() for other in others), default=np.inf)
    if not largest < 0.005 * np.ptp(first):
        return ""
    how = f"differ by at most {largest:.0e}" if largest else "are equal in float32"
    return f"\n(the curves {how})"


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


def plot_by_setting(setting: str, measure: str, curves: Bands) -> Figure:
    """Draw a measure over the values of a setting, with its deviation over the seeds.

    The setting's axis is logarithmic if it spans more than `LINEAR_RANGE` without 0.

    Args:
        setting: name of the setting.
        measure: name of the measure.
        curves: by label values of the setting, means and deviations, each `(n,)`.

    Raises:
        ValueError: if there is no curve.
    """
    if not curves:
        raise ValueError("expected at least one curve; received none")
    title = f"{measure[:1].upper()}{measure[1:]} by {setting}"
    figure, axes = new_panel(WIDTH, 3.8, title, setting, measure)
    styles = {label: line_style(index) for index, label in enumerate(curves)}
    draw_bands(axes, curves, styles)
    values = np.unique(np.concatenate([x for x, _, _ in curves.values()]))
    if values.max() > LINEAR_RANGE * values.min() > 0:
        axes.set_xscale("log")
    ticks_at(axes, values, most=8)
    legend_below(figure, [axes])
    return figure
