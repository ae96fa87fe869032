"""Figures of gates, gradients and words: the artists hold the numbers given."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from lstm_keras.interpret.attribution import Attribution
from lstm_keras.interpret.gradients import LayerFlow
from lstm_keras.interpret.trace import LayerTrace
from lstm_keras.plots import (
    plot_attribution,
    plot_gates,
    plot_gradient_flow,
    plot_negation,
    plot_prefix_predictions,
    plot_steps,
)
from lstm_keras.plots.style import NEGATIVE, POSITIVE
from tests.helpers.figures import assert_every_text_is_readable

WORDS = "the film was not good but the ending is wonderful".split()
HOSTILE = ["$x^2$", "ﷺ" * 30, "a_{b}", "\\frac", "<b>", "Donaudampfschifffahrt" * 3]


def trace(time=10, units=6, masked=0, seed=0):
    rng = np.random.default_rng(seed)
    shape = (2, time, units)
    mask = np.ones((2, time), bool)
    mask[:, :masked] = False
    gates = {name: rng.random(shape) for name in "ifo"}
    states = {name: rng.normal(size=shape) for name in "gch"}
    zeros = np.zeros((2, units))
    return LayerTrace(**gates, **states, mask=mask, h0=zeros, c0=zeros, backwards=False)


def attribution(words, scores=None):
    scores = np.linspace(-1, 2, len(words)) if scores is None else np.asarray(scores)
    return Attribution("gradient", "positive", tuple(words), scores, 1.0, 0.0, 0.0)


MANY = [f"word{n}" for n in range(200)]
FIGURES = {
    "steps": lambda: plot_steps(trace()),
    "one step": lambda: plot_steps(trace(time=1)),
    "steps of words": lambda: plot_steps(trace(), words=WORDS, marked=3),
    "steps of 200 words": lambda: plot_steps(trace(time=200), words=MANY, marked=3),
    "1,000 steps": lambda: plot_steps(trace(time=1000), example=1, unit=5),
    "gates": lambda: plot_gates(trace(), WORDS),
    "gates of padded text": lambda: plot_gates(trace(time=30, masked=25), WORDS),
    "gates of one unit": lambda: plot_gates(trace(units=1), WORDS),
    "gates of 200 words": lambda: plot_gates(trace(time=200, units=64), MANY),
    "gates without words": lambda: plot_gates(trace(time=50)),
    "gates of hostile words": lambda: plot_gates(trace(), HOSTILE),
    "gates all masked": lambda: plot_gates(trace(masked=10)),
    "flow": lambda: plot_gradient_flow(
        {"SimpleRNN": 0.5 ** np.arange(201.0), "LSTM": np.ones((3, 201))}
    ),
    "flow that vanishes": lambda: plot_gradient_flow({"a": [0, 0, 1e-30, 1]}),
    "flow of zeros": lambda: plot_gradient_flow({"a": [0.0, 0.0], "b": [1.0, 1.0]}),
    "flow of a step": lambda: plot_gradient_flow({"a": [1.0]}),
    "attribution": lambda: plot_attribution(attribution(WORDS)),
    "attribution of one word": lambda: plot_attribution(attribution(["good"])),
    "attribution of nothing": lambda: plot_attribution(attribution(WORDS, [0] * 10)),
    "attribution of 200 words": lambda: plot_attribution(attribution(MANY)),
    "attribution of hostile words": lambda: plot_attribution(attribution(HOSTILE)),
    "negation": lambda: plot_negation(WORDS, np.ones(10), -np.arange(10)),
    "negation of a hostile word": lambda: plot_negation(HOSTILE[:1], [1], [2]),
    "prefix": lambda: plot_prefix_predictions(WORDS, np.linspace(0, 1, 10)),
    "prefix of 200 words": lambda: plot_prefix_predictions(MANY, np.full(200, 0.5)),
}


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.filterwarnings("ignore:Glyph")  # no font has all scripts
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_every_text_is_readable(name):
    assert_every_text_is_readable(FIGURES[name]())


def test_steps_are_the_units_values():
    made = trace()
    upper, lower = plot_steps(made, example=1, unit=3).axes
    lines = {line.get_label(): line for axes in (upper, lower) for line in axes.lines}
    for name, label in (("f", "forget gate f"), ("c", "cell state c")):
        np.testing.assert_array_equal(
            lines[label].get_ydata(), getattr(made, name)[1, :, 3]
        )
        np.testing.assert_array_equal(lines[label].get_xdata(), np.arange(10))


def test_of_the_words_of_a_padded_text_one_is_marked():
    made = trace(time=30, masked=20)
    lower = plot_steps(made, unit=3, words=WORDS, marked=3).axes[1]
    lines = {line.get_label(): line.get_ydata() for line in lower.lines}
    np.testing.assert_array_equal(lines["candidate g"], made.g[0, 20:, 3])
    assert lower.get_xticklabels()[3].get_text() == "not"
    (span,) = lower.patches
    assert (span.get_x(), span.get_width()) == (2.5, 1.0)


def heat(figure, title):
    (axes,) = [axes for axes in figure.axes if axes.get_title() == title]
    return axes.images[-1].get_array()


def test_heat_maps_show_the_last_steps_of_the_chosen_units_and_leave_out_masked_ones():
    made = trace(time=20, masked=12)
    figure = plot_gates(made, WORDS, example=1, units=[4, 0])
    for values, title in (
        (made.i, "input gate i"),
        (np.tanh(made.c), "cell state, as tanh c"),
    ):
        shown = heat(figure, title)
        expected = values[1, -10:][:, [4, 0]].T
        assert shown.mask[:, :2].all() and not shown.mask[:, 2:].any()
        np.testing.assert_array_equal(shown[:, 2:], expected[:, 2:])


def test_masked_steps_are_hatched():
    made = trace(time=20, masked=12)
    made.mask[1, 15] = False
    for axes in plot_gates(made, WORDS, example=1).axes[:6]:
        spans = [(span.get_x(), span.get_width()) for span in axes.patches]
        assert spans == [(-0.5, 2), (4.5, 1)]
        assert all(span.get_hatch() for span in axes.patches)


def test_words_alone_are_rings_and_with_not_filled_in_the_color_of_their_sign():
    (axes,) = plot_negation(["good", "bad"], [1.0, -2.0], [-3.0, 4.0]).axes
    _, alone, negated = axes.collections
    assert alone.get_offsets().tolist() == [[1, 0], [-2, 1]]
    assert negated.get_offsets().tolist() == [[-3, 0], [4, 1]]
    assert not len(alone.get_facecolor()) and len(negated.get_facecolor())
    for points, colors in (
        (alone, (POSITIVE, NEGATIVE)),
        (negated, (NEGATIVE, POSITIVE)),
    ):
        drawn = [tuple(color[:3]) for color in points.get_edgecolor()]
        assert drawn == [*map(to_rgb, colors)]
    with pytest.raises(ValueError, match=r"expected contributions of shape \(1,\)"):
        plot_negation(["good"], [1.0], [1.0, 2.0])


def test_lags_count_back_from_the_last_step_and_zeros_leave_gaps():
    figure = plot_gradient_flow({"a": [0.0, 0.25, 0.5, 1.0]})
    (line,) = [line for line in figure.axes[0].lines if line.get_label() == "a"]
    np.testing.assert_array_equal(line.get_xdata(), [0, 1, 2])
    np.testing.assert_array_equal(line.get_ydata(), [1.0, 0.5, 0.25])


def test_of_several_examples_the_median_is_drawn_relative_to_the_last_step():
    flow = LayerFlow(np.array([[2.0, 2.0], [4.0, 1.0], [4.5, 0.5]]))
    figure = plot_gradient_flow({"a": flow})
    (line,) = [line for line in figure.axes[0].lines if line.get_label() == "a"]
    np.testing.assert_array_equal(line.get_ydata(), [1.0, 4.0])


def test_words_for_and_against_have_the_colors_of_positive_and_negative():
    bars = plot_attribution(attribution(["a", "b"], [-1.0, 2.0])).axes[0].patches
    assert [bar.get_width() for bar in bars] == [-1.0, 2.0]
    colors = [bar.get_facecolor()[:3] for bar in bars]
    assert colors == [to_rgb(NEGATIVE), to_rgb(POSITIVE)]


def test_of_many_words_the_strongest_is_named():
    scores = np.zeros(200)
    scores[77] = 5.0
    texts = [
        t.get_text() for t in plot_attribution(attribution(MANY, scores)).axes[0].texts
    ]
    assert "word77" in texts and len(texts) <= 12


@pytest.mark.parametrize("first", [0, 1])
def test_the_start_of_a_text_does_not_count_as_a_word(first):
    words = (["[START]"] if first == 0 else []) + MANY[:100]
    scores = np.zeros(len(words))
    scores[words.index("word77")] = 5.0
    attributed = plot_attribution(attribution(words, scores)).axes[0]
    (named,) = [t for t in attributed.texts if t.get_text() == "word77"]
    assert named.xy[0] == 78
    highest = max(attributed.patches, key=lambda bar: bar.get_height())
    assert highest.get_x() + highest.get_width() / 2 == 78
    for axes in (
        plot_gates(trace(time=len(words)), words).axes[4],  # below the others
        plot_prefix_predictions(words, np.full(len(words), 0.5)).axes[0],
    ):
        labels = axes.get_xticklabels()
        assert (labels[0].get_text(), labels[-1].get_text()) == (str(first), "100")


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plot_gates(trace(), []),
        lambda: plot_gates(trace(time=3), WORDS),
        lambda: plot_steps(trace(), words=[]),
        lambda: plot_gradient_flow({}),
        lambda: plot_gradient_flow({"a": np.ones((2, 2, 2))}),
        lambda: plot_gradient_flow({"a": []}),
        lambda: plot_prefix_predictions(WORDS, [0.5]),
        lambda: plot_prefix_predictions([], []),
    ],
)
def test_arrays_that_do_not_fit_are_refused(draw):
    with pytest.raises(ValueError, match=r"expected .*; received"):
        draw()


@pytest.mark.parametrize("wrong", [{"example": 2}, {"unit": 6}])
def test_a_missing_example_or_unit_is_refused(wrong):
    with pytest.raises(IndexError):
        plot_steps(trace(), **wrong)
