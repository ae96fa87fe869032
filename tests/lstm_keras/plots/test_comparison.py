"""Figures of two layers: the artists hold the numbers that were given."""

import numpy as np
import pytest

from lstm_keras.plots import (
    plot_differences,
    plot_equality,
    plot_paired_curves,
    plot_paired_differences,
    style,
)
from tests.helpers.figures import assert_every_text_is_readable

HISTORIES = {
    "keras.layers.LSTM": [
        {"val_loss": [0.7, 0.5, 0.4], "val_accuracy": [0.5, 0.7, 0.8]},
        {"val_loss": [0.6, 0.5, 0.3], "val_accuracy": [0.6, 0.7, 0.9]},
    ],
    "lstm_keras.LSTM": [
        {"val_loss": [0.7, 0.5, 0.5], "val_accuracy": [0.5, 0.7, 0.75]},
        {"val_loss": [0.6, 0.5, 0.4], "val_accuracy": [0.6, 0.7, 0.85]},
    ],
}
DIFFERENCES = {
    "Accuracy, ours − Keras's": {
        "validation": {
            "values": [0.01, -0.02],
            "mean": -0.005,
            "interval": [-0.2, 0.1],
        },
        "test": {"values": [0.0, 0.0], "mean": 0.0, "interval": [0.0, 0.0]},
    },
    "Loss, ours − Keras's": {
        "validation": {"values": [3e-7], "mean": 3e-7, "interval": None},
        "test": {"values": [-1e-7], "mean": -1e-7, "interval": None},
    },
}
EQUALITY = {
    "float32": {"lstm_keras.LSTM, loop": 0.0, "lstm_keras.LSTM, xla": 0.02},
    "float64": {"lstm_keras.LSTM, loop": 0.0},
    "mixed_bfloat16": {"lstm_keras.LSTM, xla": 30.0},
}
ABLATION = {
    "Sentiment\nwrong (%)": {
        "no forget gate": {"mean": 2.0, "interval": [1.0, 3.0], "significant": True},
        "GRU": {"mean": -0.5, "interval": [-2.0, 1.0], "significant": False},
    },
    "Adding problem\nlog10": {
        "no forget gate": None,
        "GRU": {"mean": -1.5, "interval": None, "significant": True},
    },
}
FIGURES = {
    "ablation": lambda: plot_differences(ABLATION),
    "equality": lambda: plot_equality(EQUALITY),
    "curves": lambda: plot_paired_curves(HISTORIES),
    "curves of one epoch and one seed": lambda: plot_paired_curves(
        {
            name: [{key: values[:1] for key, values in of_seeds[0].items()}]
            for name, of_seeds in HISTORIES.items()
        }
    ),
    "differences": lambda: plot_paired_differences(DIFFERENCES),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_every_text_is_readable(make):
    assert_every_text_is_readable(make())


def test_every_seed_and_the_mean_of_each_layer_are_drawn():
    figure = plot_paired_curves(HISTORIES)
    for axes, key in zip(figure.axes, ("val_loss", "val_accuracy"), strict=True):
        drawn = [line.get_ydata().tolist() for line in axes.lines]
        for of_seeds in HISTORIES.values():
            curves = [history[key] for history in of_seeds]
            assert all(curve in drawn for curve in curves)
            assert np.mean(curves, axis=0).tolist() in drawn
        assert len(drawn) == 2 * (2 + 1)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [f"{name}, mean of 2" for name in HISTORIES]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (0, "\n(the curves are equal in float32)"),
        (1e-4, "\n(the curves differ by at most 1e-04)"),
        (0.1, ""),
    ],
)
def test_curves_that_cover_each_other_are_said_to_be_equal(change, said):
    keras = HISTORIES["keras.layers.LSTM"]
    ours = [
        {key: np.add(values, change) for key, values in one.items()} for one in keras
    ]
    axes, _ = plot_paired_curves({"keras": keras, "lstm_keras": ours}).axes
    assert axes.get_title() == f"Validation loss by epoch{said}"


def test_equality_holds_every_difference_and_the_tolerance():
    (axes,) = plot_equality(EQUALITY).axes
    *layers, tolerance = axes.lines
    assert [line.get_xdata().tolist() for line in layers] == [[0, 0], [0.02, 30]]
    assert [line.get_ydata().round().tolist() for line in layers] == [[0, 1], [0, 2]]
    assert list(tolerance.get_xdata()) == [1, 1]
    low, high = axes.get_xlim()
    assert low <= 0 and high > 30
    with pytest.raises(ValueError, match="at least one data type"):
        plot_equality({})


def test_layers_differ_in_color_and_in_dashes():
    lines = plot_paired_curves(HISTORIES).axes[0].lines
    looks = {(line.get_color(), line.get_linestyle()) for line in lines}
    assert len(looks) == 2
    assert len({style for _, style in looks}) == 2


def test_differences_hold_every_seed_the_mean_and_the_interval():
    first, second = plot_paired_differences(DIFFERENCES).axes
    seeds = first.collections[0].get_offsets()
    np.testing.assert_allclose(seeds, [[0.01, 0], [-0.02, 0]])
    bar = first.containers[0].lines[2][0].get_segments()[0]
    np.testing.assert_allclose(bar, [[-0.2, 0], [0.1, 0]])
    assert [label.get_text() for label in first.get_yticklabels()] == [
        "validation",
        "test",
    ]
    assert second.containers[0].get_label() == "mean"
    assert first.containers[0].get_label() == "mean, with 95% interval"


@pytest.mark.parametrize(
    "histories",
    [
        {},
        {"a": []},
        {"a": [{"val_loss": [1.0]}]},
        {"a": [{"val_loss": [], "val_accuracy": []}]},
        {
            "a": [
                HISTORIES["lstm_keras.LSTM"][0],
                {"val_loss": [1], "val_accuracy": [1]},
            ]
        },
    ],
)
def test_histories_that_cannot_be_drawn_are_refused(histories):
    with pytest.raises(ValueError, match=r"expected .*histories"):
        plot_paired_curves(histories)


@pytest.mark.parametrize(
    "panels", [{}, {"a": {}}, {"a": {"b": {"values": [], "mean": 0, "interval": None}}}]
)
def test_differences_without_a_value_are_refused(panels):
    with pytest.raises(ValueError, match="expected differences in every panel"):
        plot_paired_differences(panels)


def test_a_row_of_each_panel_has_its_mean_its_interval_and_a_color_of_its_sign():
    figure = plot_differences(ABLATION)
    first, second = figure.axes
    points = [line for line in first.lines if line.get_marker() == "o"]
    assert [line.get_xydata().tolist() for line in points] == [[[2, 0]], [[-0.5, 1]]]
    ends = [bar.get_segments()[0][:, 0].tolist() for bar in first.collections]
    assert ends == [[1, 3], [-2, 1]]
    (alone,) = (line for line in second.lines if line.get_marker() == "o")
    colors = [line.get_color() for line in (*points, alone)]
    assert colors == [style.NEGATIVE, style.GRAY, style.POSITIVE]
    assert first.get_xlabel() == "wrong (%)"
    assert [tick.get_text() for tick in first.get_yticklabels()] == [
        "no forget gate",
        "GRU",
    ]


@pytest.mark.parametrize(
    "panels", [{}, {"a": {}}, {"a": {"GRU": None}, "b": {"LSTM": None}}]
)
def test_panels_of_differences_have_the_same_rows(panels):
    with pytest.raises(ValueError, match="expected panels with equal rows"):
        plot_differences(panels)


def test_a_single_panel_of_differences_fits_a_column():
    one = dict([*ABLATION.items()][:1])
    widths = [plot_differences(panels).get_figwidth() for panels in (one, ABLATION)]
    assert widths == [style.WIDTH, style.WIDE]
