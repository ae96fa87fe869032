"""Figures: the artists hold the numbers given; no text is cut off or covers another."""

import io

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_rgb
from scipy.stats import binomtest
from sklearn.metrics import roc_curve

from lstm_keras.evaluation import majority_baseline
from lstm_keras.evaluation.language import TokenScores
from lstm_keras.plots import (
    plot_accuracies,
    plot_calibration,
    plot_confusion_matrix,
    plot_frequency_loss,
    plot_growth,
    plot_learning_curves,
    plot_length_accuracy,
    plot_perplexity,
    plot_position_accuracy,
    plot_roc,
    plot_step_times,
    plot_top_calibration,
)
from lstm_keras.plots.style import (
    COLORS,
    KERAS,
    OURS,
    PALETTE,
    POSITIVE,
    layer_styles,
)
from lstm_keras.preprocessing.vocabulary import FIRST_WORD
from tests.helpers.figures import assert_every_text_is_readable

HISTORY = {
    "loss": [0.52, 0.33, 0.27, 0.20],
    "val_loss": [0.40, 0.34, 0.33, 0.36],
    "accuracy": [0.72, 0.86, 0.90, 0.92],
    "val_accuracy": [0.82, 0.85, 0.862, 0.86],
}


def predictions(size=500, seed=0):
    rng = np.random.default_rng(seed)
    probabilities = rng.random(size)
    return (rng.random(size) < probabilities).astype(int), probabilities


PERPLEXITY = {
    "perplexity": [700.0, 300.0, 180.0],
    "val_perplexity": [500.0, 310.0, 290.0],
}

POSITIONS = [
    {"first": 1, "last": 1, "tokens": 400, "accuracy": 0.1},
    {"first": 2, "last": 3, "tokens": 300, "accuracy": 0.3},
    {"first": 4, "last": 40, "tokens": 300, "accuracy": 0.2},
]

FREQUENCIES = [
    {"frequency": "0", "tokens": 100, "loss": 9.0},
    {"frequency": "2–9", "tokens": 600, "loss": 6.0},
    {"frequency": "END", "tokens": 200, "loss": 1.0},
    {"frequency": "OOV", "tokens": 100, "loss": 2.0},
]


STEP_TIMES = {
    "jax": {"keras": (0.01, 0.02, 0.04), "scan": (0.008, 0.009, 0.012)},
    "torch": {"torch.nn.LSTM": (0.03, 0.03, 0.03)},
}
GROWTH = {
    "T": {
        "keras": ([25, 50, 100], [0.01, 0.02, 0.04]),
        "xla": ([25, 50, 100], [0.005, 0.009, 0.02]),
        "limit": ([25, 50, 100], [0.001, 0.002, 0.004]),
    },
    "B": {"keras": ([1, 64], [0.01, 0.03]), "limit": ([1, 64], [1e-5, 0.002])},
    "H": {"xla": ([16, 32, 64], [0.01, 0.02, 0.03])},
}


# Background and text of a light and of a dark page, see report.html.jinja.
PAGES = [("#ffffff", "#1d2125"), ("#14171a", "#e4e7ea")]


def contrast(*colors):
    """The contrast ratio of WCAG 2."""
    colors = np.array(list(map(to_rgb, colors)))
    linear = np.where(
        colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4
    )
    low, high = sorted(linear @ (0.2126, 0.7152, 0.0722))
    return (high + 0.05) / (low + 0.05)


def token_scores(ranks, probabilities):
    """Of words that all have the id `FIRST_WORD`."""
    return TokenScores(
        targets=np.full(len(ranks), FIRST_WORD, np.int32),
        log_probability=np.full(len(ranks), -1, np.float32),
        rank=np.int32(ranks),
        top_probability=np.float32(probabilities),
    )


def legend_labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def line(axes, label):
    (found,) = [line for line in axes.lines if line.get_label() == label]
    return found


def points(axes, label):
    return line(axes, label).get_xydata()


FIGURES = {
    "curves": lambda: plot_learning_curves(HISTORY, best_epoch=3),
    "curves of one epoch": lambda: plot_learning_curves(
        {key: values[:1] for key, values in HISTORY.items()}, best_epoch=1
    ),
    "curves of 5,000 epochs": lambda: plot_learning_curves(
        {key: np.geomspace(1, 1e-4, 5000) for key in HISTORY}
    ),
    "curves of a loss that does not change": lambda: plot_learning_curves(
        {"loss": [0.6931471, 0.6931472]}
    ),
    "accuracies": lambda: plot_accuracies(
        [majority_baseline([0, 1], [1, 1, 0])], [majority_baseline([0, 1], [1, 0])] * 3
    ),
    "confusion": lambda: plot_confusion_matrix([[5412, 838], [902, 5348]]),
    "confusion of millions with long names": lambda: plot_confusion_matrix(
        [[1_234_567, 8], [902_000, 5_348_000]],
        ("a very long class name that goes on and on", "Donaudampfschifffahrt" * 2),
    ),
    "roc": lambda: plot_roc({"LSTM": predictions(), "TF-IDF": predictions(seed=1)}),
    "roc of many long names": lambda: plot_roc(
        {
            f"model {i} of a name that needs two lines {'so ' * 9}": predictions(50, i)
            for i in range(8)
        }
    ),
    "roc of one class": lambda: plot_roc({"model": ([1, 1], [0.2, 0.8])}),
    "calibration": lambda: plot_calibration({"LSTM": predictions()}),
    "calibration of one class": lambda: plot_calibration({"m": ([1, 1], [0.0, 1.0])}),
    "length": lambda: plot_length_accuracy(
        np.arange(500) + 10, *predictions(), maxlen=200
    ),
    "length of three texts": lambda: plot_length_accuracy(
        [5, 100_000, 70], [0, 1, 1], [0.2, 0.9, 0.1], maxlen=200
    ),
    "perplexity": lambda: plot_perplexity(
        PERPLEXITY, 3, {"Kneser-Ney trigram": 245.1, "Unigram": 577.9}
    ),
    "perplexity of one epoch": lambda: plot_perplexity({"perplexity": [12.3]}),
    "perplexity that falls to 1": lambda: plot_perplexity(
        {"perplexity": np.geomspace(2000, 1.001, 500)}
    ),
    "perplexity that explodes": lambda: plot_perplexity(
        {"perplexity": [300, 1e9, 1e21]}
    ),
    "positions": lambda: plot_position_accuracy(POSITIONS),
    "one position": lambda: plot_position_accuracy(POSITIONS[:1]),
    "frequencies": lambda: plot_frequency_loss(FREQUENCIES),
    "frequencies of a large text": lambda: plot_frequency_loss(
        [
            {"frequency": f"{10**i:,}–{10 ** (i + 1) - 1:,}", "tokens": 9, "loss": 9}
            for i in range(8)
        ]
    ),
    "one frequency": lambda: plot_frequency_loss(FREQUENCIES[:1]),
    "top calibration": lambda: plot_top_calibration(
        token_scores([0, 1] * 50, np.linspace(0, 1, 100))
    ),
    "growth": lambda: plot_growth("Training", GROWTH, "limit"),
    "growth by nine sizes": lambda: plot_growth(
        "Prediction", {"B": {"keras": (2.0 ** np.arange(9), np.ones(9))}}, "limit"
    ),
    "growth of one size and many long names": lambda: plot_growth(
        "Training",
        {"H": {f"a way of a long name {i}": ([16], [i + 1]) for i in range(8)}},
        "limit",
    ),
    "step times": lambda: plot_step_times("Training", STEP_TIMES),
    "step times that differ much": lambda: plot_step_times(
        "Training", {"torch": {"keras": (9, 11, 19), "aten": (0.04, 0.05, 0.06)}}
    ),
    "one length": lambda: plot_length_accuracy([50] * 500, *predictions()),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_text_is_readable(name):
    assert_every_text_is_readable(FIGURES[name]())


@pytest.mark.parametrize("name", FIGURES)
def test_every_panel_names_its_axes_and_the_figure_has_a_title(name):
    figure = FIGURES[name]()
    assert figure.axes[0].get_title()
    for axes in figure.axes:
        assert axes.get_ylabel()
        # A panel that shares its x axis leaves the label to the one below.
        assert axes.get_xlabel() or axes.get_shared_x_axes().joined(
            axes, figure.axes[-1]
        )


@pytest.mark.thorough
def test_figures_need_no_display_and_leave_nothing_to_pyplot(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    open_before = pyplot.get_fignums()
    for make in FIGURES.values():
        png = io.BytesIO()
        make().savefig(png)
        assert png.getvalue().startswith(b"\x89PNG")
    assert pyplot.get_fignums() == open_before


def test_learning_curves_hold_the_history_and_the_best_epoch():
    figure = plot_learning_curves(HISTORY, best_epoch=3)
    loss, accuracy = figure.axes
    for axes, key in ((loss, "loss"), (accuracy, "accuracy")):
        epochs = [1, 2, 3, 4]
        np.testing.assert_array_equal(
            points(axes, "training"), np.column_stack([epochs, HISTORY[key]])
        )
        np.testing.assert_array_equal(
            points(axes, "validation"), np.column_stack([epochs, HISTORY[f"val_{key}"]])
        )
        assert list(line(axes, "best epoch (3)").get_xdata()) == [3, 3]
    assert legend_labels(figure) == ["training", "validation", "best epoch (3)"]


@pytest.mark.parametrize("colors", PALETTE.values(), ids=PALETTE)
def test_every_color_stands_out_from_a_light_and_a_dark_page(colors):
    """WCAG 2 asks of graphics a contrast ratio of 3."""
    for color, (background, _) in zip(colors, PAGES, strict=True):
        assert contrast(color, background) > 3


def test_a_layer_has_one_color_whatever_it_is_compared_with():
    for names in (["keras", "xla"], ["GRU", "LSTM (Keras)", "LSTM (lstm_keras)"]):
        styles = layer_styles(names)
        assert len({tuple(style.values()) for style in styles.values()}) == len(names)
        for name, style in styles.items():
            assert (style["color"] == OURS) == ("lstm_keras" in name)
            assert (style["color"] == KERAS) == (name in ("keras", "LSTM (Keras)"))
    assert POSITIVE not in COLORS


def test_one_epoch_is_drawn_as_bars_with_their_values():
    loss, accuracy = FIGURES["curves of one epoch"]().axes
    for axes, key in ((loss, "loss"), (accuracy, "accuracy")):
        expected = [HISTORY[key][0], HISTORY[f"val_{key}"][0]]
        assert [bar.get_height() for bar in axes.patches] == expected
        assert [text.get_text() for text in axes.texts] == [f"{n:g}" for n in expected]
        assert not axes.lines


@pytest.mark.parametrize("epochs", [2, 7, 100])
def test_epochs_are_whole_numbers_on_the_axis(epochs):
    axes = plot_learning_curves({"loss": np.ones(epochs)}).axes[0]
    low, high = axes.get_xlim()
    ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert 1 <= len(ticks) <= 9
    assert all(tick == round(tick) and 1 <= tick <= epochs for tick in ticks)


def test_missing_curves_are_left_out_and_other_keys_ignored():
    figure = plot_learning_curves({"val_loss": [0.5, 0.4], "learning_rate": [1, 1]})
    (axes,) = figure.axes
    assert axes.get_title() == "Loss by epoch"
    assert legend_labels(figure) == ["validation"]


def test_loss_that_diverged_is_drawn_up_to_there():
    figure = plot_learning_curves({"loss": [0.5, np.nan, np.inf]})
    np.testing.assert_array_equal(
        points(figure.axes[0], "training")[:, 1], [0.5, np.nan, np.inf]
    )
    assert_every_text_is_readable(figure)


@pytest.mark.parametrize(
    ("history", "best_epoch", "message"),
    [
        ({}, None, "received the keys"),
        ({"learning_rate": [1]}, None, "received the keys.*learning_rate"),
        ({"loss": []}, None, r"'loss' of shape.*received shape \(0,\)"),
        ({"accuracy": [[0.5]]}, None, r"'accuracy' of shape.*received shape \(1, 1\)"),
        ({"val_loss": 0.5}, None, r"'val_loss' of shape.*received shape \(\)"),
        ({"loss": [0.5]}, 0, "best_epoch from 1 to 1; received 0"),
        ({"loss": [0.5]}, 2, "best_epoch from 1 to 1; received 2"),
    ],
)
def test_bad_history_is_refused(history, best_epoch, message):
    with pytest.raises(ValueError, match=message):
        plot_learning_curves(history, best_epoch)


def test_perplexity_holds_the_history_the_best_epoch_and_the_references():
    figure = plot_perplexity(PERPLEXITY, 2, {"Kneser-Ney trigram": 245.1})
    (axes,) = figure.axes
    for key, label in (("", "training"), ("val_", "validation")):
        np.testing.assert_array_equal(
            points(axes, label),
            np.column_stack([[1, 2, 3], PERPLEXITY[f"{key}perplexity"]]),
        )
    assert list(line(axes, "best epoch (2)").get_xdata()) == [2, 2]
    reference = line(axes, "Kneser-Ney trigram (245.1)")
    assert list(reference.get_ydata()) == [245.1, 245.1]
    looks = [(drawn.get_color(), drawn.get_linestyle()) for drawn in axes.lines]
    assert len(set(looks)) == len(looks) == 4


@pytest.mark.parametrize(
    ("perplexity", "references", "scale"),
    [
        ([1000, 100], {}, "linear"),
        ([1010, 100], {}, "log"),
        ([300, 200], {"Unigram": 2100}, "log"),
        ([300, np.inf], {}, "linear"),
        ([np.nan], {}, "linear"),
    ],
)
def test_perplexity_over_more_than_a_decade_is_drawn_by_its_logarithm(
    perplexity, references, scale
):
    figure = plot_perplexity({"perplexity": perplexity}, references=references)
    assert figure.axes[0].get_yscale() == scale


@pytest.mark.parametrize(
    ("history", "references", "message"),
    [
        ({"loss": [3.0]}, {}, r"history with 'perplexity'; received the keys \['loss'"),
        ({"perplexity": [0.5]}, {}, "perplexities >= 1; received 0.5"),
        ({"perplexity": [5]}, {"Unigram": 0}, "perplexities >= 1; received 0"),
    ],
)
def test_impossible_perplexity_is_refused(history, references, message):
    with pytest.raises(ValueError, match=message):
        plot_perplexity(history, None, references)


def test_confusion_matrix_writes_counts_and_shares_of_each_row():
    axes = plot_confusion_matrix([[1500, 500], [0, 8000]]).axes[0]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells == {  # (column, row)
        (0, 0): "1,500\n75.0% of row",
        (1, 0): "500\n25.0% of row",
        (0, 1): "0\n0.0% of row",
        (1, 1): "8,000\n100.0% of row",
    }
    assert axes.get_title() == "95.0% of 10,000 examples are right"
    assert [t.get_text() for t in axes.get_yticklabels()] == ["negative", "positive"]


def test_confusion_matrix_of_one_class_says_which_row_is_empty():
    axes = plot_confusion_matrix([[0, 0], [1, 3]]).axes[0]
    assert [t.get_text() for t in axes.texts][:2] == ["0\nno example"] * 2


@pytest.mark.parametrize(
    ("page", "color"),
    list(zip(PAGES, PALETTE["green"], strict=True)),
    ids=["light", "dark"],
)
def test_confusion_matrix_text_contrasts_with_its_cell(page, color):
    """WCAG 2 asks of text a contrast ratio of 4.5."""
    (cells,) = plot_confusion_matrix([[9, 0], [0, 9]]).axes[0].collections
    background, text = page
    opacity = cells.cmap(cells.norm(1.0))[3]
    both = [to_rgb(color), to_rgb(background)]
    cell = np.average(both, axis=0, weights=[opacity, 1 - opacity])
    assert contrast(text, cell) > 4.5


def test_accuracies_hold_every_model_and_its_interval():
    model, baseline = (majority_baseline([1], labels) for labels in ([0, 1, 1], [0, 1]))
    (axes,) = plot_accuracies([model], [baseline]).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [model.name] * 2
    for place, (bar, one) in enumerate(
        zip(axes.containers, (model, baseline), strict=True)
    ):
        dot, _, (interval,) = bar.lines
        np.testing.assert_allclose(dot.get_xydata(), [[one.accuracy, place]])
        low, high = one.accuracy_interval
        np.testing.assert_allclose(
            interval.get_segments()[0], [[low, place], [high, place]]
        )
        assert axes.texts[place].get_text() == f"{one.accuracy:.1%}"
    with pytest.raises(ValueError, match="at least one result"):
        plot_accuracies([])


@pytest.mark.parametrize(
    ("confusion", "message"),
    [
        ([1, 2], r"shape \(2, 2\); received shape \(2,\)"),
        (np.ones((3, 3)), r"shape \(2, 2\); received shape \(3, 3\)"),
        ([[0, 0], [0, 0]], "at least one example"),
        ([[1, -1], [0, 1]], "counts >= 0"),
        ([[1, np.nan], [0, 1]], "counts >= 0"),
    ],
)
def test_bad_confusion_matrix_is_refused(confusion, message):
    with pytest.raises(ValueError, match=message):
        plot_confusion_matrix(confusion)


def test_roc_draws_each_model_as_scikit_learn_computes_it():
    curves = {"first": predictions(), "second": predictions(seed=1)}
    figure = plot_roc(curves)
    labels = legend_labels(figure)
    assert len(labels) == 3
    for label, (name, arrays) in zip(labels, curves.items(), strict=False):
        false_positive, true_positive, _ = roc_curve(*arrays)
        area = np.trapezoid(true_positive, false_positive)
        assert label == f"{name} (AUC {area:.3f})"
        np.testing.assert_array_equal(
            points(figure.axes[0], label),
            np.column_stack([false_positive, true_positive]),
        )


def test_models_differ_in_color_and_in_dashes():
    figure = plot_roc({str(i): predictions(50, i) for i in range(4)})
    models = figure.axes[0].lines[:4]
    assert len({model.get_color() for model in models}) == 4
    assert len({model.get_linestyle() for model in models}) == 4


def test_roc_of_one_class_has_no_curve_and_says_so():
    figure = plot_roc({"model": ([1, 1], [0.2, 0.8])})
    label = "model (AUC undefined: one class only)"
    assert legend_labels(figure)[0] == label
    assert len(points(figure.axes[0], label)) == 0


def test_calibration_draws_bins_of_at_least_ten_and_all_shares():
    labels = [0, 1] * 5 + [0] * 9 + [1] * 11
    probabilities = [0.02, 0.06] * 5 + [0.35] * 9 + [0.9125] * 11
    upper, lower = plot_calibration({"model": (labels, probabilities)}).axes
    np.testing.assert_allclose(points(upper, "model"), [[0.04, 0.5], [0.9125, 1]])
    (stairs,) = lower.patches
    np.testing.assert_allclose(
        stairs.get_data().values, np.divide([10, 0, 0, 9, 0, 0, 0, 0, 0, 11], 30)
    )


def test_top_calibration_draws_the_share_of_right_words_in_each_bin():
    upper, lower = plot_top_calibration(
        token_scores([0, 3, 0, 0] * 5, [0.125, 0.125, 0.75, 0.75] * 5)
    ).axes
    np.testing.assert_allclose(
        points(upper, "most probable word"), [[0.125, 0.5], [0.75, 1]]
    )
    (stairs,) = lower.patches
    assert np.flatnonzero(stairs.get_data().values).tolist() == [1, 7]


@pytest.mark.parametrize("plot", [plot_roc, plot_calibration])
def test_curves_of_nothing_or_of_bad_arrays_are_refused(plot):
    with pytest.raises(ValueError, match="at least one classifier"):
        plot({})
    with pytest.raises(ValueError, match=r"within \[0, 1\]"):
        plot({"good": predictions(), "bad": ([0, 1], [0.5, 1.5])})


def test_length_buckets_hold_equally_many_texts_at_their_median_length():
    # 40 texts of the lengths 1 to 40: all right up to 20, from then on every second.
    lengths = np.arange(1, 41)
    labels = np.where((lengths > 20) & (lengths % 2 == 0), 0, 1)
    figure = plot_length_accuracy(lengths, labels, np.full(40, 0.9), buckets=4)
    label = "accuracy per bucket of about 10, with 95% interval"
    np.testing.assert_allclose(
        points(figure.axes[0], label), [[5.5, 1], [15.5, 1], [25.5, 0.5], [35.5, 0.5]]
    )


@pytest.mark.parametrize(("right", "size"), [(7, 9), (0, 4), (5, 5), (860, 1000)])
def test_length_interval_is_the_one_of_wilson(right, size):
    predicted = np.arange(size) < right
    figure = plot_length_accuracy(np.full(size, 30), np.ones(size), predicted)
    (bar,) = figure.axes[0].collections[0].get_segments()
    expected = binomtest(right, size).proportion_ci(method="wilson")
    np.testing.assert_allclose(bar[:, 1], expected, atol=1e-5)


def test_truncation_is_marked_at_maxlen():
    axes = plot_length_accuracy([5, 300], [0, 1], [0.1, 0.9], maxlen=200).axes[0]
    assert (
        list(line(axes, "longer texts are cut to 200 tokens").get_xdata()) == [200] * 2
    )


@pytest.mark.parametrize(
    ("lengths", "options", "message"),
    [
        ([1], {}, r"shape \(2,\); received shape \(1,\)"),
        ([[1], [2]], {}, r"received shape \(2, 1\)"),
        ([1, -1], {}, "lengths >= 0.*minimum -1"),
        ([1, np.nan], {}, "lengths >= 0"),
        ([1, 2], {"maxlen": 0}, "received maxlen=0"),
        ([1, 2], {"buckets": 0}, "received buckets=0"),
    ],
)
def test_bad_lengths_are_refused(lengths, options, message):
    with pytest.raises(ValueError, match=message):
        plot_length_accuracy(lengths, [0, 1], [0.1, 0.9], **options)


def test_positions_are_drawn_at_the_middle_of_their_group_with_the_interval_of_wilson():
    (axes,) = plot_position_accuracy(POSITIONS).axes
    np.testing.assert_allclose(
        points(axes, "accuracy, with 95% interval"), [[1, 0.1], [2.5, 0.3], [22, 0.2]]
    )
    bars = axes.collections[0].get_segments()
    for bar, right, tokens in zip(bars, (40, 90, 60), (400, 300, 300), strict=True):
        expected = binomtest(right, tokens).proportion_ci(method="wilson")
        np.testing.assert_allclose(bar[:, 1], expected, atol=1e-5)
    # 40 + 90 + 60 of 1,000.
    mean = line(axes, "accuracy of all 1,000 (0.190)")
    np.testing.assert_allclose(mean.get_ydata(), 0.19)


def test_only_a_wide_range_of_positions_is_drawn_by_its_logarithm():
    assert plot_position_accuracy(POSITIONS).axes[0].get_xscale() == "log"
    assert plot_position_accuracy(POSITIONS[:2]).axes[0].get_xscale() == "linear"


def test_frequency_bars_are_the_losses_from_rare_to_frequent_and_ends_apart():
    (axes,) = plot_frequency_loss(FREQUENCIES).axes
    assert [bar.get_width() for bar in axes.patches] == [9, 6, 1, 2]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "0 (10.0%)",
        "2–9 (60.0%)",
        "END (20.0%)",
        "OOV (10.0%)",
    ]
    assert axes.yaxis_inverted()
    rare, frequent, end, oov = (bar.get_facecolor() for bar in axes.patches)
    assert rare == frequent != end == oov
    # (100 * 9 + 600 * 6 + 200 * 1 + 100 * 2) / 1000
    assert line(axes, "all 1,000 tokens (4.90)").get_xdata()[0] == pytest.approx(4.9)


@pytest.mark.parametrize("plot", [plot_position_accuracy, plot_frequency_loss])
def test_tables_without_a_row_are_refused(plot):
    with pytest.raises(ValueError, match="at least one row"):
        plot([])


def test_step_times_are_medians_with_their_spread_in_milliseconds():
    figure = plot_step_times("Training", STEP_TIMES)
    (axes,) = figure.axes
    names = ["jax keras", "jax scan", "torch torch.nn.LSTM"]
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    ends = [
        (bar[0].get_xdata()[0], *bar[2][0].get_segments()[0][:, 0])
        for bar in axes.containers
    ]
    np.testing.assert_allclose(ends, [(20, 10, 40), (9, 8, 12), (30, 30, 30)])
    labels = ["keras.layers.LSTM", "lstm_keras.LSTM", "torch.nn.LSTM"]
    assert sorted(legend_labels(figure)) == labels
    with pytest.raises(ValueError, match="at least one time"):
        plot_step_times("Training", {"jax": {}})


def test_growth_holds_every_curve_in_milliseconds_on_log_axes():
    figure = plot_growth("Training", GROWTH, "limit")
    for axes, (size, curves) in zip(figure.axes, GROWTH.items(), strict=True):
        assert axes.get_title() == f"Training by {size}"
        assert axes.get_xscale() == axes.get_yscale() == "log"
        assert [drawn.get_label() for drawn in axes.lines] == list(curves)
        for name, (sizes, seconds) in curves.items():
            milliseconds = [1000 * second for second in seconds]
            np.testing.assert_allclose(
                points(axes, name), np.column_stack([sizes, milliseconds])
            )
    assert legend_labels(figure) == ["keras", "xla", "limit"]


def test_a_path_looks_the_same_in_every_panel_and_only_the_limit_is_dashed():
    panels = plot_growth("Training", GROWTH, "limit").axes
    looks = {}
    for drawn in (drawn for axes in panels for drawn in axes.lines):
        look = (drawn.get_color(), drawn.get_marker(), drawn.get_linestyle())
        looks.setdefault(drawn.get_label(), set()).add(look)
    assert all(len(different) == 1 for different in looks.values())
    assert len(set.union(*looks.values())) == 3
    dashed = [name for name, ((_, _, style),) in looks.items() if style == "--"]
    assert dashed == ["limit"]


@pytest.mark.parametrize(
    ("panels", "message"),
    [
        ({}, "at least one curve in every panel"),
        ({"T": {}}, "at least one curve in every panel"),
        ({"D": {"keras": ([1], [1])}}, r"sizes of \['T', 'B', 'H'\]; received \['D'"),
        ({"T": {"keras": ([1, 2], [1, 0])}}, "seconds above 0; received keras"),
        ({"T": {"keras": ([0, 2], [1, 1])}}, "sizes and seconds above 0"),
        ({"T": {"keras": ([1], [np.nan])}}, "sizes and seconds above 0"),
    ],
)
def test_bad_growth_is_refused(panels, message):
    with pytest.raises(ValueError, match=message):
        plot_growth("Training", panels, "limit")
