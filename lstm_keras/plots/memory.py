"""Figures of how long recurrent layers remember."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from lstm_keras.plots.parts import Bands, draw_bands
from lstm_keras.plots.style import (
    LINEAR_RANGE,
    REFERENCE_LINE,
    WIDTH,
    layer_styles,
    legend_below,
    new_panel,
    ticks_at,
)


def plot_longest_lag(
    longest: Mapping[str, Mapping[str, int | None]], lags: Sequence[int]
) -> Figure:
    """Draw the longest lag that each layer solves, as a group of bars for each task.

    Args:
        longest: by task and layer one of `lags`, or None if the layer solves none. All
            tasks have the same layers.
        lags: all lags, at least one, drawn at equal distances.

    Raises:
        ValueError: if there is no task or no layer, the tasks' layers differ, or a lag
            is not one of `lags`.
    """
    _check_longest(longest, lags)
    layers = list(next(iter(longest.values())))
    figure, axes = new_panel(
        WIDTH,
        1.2 + 0.24 * len(layers) * len(longest),
        "The longest lag that each layer solves",
        "Lag (steps)",
        "Task",
    )
    styles = layer_styles(layers)
    height = 0.8 / len(layers)
    places = np.arange(len(longest))
    for index, layer in enumerate(layers):
        values = [by_layer[layer] for by_layer in longest.values()]
        bars = axes.barh(
            places + (index - (len(layers) - 1) / 2) * height,
            [0 if value is None else lags.index(value) + 1 for value in values],
            0.9 * height,
            color=styles[layer]["color"],
            label=layer,
        )
        texts = ["none" if value is None else f"{value:,}" for value in values]
        axes.bar_label(bars, texts, padding=3, fontsize=9)
    axes.set_yticks(places, [textwrap.fill(task, 14) for task in longest])
    axes.set_xticks(range(1, len(lags) + 1), [f"{lag:,}" for lag in lags])
    axes.set_xlim(0, len(lags) + 0.6)
    axes.grid(False, axis="y")
    axes.invert_yaxis()
    legend_below(figure, [axes])
    return figure


def plot_error_by_lag(
    task: str,
    measure: str,
    curves: Bands,
    baseline: Mapping[int, float],
    goal: Mapping[int, float],
) -> Figure:
    """Draw the error of each layer by the lag, with its deviation over the seeds.

    The error's axis is logarithmic if it spans more than `LINEAR_RANGE` without 0.

    Args:
        task: what is remembered, for the title.
        measure: what the error is.
        curves: by layer lags, mean errors and standard deviations, each `(n,)`.
        baseline: by lag the error without memory, drawn dashed.
        goal: by lag the error under which the task counts as solved, drawn dotted.

    Raises:
        ValueError: for no curve, or a number that is below 0 or not finite.
    """
    _check_curves(curves)
    figure, axes = new_panel(
        WIDTH, 3.8, f"{task}: error by lag", "Lag (steps)", f"Test error:\n{measure}"
    )
    means = np.concatenate([np.asarray(mean, float) for _, mean, _ in curves.values()])
    errors = np.array([*means, *baseline.values(), *goal.values()])
    logarithmic = errors.max() > LINEAR_RANGE * errors.min() > 0
    # The lowest value that can be drawn.
    floor = errors.min() / 1.5 if logarithmic else 0.0
    styles = layer_styles(curves)
    draw_bands(axes, curves, styles, floor)
    for values, name, dashes in (
        (baseline, "best guess without memory", "--"),
        (goal, "counts as solved below", ":"),
    ):
        axes.plot(
            list(values),
            list(values.values()),
            label=name,
            linestyle=dashes,
            **REFERENCE_LINE,
        )
    axes.set_xscale("log")
    ticks_at(axes, np.unique(list(baseline)), most=8)
    if logarithmic:
        axes.set_yscale("log")
        axes.set_ylim(bottom=floor)
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    legend_below(figure, [axes])
    return figure


def _check_longest(
    longest: Mapping[str, Mapping[str, int | None]], lags: Sequence[int]
) -> None:
    layers = [list(by_layer) for by_layer in longest.values()]
    if not layers or not layers[0] or any(names != layers[0] for names in layers):
        raise ValueError(
            f"expected at least one task, each with the same layers; received {longest}"
        )
    for by_layer in longest.values():
        for lag in by_layer.values():
            if lag is not None and lag not in lags:
                raise ValueError(f"expected one of the lags {lags}; received {lag}")


def _check_curves(curves: Bands) -> None:
    if not curves:
        raise ValueError("expected at least one curve; received none")
    for layer, values in curves.items():
        array = np.asarray(values, float)
        if (
            array.ndim != 2
            or not array.size
            or not (np.isfinite(array) & (array >= 0)).all()
        ):
            raise ValueError(
                "expected lags, means and deviations, each of shape (n,), of numbers "
                f">= 0; received {layer}: {values}"
            )
