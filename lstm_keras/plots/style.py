"""The shared style of all figures: colors, axes, legend."""

import itertools
import math
import textwrap
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import (
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
    StrMethodFormatter,
)

# By name a color on white and the same on a dark page: after the palette of Okabe and
# Ito (2008), distinguishable with every kind of color vision, but nowhere paler than a
# contrast of 3.
PALETTE = {
    "blue": ("#0072b2", "#4ba6e8"),
    "vermillion": ("#d55e00", "#ff8a3d"),
    "green": ("#009e73", "#2bc796"),
    "purple": ("#b0578d", "#e58bbf"),
    "ochre": ("#b58900", "#e3b53a"),
    "indigo": ("#5e4fa2", "#a79bf0"),
    "sky": ("#3a9bd9", "#8fd3ff"),
    "brown": ("#7a4a1e", "#c99a6b"),
    "gray": ("#6e6e6e", "#9aa0a6"),
}
BLUE, VERMILLION, GREEN, PURPLE, OCHRE, INDIGO, SKY, BROWN, GRAY = (
    on_white for on_white, _ in PALETTE.values()
)
INK = "#000000"  # the color of the page's text

# One color means one thing in a whole report; `COLORS` are for what has no name here.
POSITIVE, NEGATIVE = BLUE, VERMILLION  # above and below zero; for and against
OURS, KERAS = GREEN, PURPLE
TRAINING, VALIDATION = OCHRE, INDIGO
BASELINE = GRAY
COLORS = (GREEN, PURPLE, OCHRE, INDIGO, INK, BROWN)

# The widths of figures in inches. A report shows one of `WIDTH` in a column, and one of
# `WIDE` across two, so that all have one size of font.
WIDTH, WIDE = 5.2, 10.8

LINE_STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P")
REFERENCE_LINE = {"color": GRAY, "linewidth": 0.9, "zorder": 1.5}

UNIT = (-0.02, 1.02)  # the range from 0 to 1, with room for markers at its ends

# Color maps that are transparent at 0, so that they fit a light page and a dark one:
# of values around 0, of shares, and of gates, in no color that has another meaning.
DIVERGING = LinearSegmentedColormap.from_list(
    "diverging",
    [
        (0, NEGATIVE),
        (0.5, to_rgba(NEGATIVE, 0)),
        (0.5, to_rgba(POSITIVE, 0)),
        (1, POSITIVE),
    ],
)
SEQUENTIAL, OPENNESS = (
    LinearSegmentedColormap.from_list(name, [to_rgba(color, 0), color])
    for name, color in (("sequential", GREEN), ("openness", GRAY))
)

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
    axes.set_title(title, fontsize=11, x=0, horizontalalignment="left")
    axes.set_xlabel(x_label, fontsize=9.5)
    axes.set_ylabel(y_label, fontsize=9.5)
    axes.tick_params(labelsize=9)
    axes.grid(color=GRAY, linewidth=0.5, alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def line_style(index: int) -> dict[str, str]:
    """Return color and dashes, so that lines differ in gray print as well."""
    return {
        "color": COLORS[index % len(COLORS)],
        "linestyle": LINE_STYLES[index % len(LINE_STYLES)],
    }


def layer_styles(layers: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return color and dashes by layer: Keras's LSTM and ours look the same everywhere.

    Ours has "lstm_keras" in its name, Keras's only "keras".
    """
    others = itertools.cycle((OCHRE, INDIGO, SKY, BROWN))
    dashes = itertools.cycle(LINE_STYLES)
    return {
        layer: {
            "color": OURS
            if "lstm_keras" in layer
            else KERAS
            if "keras" in layer.lower()
            else next(others),
            "linestyle": next(dashes),
        }
        for layer in layers
    }


def legend_below(figure: Figure, panels: Sequence[Axes]) -> None:
    """Put one legend for all panels under the figure, where it hides no data.

    The figure grows by the legend's height, so that the size of its panels remains.
    """
    entries: dict[str, Artist] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(textwrap.fill(label, 64), handle)
    if not entries:
        return
    longest = max(len(line) for label in entries for line in label.split("\n"))
    columns = (
        min(len(entries), int(figure.get_figwidth() / (0.08 * longest + 0.5))) or 1
    )
    lines = sum(label.count("\n") + 1 for label in entries) / columns
    figure.set_figheight(figure.get_figheight() + 0.2 * math.ceil(lines))
    figure.legend(
        entries.values(),
        entries.keys(),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=9,
        borderpad=0,
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
