"""The gate experiment against the reference, the traces and the attributions."""

import csv
import json

import keras
import numpy as np
import pytest

import lstm_keras
from experiments.gate_dynamics import flow, report, sentence, unit
from experiments.gate_dynamics.negation_pairs import PAIRS, Pair
from experiments.gate_dynamics.settings import Settings, read_values
from lstm_keras.preprocessing import Vocabulary, tokenize
from lstm_keras.reference import lstm_forward
from tests.helpers import runs

TEXT = "The film was not good, but <b>zebra</b> is."
SMALL = ["--length", "4", "--units", "3", "--steps", "2", "--seeds", "2"]


def sentiment_run(folder, *recurrent, maxlen=14):
    """A run folder as experiments.imdb_sentiment writes it, its model untrained."""
    folder.mkdir(parents=True)
    words = {w for pair in PAIRS for w in tokenize(pair.negated)}
    vocabulary = Vocabulary(sorted(words | {"film", "not", "good", "but"}))
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((maxlen,), dtype="int32"),
            keras.layers.Embedding(len(vocabulary), 6, embeddings_initializer="normal"),
            *recurrent,
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.save(folder / "model.keras")
    vocabulary.save(folder / "vocabulary.json")
    (folder / "config.json").write_text(json.dumps({"maxlen": maxlen}))
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return sentiment_run(tmp_path_factory.mktemp("run") / "one", lstm_keras.LSTM(5))


@pytest.fixture
def few(monkeypatch):
    """One layer to measure gradients of, and two pairs."""
    monkeypatch.setattr(flow, "cells", lambda: {"SimpleRNN": keras.layers.SimpleRNN})
    monkeypatch.setattr(sentence, "PAIRS", PAIRS[:2])


def test_one_unit_is_that_of_the_reference():
    values = read_values("0.1,0.2,0.3,0.4,0.5")
    steps = unit.steps(unit.one_unit(values), values)
    expected = lstm_forward(
        np.reshape(values, (1, 5, 1)), [unit.KERNEL], [unit.RECURRENT_KERNEL], unit.BIAS
    )
    assert [step.step for step in steps] == [1, 2, 3, 4, 5]
    assert [step.x for step in steps] == values
    for name in "ifgoch":
        np.testing.assert_allclose(
            [getattr(step, name) for step in steps],
            getattr(expected, name)[0, :, 0],
            rtol=1e-5,
        )


@pytest.mark.parametrize("text", ["", "a", "1,,2", "1;2", "nan", "inf,1"])
def test_values_that_are_not_numbers_are_refused(text):
    with pytest.raises(ValueError, match="expected --values as numbers"):
        read_values(text)


def test_the_products_are_powers():
    products = flow.products()
    assert products["0.5 at every step"][0] == 0.5**20
    assert products["2 at every step"][0] == 2.0**20
    assert all(len(values) == 21 and values[-1] == 1 for values in products.values())


@pytest.mark.thorough
def test_the_flow_is_measured_for_every_layer_untrained_and_trained():
    settings = Settings(length=6, units=3, steps=3, seeds=1, batch_size=4)
    flows = flow.measure(settings)
    assert [one.layer for one in flows[::2]] == list(flow.cells())
    assert [one.trained for one in flows] == [False, True] * 4
    for one in flows:
        assert len(one.h) == 6 and one.h[-1] == 1
        assert (one.c is not None) == one.layer.startswith("LSTM")
    for before, after in zip(flows[::2], flows[1::2], strict=True):
        assert before.h != after.h and before.loss != after.loss


def test_the_ratio_is_that_of_two_lags_over_all_seeds():
    norms = 0.9 ** np.arange(150)[::-1]
    flows = [
        flow.Flow("a", seed, False, loss, h=list(norms**power))
        for seed, (loss, power) in enumerate([(1.0, 1), (3.0, 2)])
    ]
    (found,) = flow.ratios(flows)
    np.testing.assert_allclose(found.ratios, [0.9**99, 0.9**198])
    np.testing.assert_allclose(found.median, (0.9**99 + 0.9**198) / 2)
    assert found.loss == 2.0


def test_short_sequences_have_no_ratio_and_a_gradient_of_zero_is_one():
    (short,) = flow.ratios([flow.Flow("a", 0, False, 1.0, h=[0.5, 1.0])])
    assert short.median is None
    (gone,) = flow.ratios([flow.Flow("a", 0, False, 1.0, h=[0.0] * 149 + [1.0, 1.0])])
    assert gone.ratios == [0.0]
    assert [row[2] for row in report.gradient_table([short, gone]).rows] == ["–", "0"]


def test_half_of_the_20_pairs_praise_and_each_differs_by_one_not():
    assert len(PAIRS) == len({pair.adjective for pair in PAIRS}) == 20
    assert sum(pair.positive for pair in PAIRS) == 10
    for pair in PAIRS:
        plain, negated = tokenize(pair.plain), tokenize(pair.negated)
        place = negated.index("not")
        assert negated[place + 1] == pair.adjective
        assert negated[:place] + negated[place + 1 :] == plain


def test_a_pair_counts_as_changed_if_the_signs_differ():
    measured = [
        sentence.MeasuredPair(Pair("", "", "", positive), {"prefix": contributions})
        for positive, *contributions in (
            (True, 1.0, -1.0),
            (True, -1.0, 1.0),
            (False, -1.0, 2.0),
            (True, 1.0, 0.5),
            (False, 0.0, 1.0),
        )
    ]
    counts = sentence.pair_counts(measured)["prefix"]
    assert (counts.pairs, counts.changed, counts.as_read) == (5, 3, 2)


def test_the_contributions_of_a_pair_are_those_of_its_own_words(trained, few):
    run = sentence.open_run(trained)
    pair = PAIRS[0]
    _, words = run.read(pair.negated)
    (one, *_) = sentence.measure_pairs(run)
    at = words.index("not")
    attribution = lstm_keras.attribute(run, pair.negated, "gradient")
    assert attribution.words[at : at + 2] == ("not", pair.adjective)
    np.testing.assert_allclose(
        one.contributions["gradient"][1], attribution.scores[at : at + 2].sum()
    )
    ((part, _),) = lstm_keras.decompose_phrases(run, pair.negated, [(at, at + 2)])
    assert one.contributions["decomposition"][1] == part


@pytest.fixture(scope="module")
def reading(trained):
    return sentence.read_sentence(sentence.open_run(trained), TEXT)


def test_units_are_ordered_by_how_far_their_cell_state_moves(reading):
    (trace,) = reading.traces.values()
    moved = dict(reading.moving_units(trace))
    c = trace.c[0, :, 2]
    first = len(c) - len(reading.words)
    expected = sum(abs(c[t] - c[t - 1]) for t in range(first, len(c)))
    assert moved[2] == pytest.approx(expected, rel=1e-5)
    assert list(moved.values()) == sorted(moved.values(), reverse=True)


def test_the_page_has_the_numbers_of_the_trace_and_of_predict(trained, reading):
    run = sentence.open_run(trained)
    data = reading.page_data()
    assert data["words"] == list(reading.words)
    (trace,) = lstm_keras.trace_gates(run.model, run.read(TEXT)[0][None]).values()
    (layer,) = data["layers"]
    np.testing.assert_allclose(
        layer["f"], trace.f[0, -len(data["words"]) :], atol=0.0006
    )
    probability = run.predict([TEXT])[0].probability
    assert data["probabilities"][-1] == pytest.approx(probability, abs=1e-4)


def test_a_run_writes_every_file(trained, few, tmp_path, capsys):
    options = (*SMALL, "--run", trained, "--text", TEXT)
    folder = runs.make("gate_dynamics", tmp_path, *options)
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "metrics.json",
        "steps.csv",
        "gradient_flow.csv",
        "pairs.csv",
        "gates.npz",
        "figures",
        "report.html",
    }
    metrics = runs.metrics_of(folder)
    assert set(metrics["pairs"]) == {"prefix", "gradient", "decomposition"}
    assert metrics["data"]["sentence"] == TEXT
    for name, rows in [("pairs.csv", 6), ("gradient_flow.csv", 16)]:
        lines = (folder / name).read_text("utf-8").splitlines()
        assert len(list(csv.DictReader(lines))) == rows
    with np.load(folder / "gates.npz") as gates:
        assert {name.split("/")[-1] for name in gates} >= set("ifgoch")
    page = (folder / "report.html").read_text()
    assert "<b>zebra" not in page and "zebra [UNK]" in page
    assert page.count("<img ") == len(list((folder / "figures").iterdir()))
    assert f"Report: {folder / 'report.html'}" in capsys.readouterr().out


@pytest.mark.thorough
def test_without_a_run_there_is_no_sentence_and_a_repeated_run_is_equal(few, tmp_path):
    folder = runs.make("gate_dynamics", tmp_path, *SMALL)
    assert runs.metrics_of(folder)["sentence"] is None
    assert not (folder / "pairs.csv").exists()
    runs.main("gate_dynamics", "--repeat", folder)


@pytest.mark.thorough
def test_a_model_that_cannot_be_decomposed_is_shown_without_decomposition(
    few, tmp_path
):
    both = keras.layers.Bidirectional(keras.layers.LSTM(3))
    model = sentiment_run(tmp_path / "run", both)
    options = (*SMALL, "--run", model, "--no-pairs")
    folder = runs.make("gate_dynamics", tmp_path, *options)
    page = (folder / "report.html").read_text()
    assert "No contextual decomposition (decomposition): expected a sentiment" in page
    assert "forward_" in page and "backward_" in page


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--text", "good"], "--text needs --run"),
        (["--values", "x"], "expected --values as numbers"),
        (["--run", "nowhere"], "nowhere"),
        (["--name", "a/b"], "expected a plain folder name"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(options, message, tmp_path):
    with pytest.raises(SystemExit) as ended:
        runs.main("gate_dynamics", "--output", tmp_path / "runs", *options)
    assert message in str(ended.value)
    assert not list(tmp_path.rglob("*.*"))


def test_a_text_without_a_word_is_refused(trained, tmp_path):
    options = ("--output", tmp_path, "--run", trained, "--text", " ")
    with pytest.raises(SystemExit, match="at least one word"):
        runs.main("gate_dynamics", *options)
