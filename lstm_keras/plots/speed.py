"""Figures of how the time of a step scales."""

from collections.abc import Mapping
from itertools import cycle

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter
from numpy.typing import ArrayLike

from lstm_keras.plots.style import (
    COLORS,
    MARKERS,
    REFERENCE_LINE,
    label_axes,
    legend_below,
    new_figure,
    ticks_at,
)

# The sizes that the time of a step depends on.
SIZES = {"T": "Steps of a sequence (T)", "B": "Sequences (B)", "H": "Units (H)"}

Curves = Mapping[str, tuple[ArrayLike, ArrayLike]]


def plot_growth(kind: str, panels: Mapping[str, Curves], limit: str) -> Figure:
    """Draw how the time of a step grows with the sizes T, B and H, on log axes.

    Args:
        kind: what is timed, for the titles.
        panels: for some of the sizes in `SIZES` the curves by name: sizes and seconds,
            each of shape (n,). A name has the same style in every panel.
        limit: the name of a bound instead of a measurement, drawn as a dashed line.

    Raises:
        ValueError: if there is no panel or no curve, for an unknown size, or a number
            that is not above 0.
    """
    _check_panels(panels)
    names = dict.fromkeys(name for curves in panels.values() for name in curves)
    styles: dict[str, dict[str, object]] = {
        name: {"color": color, "marker": marker}
        for name, color, marker in zip(
            [n for n in names if n != limit],
            cycle(COLORS),
            cycle(MARKERS),
            strict=False,
        )
    }
    styles[limit] = REFERENCE_LINE | {"linestyle": "--"}
    figure = new_figure(3.6 * len(panels), 4.0)
    rows = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (size, curves) in zip(rows, panels.items(), strict=True):
        label_axes(axes, f"{kind} by {size}", SIZES[size], "Milliseconds a step")
        axes.set(xscale="log", yscale="log")
        for name, (sizes, seconds) in curves.items():
            milliseconds = 1000 * np.asarray(seconds)
            axes.plot(sizes, milliseconds, label=name, markersize=4, **styles[name])
        ticks_at(axes, np.unique(np.concatenate([x for x, _ in curves.values()])))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    legend_below(figure, rows, columns=len(panels))
    return figure


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
