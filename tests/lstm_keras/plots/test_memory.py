"""Figures of what layers remember: the artists hold the numbers that were given."""

import numpy as np
import pytest

from lstm_keras.plots import plot_error_by_lag, plot_longest_lag
from tests.helpers.figures import assert_every_text_is_readable

LAGS = [10, 25, 50, 100, 200, 400]
LONGEST = {
    "Adding problem": {"SimpleRNN": 10, "GRU": 400, "LSTM (lstm_keras)": 100},
    "Copying after a delay": {"SimpleRNN": None, "GRU": 25, "LSTM (lstm_keras)": 25},
    "Temporal order": {"SimpleRNN": 50, "GRU": 100, "LSTM (lstm_keras)": 200},
}
CURVES = {
    "SimpleRNN": ([10, 25], [0.008, 0.16], [0.001, 0.0]),
    "LSTM": ([10, 25, 50], [0.0, 0.002, 0.18], [0.0, 0.003, 0.01]),
}
BASELINE = dict.fromkeys([10, 25, 50, 100], 1 / 6)
GOAL = dict.fromkeys([10, 25, 50, 100], 0.01)


def error_figure(curves=CURVES, baseline=BASELINE, goal=GOAL):
    return plot_error_by_lag("Adding", "mean squared error", curves, baseline, goal)


@pytest.mark.parametrize(
    "figure",
    [
        plot_longest_lag(LONGEST, LAGS),
        plot_longest_lag({"Adding problem": {"LSTM": 10}}, [10]),
        error_figure(),
        error_figure({"LSTM": ([10], [0.1], [0.0])}, {10: 0.5}, {10: 0.2}),
        error_figure(baseline=dict.fromkeys(LAGS, 0.2)),
    ],
)
def test_every_text_is_readable_and_axes_have_names(figure):
    assert_every_text_is_readable(figure)
    (axes,) = figure.axes
    assert axes.get_title() and axes.get_xlabel() and axes.get_ylabel()


def test_bars_end_at_the_longest_lag_and_are_labelled():
    (axes,) = plot_longest_lag(LONGEST, LAGS).axes
    ticks = [label.get_text() for label in axes.get_xticklabels()]
    assert ticks == ["10", "25", "50", "100", "200", "400"]
    tasks = [label.get_text().replace("\n", " ") for label in axes.get_yticklabels()]
    assert tasks == list(LONGEST)
    # A text and a bar for each task, layer by layer.
    texts = iter(axes.texts)
    for bars, layer in zip(axes.containers, LONGEST["Adding problem"], strict=True):
        assert bars.get_label() == layer
        for place, (bar, by_layer) in enumerate(
            zip(bars, LONGEST.values(), strict=True)
        ):
            lag = by_layer[layer]
            assert abs(bar.get_y() + bar.get_height() / 2 - place) < 0.4
            assert bar.get_width() == (LAGS.index(lag) + 1 if lag else 0)
            assert next(texts).get_text() == ("none" if lag is None else str(lag))


def test_curves_and_references_are_drawn():
    (axes,) = error_figure().axes
    lines = {line.get_label(): line for line in axes.lines}
    for name, (lags, mean, _) in CURVES.items():
        np.testing.assert_array_equal(lines[name].get_xdata(), lags)
        np.testing.assert_array_equal(lines[name].get_ydata(), mean)
    guess = lines["best guess without memory"]
    assert guess.get_linestyle() == "--"
    np.testing.assert_allclose(guess.get_ydata(), 1 / 6)
    np.testing.assert_allclose(lines["counts as solved below"].get_ydata(), 0.01)


@pytest.mark.parametrize(
    ("error", "scale"), [(0.001, "log"), (0.0, "linear"), (0.15, "log")]
)
def test_errors_are_drawn_by_their_logarithm_unless_one_is_zero(error, scale):
    (axes,) = error_figure({"LSTM": ([10], [error], [0.01])}).axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", scale)
    low, high = axes.get_ylim()
    assert low <= error <= high
    assert all(np.isfinite(axes.collections[0].get_paths()[0].vertices).ravel())


def test_deviations_are_drawn_around_the_mean():
    curves = {"LSTM": ([10, 50], [0.1, 0.3], [0.02, 0.05])}
    (axes,) = error_figure(curves, {10: 0.5, 50: 0.5}, {10: 0.2, 50: 0.2}).axes
    assert axes.get_yscale() == "linear"
    (band,) = axes.collections
    corners = {tuple(np.round(point, 9)) for point in band.get_paths()[0].vertices}
    assert {(10, 0.08), (10, 0.12), (50, 0.25), (50, 0.35)} <= corners


@pytest.mark.parametrize(
    ("longest", "message"),
    [
        ({}, "at least one task"),
        ({"a": {}}, "at least one task"),
        ({"a": {"x": 10}, "b": {"y": 10}}, "each with the same layers"),
        ({"a": {"x": 11}}, r"one of the lags \[10, 25.*; received 11"),
    ],
)
def test_bad_longest_lags_are_refused(longest, message):
    with pytest.raises(ValueError, match=message):
        plot_longest_lag(longest, LAGS)


@pytest.mark.parametrize(
    ("curves", "message"),
    [
        ({}, "at least one curve"),
        ({"LSTM": ([], [], [])}, "received LSTM"),
        ({"LSTM": ([10], [-1.0], [0.0])}, "numbers >= 0; received LSTM"),
        ({"LSTM": ([10], [np.nan], [0.0])}, "numbers >= 0; received LSTM"),
        ({"LSTM": ([10], [0.1], [np.inf])}, "numbers >= 0; received LSTM"),
    ],
)
def test_bad_curves_are_refused(curves, message):
    with pytest.raises(ValueError, match=message):
        error_figure(curves)
