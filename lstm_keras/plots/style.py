"""The shared style of all figures: colors, axes, legend."""

import math
import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
    StrMethodFormatter,
)

# The palette of Okabe and Ito (2008), distinguishable with every kind of color vision;
# without its yellow, which is too pale for a line on white.
BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"
ORANGE, SKY, PURPLE = "#E69F00", "#56B4E9", "#CC79A7"
COLORS = (BLUE, VERMILLION, GREEN, ORANGE, SKY, PURPLE)
LINE_STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P")
REFERENCE_LINE = {"color": "#555555", "linewidth": 0.9, "zorder": 1.5}

UNIT = (-0.02, 1.02)  # the range from 0 to 1, with room for markers at its ends

# A range wider than this factor is drawn on a logarithmic axis.
LINEAR_RANGE = 10


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of that size in inches, laid out without overlaps."""
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    return figure


def new_panel(
    width: float, height: float, title: str, x_label: str, y_label: str
) -> tuple[Figure, Axes]:
    """Return a figure of one panel, and the panel."""
    figure = new_figure(width, height)
    axes = figure.subplots()
    label_axes(axes, title, x_label, y_label)
    return figure, axes


def label_axes(axes: Axes, title: str, x_label: str, y_label: str) -> None:
    """Set a panel's labels and the style that all panels share."""
    axes.set_title(title, fontsize=11)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(linewidth=0.4, alpha=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def line_style(index: int) -> dict[str, str]:
    """Return color and dashes, so that lines differ in gray print as well."""
    return {
        "color": COLORS[index % len(COLORS)],
        "linestyle": LINE_STYLES[index % len(LINE_STYLES)],
    }


def legend_below(figure: Figure, panels: Sequence[Axes], columns: int = 1) -> None:
    """Put one legend for all panels under the figure, where it hides no data.

    The figure grows by the legend's height, so that the size of its panels remains.
    """
    entries: dict[str, Artist] = {}
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


def logarithmic_if_wide(axes: Axes, name: str, values: np.ndarray) -> None:
    """Make the "x" or "y" axis logarithmic if its range exceeds `LINEAR_RANGE`."""
    ratio = values.max() / values.min() if len(values) else 1
    if ratio <= LINEAR_RANGE:
        return
    axes.set(**{f"{name}scale": "log"})
    axis = {"x": axes.xaxis, "y": axes.yaxis}[name]
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if ratio < 1e4 else (1,)))
    axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axis.set_minor_formatter(NullFormatter())


def whole_ticks(axes: Axes) -> None:
    """Put a few ticks on the x axis, at whole numbers."""
    axes.xaxis.set_major_locator(
        MaxNLocator(nbins=8, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
    )
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def ticks_at(axes: Axes, values: np.ndarray, most: int = 5) -> None:
    """Put ticks on the x axis at some of the values, including the last."""
    chosen = values[:: -math.ceil(len(values) / most)]
    axes.set_xticks(chosen, [f"{value:,g}" for value in chosen])
    axes.xaxis.set_minor_locator(NullLocator())
