"""Figures of the inside of an LSTM: gates, states, gradients and attributions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import ArrayLike

from lstm_keras.plots.style import (
    BLUE,
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

# The quantities of a trace, in the order they are drawn, and their titles.
QUANTITIES = {
    "i": "input gate i",
    "f": "forget gate f",
    "o": "output gate o",
    "g": "candidate g",
    "c": "cell state c",
    "h": "hidden state h",
}
GATES = ("i", "f", "o")

MOST_WORDS = 40  # up to this number all words are labelled
STRONGEST = 12  # number of words that are labelled otherwise


def plot_steps(trace: Any, example: int = 0, unit: int = 0) -> Figure:
    """Draw the gates and states of one unit at each step.

    Args:
        trace: A `trace.LayerTrace`.
        example: Index of the example in the batch.
        unit: Index of the unit.

    Raises:
        IndexError: There is no such example or unit.
    """
    steps = np.arange(1, trace.h.shape[1] + 1)
    figure = new_figure(5.2, 4.0)
    upper, lower = figure.subplots(2, 1, sharex=True)
    label_axes(upper, f"Gates of unit {unit}", "", "Open (0 to 1)")
    label_axes(lower, f"Candidate and states of unit {unit}", "Step", "Value")
    for index, (name, title) in enumerate(QUANTITIES.items()):
        axes = upper if name in GATES else lower
        values = getattr(trace, name)[example, :, unit]
        marker = "o" if len(steps) <= 30 else None
        axes.plot(
            steps, values, label=title, marker=marker, markersize=4, **line_style(index)
        )
    upper.set_ylim(UNIT)
    lower.axhline(0, **REFERENCE_LINE)
    whole_ticks(lower)
    legend_below(figure, [upper, lower], columns=2)
    return figure


def plot_gates(
    trace: Any,
    words: Sequence[str] | None = None,
    example: int = 0,
    units: Sequence[int] | None = None,
) -> Figure:
    """Draw gates and states as heat maps, a row for each unit, a column for each step.

    Gates are drawn from 0 to 1, candidate and states around 0. Masked steps are gray.

    Args:
        trace: A `trace.LayerTrace`.
        words: Labels of the last steps, for instance the tokens of a padded text;
            earlier steps are omitted. None draws all steps, numbered.
        example: Index of the example in the batch.
        units: Indices of the units, from top to bottom; None for all.

    Raises:
        ValueError: There are no words, or more than steps.
        IndexError: There is no such example or unit.
    """
    time = trace.h.shape[1]
    if words is not None and not 1 <= len(words) <= time:
        raise ValueError(
            f"expected words for 1 to {time} steps; received {len(words)} words"
        )
    shown = slice(None if words is None else time - len(words), None)
    units = np.arange(trace.h.shape[-1]) if units is None else np.asarray(units)
    masked = ~trace.mask[example, shown]
    figure = new_figure(7.0, 6.4)
    panels = figure.subplots(3, 2, sharex=True, sharey=True)
    for axes, name in zip(panels.T.flat, QUANTITIES, strict=True):
        values = getattr(trace, name)[example, shown][:, units].T
        values = np.ma.array(values, mask=np.broadcast_to(masked, values.shape))
        _draw_heat(figure, axes, name, values)
    _label_units(panels[:, 0], units)
    for axes in panels[-1]:
        _label_words(axes, words, trace.h.shape[1])
    return figure


def plot_gradient_flow(
    curves: Mapping[str, ArrayLike],
    title: str = "Gradient of the loss by the hidden state",
    y_label: str = "Norm, relative to the last step's",
) -> Figure:
    """Draw how gradients vanish or explode back in time, on a logarithmic axis.

    Args:
        curves: By name the norms, `(time,)` or `(examples, time)`, or a `LayerFlow`,
            whose `h` is used, as in the result of `gradient_flow`. Each example's norms
            are divided by its last one, at lag 0; the median is drawn with the
            interquartile range. A median of 0 leaves a gap.
        title: The panel's title.
        y_label: The label of its y axis.

    Raises:
        ValueError: There is no curve, or one has another shape.
    """
    checked = {name: _checked_norms(name, norms) for name, norms in curves.items()}
    if not checked:
        raise ValueError("expected at least one curve; received none")
    figure, axes = new_panel(5.6, 4.0, title, "Lag (steps back from the last)", y_label)
    for index, (name, norms) in enumerate(checked.items()):
        # A logarithmic axis can't show a median of 0.
        quantiles = np.quantile(norms[:, ::-1], (0.25, 0.5, 0.75), axis=0)
        lags = np.flatnonzero(quantiles[1] > 0)
        low, middle, high = quantiles[:, lags]
        style = line_style(index)
        axes.plot(lags, middle, label=name, **style)
        if len(norms) > 1:
            axes.fill_between(lags, low, high, color=style["color"], alpha=0.2)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(numticks=8))
    axes.yaxis.set_minor_formatter(NullFormatter())
    whole_ticks(axes)
    legend_below(figure, [axes], columns=2)
    return figure


def plot_attribution(attribution: Any) -> Figure:
    """Draw each word's contribution to a model's output, positive or negative.

    Args:
        attribution: An `attribution.Attribution`.
    """
    words, scores = attribution.words, np.asarray(attribution.scores)
    few = len(words) <= MOST_WORDS
    figure = new_figure(5.2, 1.6 + 0.2 * len(words)) if few else new_figure(7.0, 3.4)
    axes = figure.subplots()
    colors = np.where(scores >= 0, BLUE, VERMILLION)
    places = np.arange(len(words))
    title = f"Contributions to “{_short(attribution.target)}”\n({attribution.method})"
    if few:
        label_axes(axes, title, "Contribution", "")
        axes.barh(places, scores, color=colors)
        axes.set_yticks(places, map(_short, words))
        axes.invert_yaxis()
        axes.axvline(0, **REFERENCE_LINE)
    else:
        label_axes(axes, title, "Word", "Contribution")
        axes.bar(places + 1, scores, color=colors, width=1.0)
        axes.axhline(0, **REFERENCE_LINE)
        whole_ticks(axes)
        _name_strongest(axes, words, scores)
    return figure


def plot_prefix_predictions(words: Sequence[str], probabilities: ArrayLike) -> Figure:
    """Draw a classifier's prediction if the text ended after each word.

    Args:
        words: The tokens.
        probabilities: Probability of the positive class after each, `(words,)`.

    Raises:
        ValueError: There are no words, or their number is not that of probabilities.
    """
    probabilities = np.asarray(probabilities)
    if probabilities.shape != (len(words),) or not len(words):
        raise ValueError(
            f"expected probabilities of shape ({len(words)},), one per word, at least "
            f"one; received shape {probabilities.shape}"
        )
    figure, axes = new_panel(
        7.0, 3.4, "Prediction if the text ended here", "", "Probability of positive"
    )
    places = np.arange(len(words))
    axes.plot(places, probabilities, color=BLUE, marker="o", markersize=3)
    axes.axhline(0.5, **REFERENCE_LINE)
    axes.set_ylim(UNIT)
    _label_words(axes, words, len(words))
    return figure


def _colors(name: str) -> tuple[Colormap | str, float]:
    """Return the color map of a quantity, and the lowest value of its scale."""
    return ("cividis", 0.0) if name in GATES else ("RdBu_r", -1.0)


def _draw_heat(
    figure: Figure, axes: Axes, name: str, values: np.ma.MaskedArray
) -> None:
    colors, least = _colors(name)
    most = 1.0
    if least < 0:
        # Symmetric around 0; the cell state is unbounded.
        most = max(1.0, float(np.abs(values).max())) if values.count() else 1.0
        least = -most
    axes.imshow(
        np.ma.zeros(values.shape),
        aspect="auto",
        cmap=ListedColormap(["#bbbbbb"]),
        interpolation="nearest",
    )
    picture = axes.imshow(
        values,
        aspect="auto",
        cmap=colors,
        vmin=least,
        vmax=most,
        interpolation="nearest",
    )
    label_axes(axes, QUANTITIES[name], "", "")
    axes.grid(False)
    figure.colorbar(picture, ax=axes, pad=0.01)


def _label_units(panels: Sequence[Axes], units: np.ndarray) -> None:
    places = np.unique(np.linspace(0, len(units) - 1, 5).round().astype(int))
    for axes in panels:
        axes.set_ylabel("Unit")
        axes.set_yticks(places, [str(units[place]) for place in places])


def _label_words(axes: Axes, words: Sequence[str] | None, steps: int) -> None:
    """Label the steps on the x axis: all words, or some numbers if there are many."""
    if words is not None and len(words) <= MOST_WORDS:
        axes.set_xticks(range(len(words)), map(_short, words), rotation=90, fontsize=8)
        return
    count = steps if words is None else len(words)
    places = np.unique(np.linspace(0, count - 1, 6).round().astype(int))
    axes.set_xticks(places, [f"{place + 1:,}" for place in places])
    axes.set_xlabel("Step" if words is None else "Word")


def _name_strongest(axes: Axes, words: Sequence[str], scores: np.ndarray) -> None:
    """Label the bars of the words with the largest contributions, if there is room."""
    room = len(words) / 50
    named: list[int] = []
    for place in np.argsort(-np.abs(scores), kind="stable"):
        if len(named) == STRONGEST:
            break
        if all(abs(place - other) > room for other in named):
            named.append(place)
    for place in named:
        upward = scores[place] >= 0
        axes.annotate(
            _short(words[place]),
            (place + 1, scores[place]),
            xytext=(0, 3 if upward else -3),
            textcoords="offset points",
            rotation=90,
            fontsize=8,
            horizontalalignment="center",
            verticalalignment="bottom" if upward else "top",
        )
    axes.margins(y=0.3)


def _short(word: str, length: int = 16) -> str:
    """Return a shortened word, with `$` escaped from matplotlib's formulas."""
    word = word if len(word) <= length else f"{word[: length - 1]}…"
    return word.replace("$", r"\$")


def _checked_norms(name: str, norms: ArrayLike) -> np.ndarray:
    norms = np.asarray(getattr(norms, "h", norms), np.float64)
    if norms.ndim not in (1, 2) or not norms.size:
        raise ValueError(
            f"expected norms of {name!r} of shape (time,) or (examples, time); "
            f"received shape {norms.shape}"
        )
    norms = norms.reshape(-1, norms.shape[-1])
    last = norms[:, -1:]
    return np.divide(norms, last, out=np.zeros_like(norms), where=last > 0)
