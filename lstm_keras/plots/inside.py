"""Figures of the inside of an LSTM: gates, states, gradients and attributions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import ArrayLike

from lstm_keras.plots.style import (
    DIVERGING,
    GRAY,
    NEGATIVE,
    OPENNESS,
    POSITIVE,
    REFERENCE_LINE,
    UNIT,
    WIDE,
    WIDTH,
    label_axes,
    legend_below,
    line_style,
    new_figure,
    new_panel,
    whole_ticks,
)
from lstm_keras.preprocessing.vocabulary import START_NAME

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
HEAT_TITLES = QUANTITIES | {"c": "cell state, as tanh c"}

MOST_WORDS = 40  # up to this number all words are labelled
NARROW_WORDS = 20  # up to this number they fit into a narrow figure
STRONGEST = 12  # number of words that are labelled otherwise


def plot_steps(
    trace: Any,
    example: int = 0,
    unit: int = 0,
    words: Sequence[str] | None = None,
    marked: int | None = None,
) -> Figure:
    """Draw the gates and states of one unit at each step.

    Args:
        trace: A `trace.LayerTrace`.
        example: Index of the example in the batch.
        unit: Index of the unit.
        words: Labels of the last steps, as in `plot_gates`.
        marked: The index of a word or step to mark.

    Raises:
        ValueError: There are no words, or more than steps.
        IndexError: There is no such example or unit.
    """
    shown = _shown(trace, words)
    figure = new_figure(_width(words), 4.6 if words else 4.0)
    upper, lower = figure.subplots(2, 1, sharex=True)
    label_axes(upper, f"Gates of unit {unit}", "", "Open (0 to 1)")
    label_axes(lower, f"Candidate and states of unit {unit}", "", "Value")
    for index, (name, title) in enumerate(QUANTITIES.items()):
        axes = upper if name in GATES else lower
        values = getattr(trace, name)[example, shown, unit]
        marker = "o" if len(values) <= 30 else None
        axes.plot(values, label=title, marker=marker, markersize=4, **line_style(index))
    upper.set_ylim(UNIT)
    lower.axhline(0, **REFERENCE_LINE)
    _label_words(lower, words, len(values))
    for axes in (upper, lower):
        if marked is not None:
            axes.axvspan(marked - 0.5, marked + 0.5, color=GRAY, alpha=0.25, zorder=0)
    legend_below(figure, [upper, lower])
    return figure


def plot_gates(
    trace: Any,
    words: Sequence[str] | None = None,
    example: int = 0,
    units: Sequence[int] | None = None,
) -> Figure:
    """Draw gates and states as heat maps, a row for each unit, a column for each step.

    Gates are drawn from 0 to 1, candidate and states from -1 to 1. Of the cell state
    its tanh is drawn, which the output gate passes on: a few units with a large state
    would leave all others pale. Masked steps are hatched.

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
    shown = _shown(trace, words)
    units = np.arange(trace.h.shape[-1]) if units is None else np.asarray(units)
    masked = ~trace.mask[example, shown]
    figure = new_figure(WIDE, 7.0)
    panels = figure.subplots(3, 2, sharex=True, sharey=True)
    for axes, name in zip(panels.T.flat, QUANTITIES, strict=True):
        values = getattr(trace, name)[example, shown][:, units].T
        values = np.tanh(values) if name == "c" else values
        picture = axes.imshow(
            np.ma.array(values, mask=np.broadcast_to(masked, values.shape)),
            aspect="auto",
            cmap=OPENNESS if name in GATES else DIVERGING,
            vmin=0 if name in GATES else -1,
            vmax=1,
            interpolation="nearest",
        )
        label_axes(axes, HEAT_TITLES[name], "", "")
        axes.grid(False)
        _hatch(axes, masked)
        figure.colorbar(picture, ax=axes, pad=0.01).ax.tick_params(labelsize=9)
    _label_units(panels[:, 0], units)
    for axes in panels[-1]:
        _label_words(axes, words, len(masked))
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
    x_label = "Lag (steps back from the last)"
    figure, axes = new_panel(WIDTH, 4.0, title, x_label, y_label)
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
    legend_below(figure, [axes])
    return figure


def plot_attribution(attribution: Any) -> Figure:
    """Draw each word's contribution to a model's output, positive or negative.

    Args:
        attribution: An `attribution.Attribution`.
    """
    words, scores = attribution.words, np.asarray(attribution.scores)
    few = len(words) <= MOST_WORDS
    height = 1.6 + 0.2 * len(words)
    figure = new_figure(WIDTH, height) if few else new_figure(WIDE, 3.4)
    axes = figure.subplots()
    colors = np.where(scores >= 0, POSITIVE, NEGATIVE)
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
        axes.bar(_numbers(words), scores, color=colors, width=1.0)
        axes.axhline(0, **REFERENCE_LINE)
        whole_ticks(axes)
        _name_strongest(axes, words, scores)
    return figure


def plot_negation(words: Sequence[str], alone: ArrayLike, negated: ArrayLike) -> Figure:
    """Draw what words contribute alone, and what each contributes together with "not".

    Args:
        words: The words, from top to bottom.
        alone: The contribution of each, `(words,)`.
        negated: That of "not" and the word, `(words,)`.

    Raises:
        ValueError: There are no words, or their number is not that of contributions.
    """
    pairs = [np.asarray(alone, float), np.asarray(negated, float)]
    if {one.shape for one in pairs} != {(len(words),)} or not len(words):
        raise ValueError(
            f"expected contributions of shape ({len(words)},), one per word, at least "
            f"one; received shapes {np.shape(alone)} and {np.shape(negated)}"
        )
    title = "Contributions alone, and together with “not”"
    figure, axes = new_panel(WIDTH, 1.6 + 0.2 * len(words), title, "Contribution", "")
    places = np.arange(len(words))
    axes.hlines(places, *pairs, color=GRAY, linewidth=0.9, zorder=1)
    for values, filled, label in zip(
        pairs, (False, True), ("the word alone", "“not” and the word"), strict=True
    ):
        colors = np.where(values >= 0, POSITIVE, NEGATIVE)
        faces = colors if filled else "none"
        axes.scatter(
            values, places, facecolors=faces, edgecolors=colors, s=26, label=label
        )
    axes.set_yticks(places, map(_short, words))
    axes.set_ylim(len(words) - 0.4, -0.6)
    axes.axvline(0, **REFERENCE_LINE)
    legend_below(figure, [axes])
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
    title, y_label = "Prediction if the text ended here", "Probability of positive"
    figure, axes = new_panel(_width(words), 3.4, title, "", y_label)
    axes.plot(probabilities, color=POSITIVE, marker="o", markersize=3)
    axes.axhline(0.5, **REFERENCE_LINE)
    axes.set_ylim(UNIT)
    _label_words(axes, words, len(words))
    return figure


def _shown(trace: Any, words: Sequence[str] | None) -> slice:
    """Return the steps of the words: the last ones, or all."""
    time = trace.h.shape[1]
    if words is not None and not 1 <= len(words) <= time:
        raise ValueError(
            f"expected words for 1 to {time} steps; received {len(words)} words"
        )
    return slice(None if words is None else time - len(words), None)


def _width(words: Sequence[str] | None) -> float:
    return WIDTH if words is None or len(words) <= NARROW_WORDS else WIDE


def _hatch(axes: Axes, masked: np.ndarray) -> None:
    """Hatch the columns of masked steps."""
    edges = np.flatnonzero(np.diff([False, *masked, False])) - 0.5
    for left, right in edges.reshape(-1, 2):
        axes.axvspan(left, right, fill=False, hatch="///", color=GRAY, linewidth=0)


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
    numbers = np.arange(steps) + 1 if words is None else _numbers(words)
    places = np.unique(np.linspace(0, len(numbers) - 1, 6).round().astype(int))
    axes.set_xticks(places, [f"{numbers[place]:,}" for place in places])
    axes.set_xlabel("Step" if words is None else "Word")


def _numbers(words: Sequence[str]) -> np.ndarray:
    """Return the number of each word; the start of a text is none, and has 0."""
    return np.arange(len(words)) + (words[0] != START_NAME)


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
            (_numbers(words)[place], scores[place]),
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
