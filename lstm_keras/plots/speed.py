"""Figures of the time of a step, and how it scales."""

from collections.abc import Mapping
from itertools import cycle

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from numpy.typing import ArrayLike

from lstm_keras.plots.style import (
    BASELINE,
    KERAS,
    LINEAR_RANGE,
    MARKERS,
    OURS,
    REFERENCE_LINE,
    WIDE,
    WIDTH,
    label_axes,
    legend_below,
    new_figure,
    new_panel,
    ticks_at,
)

# The sizes that the time of a step depends on.
SIZES = {"T": "Steps of a sequence (T)", "B": "Sequences (B)", "H": "Units (H)"}

TORCH = "torch.nn.LSTM"
OTHERS = {"keras": KERAS, TORCH: BASELINE}  # the colors of what is not ours

Paths = Mapping[str, tuple[float, float, float]]
Curves = Mapping[str, tuple[ArrayLike, ArrayLike]]


def plot_step_times(title: str, backends: Mapping[str, Paths]) -> Figure:
    """Draw the time of a step with its spread, for each backend and implementation.

    The axis is logarithmic if the times span more than `LINEAR_RANGE`.

    Args:
        title: what is timed.
        backends: by backend and by implementation the 10% quantile, the median and the
            90% quantile in seconds. "keras" is Keras's layer, "torch.nn.LSTM" plain
            torch; the others are ours.

    Raises:
        ValueError: if there is no time.
    """
    rows = [
        (f"{backend} {path}", path, 1000 * np.asarray(times))
        for backend, paths in backends.items()
        for path, times in paths.items()
    ]
    if not rows:
        raise ValueError(f"expected at least one time; received {dict(backends)}")
    figure, axes = new_panel(
        WIDTH,
        1.2 + 0.28 * len(rows),
        title,
        "Milliseconds a step (less is better)",
        "Path",
    )
    labels = {"keras": "keras.layers.LSTM", TORCH: TORCH}
    for place, (_, path, (low, median, high)) in enumerate(rows):
        color, label = OTHERS.get(path, OURS), labels.get(path, "lstm_keras.LSTM")
        spread = [[median - low], [high - median]]
        options = {"fmt": "o", "markersize": 6, "capsize": 3, "elinewidth": 1.5}
        axes.errorbar(median, place, xerr=spread, color=color, label=label, **options)
    axes.set_yticks(range(len(rows)), [name for name, *_ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    times = np.concatenate([times for *_, times in rows])
    if times.max() > LINEAR_RANGE * times.min():
        axes.set_xscale("log")
        few = (1,) if times.max() > 100 * times.min() else (1, 2, 5)
        axes.xaxis.set_major_locator(LogLocator(subs=few))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    legend_below(figure, [axes])
    return figure


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
        name: {"color": OTHERS.get(name, OURS), "marker": marker}
        for name, marker in zip(names, cycle(MARKERS))
    }
    styles[limit] = REFERENCE_LINE | {"linestyle": "--"}
    figure = new_figure(WIDTH if len(panels) == 1 else WIDE, 3.8)
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
    legend_below(figure, rows)
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
