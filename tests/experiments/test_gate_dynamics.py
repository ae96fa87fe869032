"""What the gates do: one unit, gradients, a sentence; and the script as a whole."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import lstm_keras
from experiments import gate_dynamics, gate_flow, gate_report, gate_sentence, gate_unit
from experiments.gate_dynamics import Settings, main
from experiments.negation_pairs import PAIRS
from lstm_keras.preprocessing.tokenizers import tokenize
from lstm_keras.preprocessing.vocabulary import Vocabulary
from lstm_keras.reference import lstm_forward

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
    monkeypatch.setattr(
        gate_flow, "cells", lambda: {"SimpleRNN": keras.layers.SimpleRNN}
    )
    monkeypatch.setattr(gate_sentence, "PAIRS", PAIRS[:2])


def test_one_unit_is_that_of_the_reference():
    values = gate_unit.read_values("0.1,0.2,0.3,0.4,0.5")
    rows = gate_unit.rows(gate_unit.one_unit(values), values)
    expected = lstm_forward(
        np.reshape(values, (1, 5, 1)),
        [gate_unit.KERNEL],
        [gate_unit.RECURRENT_KERNEL],
        gate_unit.BIAS,
    )
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["x"] for row in rows] == values
    for name in "ifgoch":
        np.testing.assert_allclose(
            [row[name] for row in rows], getattr(expected, name)[0, :, 0], rtol=1e-5
        )


@pytest.mark.parametrize("text", ["", "a", "1,,2", "1;2", "nan", "inf,1"])
def test_values_that_are_no_numbers_are_refused(text):
    with pytest.raises(ValueError, match="expected --values as numbers"):
        gate_unit.read_values(text)


def test_the_products_are_powers():
    products = gate_flow.products()
    assert products["0.5 at every step"][0] == 0.5**20
    assert products["2 at every step"][0] == 2.0**20
    assert all(len(values) == 21 and values[-1] == 1 for values in products.values())


def test_the_flow_is_measured_for_every_layer_untrained_and_trained():
    settings = Settings(length=6, units=3, steps=3, seeds=1, batch_size=4)
    rows = gate_flow.measure(settings)
    assert [row["layer"] for row in rows[::2]] == list(gate_flow.cells())
    assert [row["trained"] for row in rows] == [False, True] * 4
    for row in rows:
        assert len(row["h"]) == 6 and row["h"][-1] == 1
        assert (row["c"] is not None) == row["layer"].startswith("LSTM")
    for before, after in zip(rows[::2], rows[1::2], strict=True):
        assert before["h"] != after["h"] and before["loss"] != after["loss"]


def test_the_ratio_is_that_of_two_lags_over_all_seeds():
    norms = 0.9 ** np.arange(150)[::-1]
    rows = [
        {"layer": "a", "trained": False, "loss": loss, "h": list(norms**power)}
        for loss, power in ((1.0, 1), (3.0, 2))
    ]
    (found,) = gate_flow.ratios(rows)
    np.testing.assert_allclose(found["ratios"], [0.9**99, 0.9**198])
    np.testing.assert_allclose(found["median"], (0.9**99 + 0.9**198) / 2)
    assert found["loss"] == 2.0


def test_short_sequences_have_no_ratio_and_a_gradient_of_zero_is_one():
    row = {"layer": "a", "trained": False, "loss": 1.0}
    (short,) = gate_flow.ratios([{**row, "h": [0.5, 1.0]}])
    assert short["median"] is None
    (gone,) = gate_flow.ratios([{**row, "h": [0.0] * 149 + [1.0, 1.0]}])
    assert gone["ratios"] == [0.0]
    assert gate_report.gradient_rows([short, gone])[0][2] == "–"


def test_the_pairs_are_20_of_which_half_praise_and_differ_by_one_not():
    assert len(PAIRS) == len({pair.adjective for pair in PAIRS}) == 20
    assert sum(pair.positive for pair in PAIRS) == 10
    for pair in PAIRS:
        plain, negated = tokenize(pair.plain), tokenize(pair.negated)
        place = negated.index("not")
        assert negated[place + 1] == pair.adjective
        assert negated[:place] + negated[place + 1 :] == plain


def test_a_pair_changed_if_its_signs_differ_and_reads_right_if_the_first_is_a_readers():
    rows = [
        {"positive": positive, "contributions": {"prefix": [plain, negated]}}
        for positive, plain, negated in (
            (True, 1.0, -1.0),
            (True, -1.0, 1.0),
            (False, -1.0, 2.0),
            (True, 1.0, 0.5),
            (False, 0.0, 1.0),
        )
    ]
    assert gate_sentence.pair_shares(rows) == {
        "prefix": {"pairs": 5, "changed": 3, "as_read": 2}
    }


def test_the_contributions_of_a_pair_are_those_of_its_own_words(trained, few):
    run = gate_sentence.open_run(trained)
    pair = PAIRS[0]
    _, words = run.read(pair.negated)
    (row, *_) = gate_sentence.measure_pairs(run)
    at = words.index("not")
    attribution = lstm_keras.attribute(run, pair.negated, "gradient")
    assert attribution.words[at : at + 2] == ("not", pair.adjective)
    np.testing.assert_allclose(
        row["contributions"]["gradient"][1], attribution.scores[at : at + 2].sum()
    )
    ((part, _),) = lstm_keras.decompose_phrases(run, pair.negated, [(at, at + 2)])
    assert row["contributions"]["decomposition"][1] == part


def test_units_are_ordered_by_how_far_their_cell_state_moves(trained):
    run = gate_sentence.open_run(trained)
    found = gate_sentence.read_sentence(run, TEXT)
    (trace,) = found["traces"].values()
    count = len(found["words"])
    moved = dict(gate_sentence.moving_units(trace, count))
    c = trace.c[0, :, 2]
    expected = sum(abs(c[t] - c[t - 1]) for t in range(len(c) - count, len(c)))
    assert moved[2] == pytest.approx(expected, rel=1e-5)
    assert list(moved.values()) == sorted(moved.values(), reverse=True)


def test_the_page_has_the_numbers_of_the_trace_and_of_predict(trained):
    run = gate_sentence.open_run(trained)
    found = gate_sentence.read_sentence(run, TEXT)
    data = gate_sentence.page_data(found)
    assert data["words"] == list(found["words"])
    (trace,) = lstm_keras.trace_gates(run.model, run.read(TEXT)[0][None]).values()
    (layer,) = data["layers"]
    np.testing.assert_allclose(
        layer["f"], trace.f[0, -len(data["words"]) :], atol=0.0006
    )
    probability = run.predict([TEXT])[0].probability
    assert data["probabilities"][-1] == pytest.approx(probability, abs=1e-4)


def test_the_script_writes_a_whole_run(trained, few, tmp_path, capsys):
    options = ["--output", str(tmp_path), "--name", "one", "--run", str(trained)]
    main([*SMALL, *options, "--text", TEXT])
    folder = tmp_path / "gate_dynamics" / "one"
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
    metrics = json.loads((folder / "metrics.json").read_text())
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


def test_without_a_run_there_is_no_sentence(few, tmp_path):
    main([*SMALL, "--output", str(tmp_path), "--name", "one"])
    folder = tmp_path / "gate_dynamics" / "one"
    assert json.loads((folder / "metrics.json").read_text())["sentence"] is None
    assert not (folder / "pairs.csv").exists()


def test_a_model_that_cannot_be_decomposed_is_shown_without_decomposition(
    few, tmp_path
):
    two_ways = keras.layers.Bidirectional(keras.layers.LSTM(3))
    folder = sentiment_run(tmp_path / "run", two_ways)
    options = ["--output", str(tmp_path), "--name", "one", "--run", str(folder)]
    main([*SMALL, *options, "--no-pairs"])
    page = (tmp_path / "gate_dynamics" / "one" / "report.html").read_text()
    assert "No contextual decomposition (decomposition): expected a sentiment" in page
    assert "forward_" in page and "backward_" in page


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--text", "good"], "expected --text with the --run"),
        (["--values", "x"], "expected --values as numbers"),
        (["--run", "nowhere"], "nowhere"),
        (["--name", "a/b"], "expected a plain folder name"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(options, message, tmp_path):
    with pytest.raises(SystemExit) as ended:
        main(["--output", str(tmp_path / "runs"), *options])
    assert message in str(ended.value)
    assert not list(tmp_path.rglob("*.*"))


def test_a_text_without_a_word_is_refused(trained, tmp_path):
    options = ["--output", str(tmp_path), "--run", str(trained), "--text", " "]
    with pytest.raises(SystemExit, match="at least one word"):
        main(options)


def test_help_answers_without_keras():
    code = (
        "import sys; from experiments import gate_dynamics\n"
        "try: gate_dynamics.main(['--help'])\n"
        "except SystemExit: assert 'keras' not in sys.modules"
    )
    checkout = Path(gate_dynamics.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=checkout
    )
    assert done.returncode == 0 and "--run" in done.stdout, done.stderr
