"""The gate experiment against the reference, the traces and the attributions."""

import base64
import contextlib
import csv
import dataclasses
import io
import json
import re

import keras
import numpy as np
import pytest

import lstm_keras
from experiments.common.terminal import stages
from experiments.gate_dynamics import flow, negation, report, sentence, unit
from experiments.gate_dynamics.negation import PAIRS, Pair
from experiments.gate_dynamics.settings import Settings, read_values
from lstm_keras.interpret import attribution
from lstm_keras.preprocessing import Vocabulary, tokenize
from lstm_keras.reference import lstm_forward
from lstm_keras.runs import SentimentRun
from tests.helpers import runs
from tests.helpers.browser import assert_page_is_sound, in_a_browser

TEXT = "The film was not good, but <b>zebra</b> is."
SMALL = ["--length", "4", "--units", "3", "--steps", "2", "--seeds", "2"]


def sentiment_run(folder, recurrent, maxlen=14):
    """A run folder as experiments.imdb_sentiment writes it, its model untrained."""
    folder.mkdir(parents=True)
    words = {w for pair in PAIRS for w in tokenize(pair.negated)}
    vocabulary = Vocabulary(sorted((words | {"film", "but"}) - {"stupid"}))
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((maxlen,), dtype="int32"),
            keras.layers.Embedding(len(vocabulary), 6, embeddings_initializer="normal"),
            recurrent,
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.save(folder / "model.keras")
    vocabulary.save(folder / "vocabulary.json")
    (folder / "config.json").write_text(json.dumps({"maxlen": maxlen}))
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    layer = lstm_keras.LSTM(5, engine="loop")
    return sentiment_run(tmp_path_factory.mktemp("run") / "one", layer)


@pytest.fixture(scope="module")
def run(trained):
    return lstm_keras.load_run(trained)


@contextlib.contextmanager
def small_experiment():
    """One layer to measure gradients of, and two pairs, one of them known."""
    pairs = [pair for pair in PAIRS if pair.adjective in ("good", "stupid")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flow, "cells", lambda: {"SimpleRNN": keras.layers.SimpleRNN})
        patch.setattr(negation, "PAIRS", pairs)
        patch.setattr(report, "PAIRS", pairs)
        yield


@pytest.fixture
def few():
    with small_experiment():
        yield


@pytest.fixture(scope="module")
def finished(trained, tmp_path_factory):
    """The folder of a run, and what it said."""
    options = ("--run", trained, "--text", TEXT, "--parts", "sentence,negation,unit")
    with small_experiment(), contextlib.redirect_stdout(io.StringIO()) as said:
        folder = runs.make("gate_dynamics", tmp_path_factory.mktemp("made"), *options)
    return folder, said.getvalue()


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


def test_the_finding_on_the_gradient_begins_with_the_layer_that_keeps_most():
    flows = [
        flow.Flow(name, 0, trained, 1.0, h=list(kept ** np.arange(150)[::-1]))
        for name, kept in [("short", 0.5), ("long", 0.99)]
        for trained in (False, True)
    ]
    metrics = type("Metrics", (), {"gradient": flow.ratios(flows)})
    finding, parts = report.gradient_part(metrics, Settings(), flows)
    kept = f"{0.99**99:.2g} in long; {0.5**99:.2g} in short"
    assert finding.text == f"Of the gradient at lag 1, this is left at lag 100: {kept}."
    assert finding.figure.name == "gradient_trained" and finding.figure in parts


def test_from_the_second_item_on_the_time_left_is_estimated(capsys):
    assert list(stages(["a", "b"], str.upper)) == ["a", "b"]
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("A (1 of 2) … done in ")
    assert second.startswith("B (2 of 2, about 0 s left) … done in ")


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
        negation.MeasuredPair(Pair("", "", "", positive), {"prefix": contributions})
        for positive, *contributions in (
            (True, 1.0, -1.0),
            (True, -1.0, 1.0),
            (False, -1.0, 2.0),
            (True, 1.0, 0.5),
            (False, 0.0, 1.0),
        )
    ]
    counts = negation.pair_counts(measured)["prefix"]
    assert (counts.pairs, counts.changed, counts.as_read) == (5, 3, 2)


@pytest.mark.parametrize(
    ("words", "known"),
    [("not good dull", ["good", "dull"]), ("good dull", []), ("not", [])],
)
def test_pairs_that_read_alike_to_the_model_are_left_out(words, known):
    run = SentimentRun(None, {"maxlen": 14}, Vocabulary(words.split()), None)
    assert [pair.adjective for pair in negation.known_pairs(run)] == known


def test_the_contributions_of_a_pair_are_those_of_its_own_words(run, few):
    (one,) = negation.measure_pairs(run)
    text, (_, words) = one.pair.negated, run.read(one.pair.negated)
    at = words.index("not")
    attribution = lstm_keras.attribute(run, text, "gradient")
    assert attribution.words[at : at + 2] == ("not", one.pair.adjective)
    np.testing.assert_allclose(
        one.contributions["gradient"][1], attribution.scores[at : at + 2].sum()
    )
    ((part, _),) = lstm_keras.decompose_phrases(run, text, [(at, at + 2)])
    assert one.contributions["decomposition"][1] == part


@pytest.fixture(scope="module")
def reading(run):
    return sentence.read_sentence(run, TEXT)


def test_units_are_ordered_by_how_far_their_cell_state_moves(reading):
    (trace,) = reading.traces.values()
    moved = dict(reading.moving_units(trace))
    c = trace.c[0, :, 2]
    first = len(c) - len(reading.words)
    expected = sum(abs(c[t] - c[t - 1]) for t in range(first, len(c)))
    assert moved[2] == pytest.approx(expected, rel=1e-5)
    assert list(moved.values()) == sorted(moved.values(), reverse=True)


def test_the_finding_is_what_the_unit_that_turns_most_does_at_the_not(reading):
    (trace,) = reading.traces.values()
    at = len(trace.c[0]) - len(reading.words) + reading.words.index("not")
    turned = np.abs(np.tanh(trace.c[0, at]) - np.tanh(trace.c[0, at - 1]))
    unit = int(turned.argmax())
    forgotten = 1 - trace.f[0, at, unit]
    added = trace.c[0, at, unit] - trace.f[0, at, unit] * trace.c[0, at - 1, unit]
    text = report.sentence_finding(reading).text
    assert f"“not” unit {unit} forgets {forgotten:.0%} of its cell state" in text
    assert f"adds {added:+.2f};" in text


def test_without_a_not_the_finding_is_where_the_prediction_changes_most(reading):
    words = ["[START]", *"the film was good".split()]
    scores = np.array([9.0, 0.1, -0.2, 0.3, 0.1])
    attributions = {"prefix": type("Attribution", (), {"scores": scores})}
    other = sentence.Reading(words, "positive", [], attributions, {})
    assert words[other.turn] == "was"


@pytest.mark.parametrize(
    ("label", "probabilities", "said"),
    [
        (
            "negative",
            [0.5, 1e-9],
            "says negative: the probability of “positive” is <0.001",
        ),
        (
            "undecided",
            [0.5, 0.497],
            "says undecided: the probability of “positive” is 0.4",
        ),
        (
            "positive",
            [0.5, 0.9999],
            "says positive: the probability of “positive” is >0.999",
        ),
    ],
)
def test_the_report_has_the_label_of_the_prediction(
    label, probabilities, said, reading
):
    several = [0.5] * len(reading.words[2:]) + probabilities
    other = dataclasses.replace(reading, label=label, probabilities=several)
    assert said in report.sentence_part(other)[1][0].text


def test_the_page_has_the_numbers_of_the_trace_and_of_predict(run, reading):
    data = reading.page_data()
    assert data["words"] == list(reading.words)
    assert data["words"][data["first"]] == "[START]"
    (trace,) = lstm_keras.trace_gates(run.model, run.read(TEXT)[0][None]).values()
    (layer,) = data["layers"]
    packed = np.frombuffer(base64.b64decode(layer["f"]["integers"]), "<i2")
    values = packed.reshape(len(data["words"]), 5) * layer["f"]["step"]
    np.testing.assert_allclose(values, trace.f[0, -len(values) :], atol=2e-5)
    predicted = run.predict(TEXT)
    assert data["probabilities"][-1] == pytest.approx(predicted.probability, abs=1e-4)
    assert reading.label == predicted.label


def rows_of(path):
    return list(csv.DictReader(path.read_text("utf-8").splitlines()))


def test_a_run_writes_every_file(finished):
    folder, said = finished
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "metrics.json",
        "steps.csv",
        "pairs.csv",
        "gates.npz",
        "figures",
        "report.html",
    }
    metrics = runs.metrics_of(folder)
    assert set(metrics["pairs"]) == {"prefix", "gradient", "decomposition"}
    assert {one["pairs"] for one in metrics["pairs"].values()} == {1}
    assert metrics["unknown_adjectives"] == ["stupid"]
    assert metrics["data"]["sentence"] == TEXT
    for name, rows in [("pairs.csv", 3), ("steps.csv", 5)]:
        assert len(rows_of(folder / name)) == rows
    with np.load(folder / "gates.npz") as gates:
        assert {name.split("/")[-1] for name in gates} >= set("ifgoch")
    page = (folder / "report.html").read_text()
    assert "<b>zebra" not in page and "zebra [UNK]" in page
    assert "1 known" in said and "left out: stupid." in said
    assert (folder / "figures/negation.png").exists()
    for shown in (page, said):
        assert "of 1 pairs (“good” and “not good”)." in shown
        assert "This model knows only " in shown
    assert f"Report: {folder / 'report.html'}" in said


@pytest.mark.thorough
@in_a_browser
def test_the_report_is_sound_in_a_browser(finished):
    assert_page_is_sound(finished[0] / "report.html")


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({}, "unit,gradient"),
        ({"run": True}, "sentence,negation"),
        ({"run": True, "text": "good"}, "sentence"),
        ({"run": True, "parts": "gradient,negation"}, "gradient,negation"),
    ],
)
def test_the_parts_are_those_that_the_options_ask_for(options, parts, trained):
    if options.get("run"):
        options = {**options, "run": str(trained)}
    chosen = Settings(**options).checked()
    assert chosen.parts == parts
    assert (chosen.text is not None) == ("sentence" in parts)


@pytest.mark.thorough
def test_without_a_run_there_is_no_sentence_and_a_repeated_run_is_equal(few, tmp_path):
    folder = runs.make("gate_dynamics", tmp_path, *SMALL)
    metrics = runs.metrics_of(folder)
    assert metrics["sentence"] is metrics["pairs"] is None
    assert not (folder / "pairs.csv").exists()
    assert len(rows_of(folder / "gradient_flow.csv")) == 16  # 2 seeds, 4 steps
    runs.main("gate_dynamics", "--repeat", folder)


def test_gradients_that_do_not_sum_up_are_not_shown(run, monkeypatch):
    monkeypatch.setattr(attribution, "POINTS", (1,))
    monkeypatch.setattr(attribution, "COMPLETE", 0)
    reading = sentence.read_sentence(run, "not good at all")
    reason = reading.attributions["gradient"]
    assert re.match(r"the gradients leave \S+ of the difference of \S+ unexpl", reason)
    assert set(reading.possible) == {"prefix", "decomposition"}


@pytest.mark.thorough
def test_a_model_that_cannot_be_decomposed_is_shown_without_decomposition(tmp_path):
    both = keras.layers.Bidirectional(keras.layers.LSTM(3))
    model = sentiment_run(tmp_path / "run", both)
    folder = runs.make("gate_dynamics", tmp_path, "--run", model, "--text", TEXT)
    page = (folder / "report.html").read_text()
    assert "No contextual decomposition (decomposition): expected a sentiment" in page
    assert "forward_" in page and "backward_" in page


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--text", "good"], "--text needs --run"),
        (["--parts", "negation"], "--parts negation needs --run"),
        (["--parts", "gates"], "expected --parts as a comma-separated list"),
        (["--values", "x"], "expected --values as numbers"),
        (["--run", "nowhere"], "nowhere"),
        (["--name", "a/b"], "expected a plain folder name"),
        (["--run", None, "--text", " "], "at least one word; received ' '"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    options, message, trained, tmp_path
):
    options = [trained if one is None else one for one in options]
    with pytest.raises(SystemExit) as ended:
        runs.main("gate_dynamics", "--output", tmp_path / "runs", *options)
    assert message in str(ended.value)
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--text", "😀"], "at least one word that the model reads and knows"),
        (["--parts", "negation"], "expected a run that reads"),
    ],
)
def test_what_the_model_cannot_read_is_refused(options, message, tmp_path):
    model = sentiment_run(tmp_path / "run", lstm_keras.LSTM(3), maxlen=5)
    with pytest.raises(SystemExit, match=message):
        runs.main("gate_dynamics", "--output", tmp_path, "--run", model, *options)
