"""The benchmark against known shapes, answers and models; no test asserts a time."""

import csv
import html
import importlib.util
import json
import os
from contextlib import nullcontext
from unittest.mock import Mock

import keras
import numpy as np
import pytest

from experiments.common.processes import Ended
from experiments.speed import (
    agenda,
    backends,
    export,
    language,
    layers,
    peers,
    report,
    shapes,
    text,
)
from experiments.speed import variants as speed_of_variants
from experiments.speed.settings import QUICK_ROUNDS, Settings, read_backends
from experiments.speed.shapes import Shape
from lstm_keras import variants as cells
from lstm_keras.preprocessing import END, TOKENIZERS
from tests.helpers import runs
from tests.helpers.browser import assert_page_is_sound, in_a_browser

SMALL, OTHER = "2,5,3,4", "1,2,3,4"
TWO = ("--backends", "jax,torch", "--shape", f"{SMALL} {OTHER}")
BACKEND = keras.backend.backend()
NAMES = {
    "tensorflow": ["keras", "loop", "xla"],
    "jax": ["keras", "loop", "scan"],
    "torch": ["keras", "loop", "aten", "torch.nn.LSTM"],
}


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """A machine without other programs, and less work."""
    monkeypatch.setattr(text, "STARTS", 1)
    monkeypatch.setattr(backends, "PRODUCT_SIZE", 64)
    monkeypatch.setattr(os, "getloadavg", lambda: (0.1, 0.0, 0.0))


@pytest.fixture
def measure(tmp_path, capsys):
    """Runs the benchmark; returns page, metrics, and what was printed."""

    def run(*options, status=""):
        ends = pytest.raises(SystemExit, match=status) if status else nullcontext()
        with ends:
            runs.main("speed", *options, "--output", tmp_path, "--name", "one")
        folder = tmp_path / "speed" / "one"
        assert runs.schema_errors(folder) == []
        page = html.unescape((folder / "report.html").read_text("utf-8"))
        return page, runs.metrics_of(folder), capsys.readouterr().out

    return run


class Workers:
    """Made-up processes: they answer what those of `layers` would.

    Attributes:
        ours: The name of our implementation.
        failing: The backends that fail.
        ctrl_c: What a process is asked, or says, when Ctrl-C comes.
    """

    ours, failing, ctrl_c = "xla", (), {"never": True}

    def run(self, name, command, environment, on_line):
        backend, request = environment["KERAS_BACKEND"], json.loads(command[1])
        if backend in self.failing:
            return Ended(name, 1, "<no & such> thing")
        for said in self.answers(backend, **request):
            on_line(json.dumps(said) + "\n")
            if self.ctrl_c.items() <= (request | said).items():
                raise KeyboardInterrupt
        return Ended(name, 0, "")

    def answers(self, backend, task, shapes=(), rounds=0, **_):
        machine = {"cpu": "a cpu", "cores": 2, "platform": "Linux"}
        versions = {"python": "3", "versions": {"keras": "3", backend: "1"}}
        yield {
            "environment": {"backend": backend, "machine": machine} | versions,
            "engine": "xla",
            "mebibytes": 12.3,
        }
        for shape in shapes:
            yield {"shape": shape}
            for number in range(rounds + 1):
                both = {"keras": (4.0, 1.0), self.ours: (2.0, 2.0)}
                paths = {path: kinds(*times, number) for path, times in both.items()}
                done = {"operations": WORK, "paths": paths} if number else {}
                yield {"shape": shape, "round": number} | done


WORK = {"training": 3e6, "prediction": 1e6}


def kinds(median, ratio, rounds):
    spread = {"low": median / 2, "median": median, "high": 2 * median}
    others = {"first": 1.0, "ratio": ratio, "rounds": rounds}
    return dict.fromkeys(WORK, spread | others)


@pytest.fixture
def workers(monkeypatch):
    made_up = Workers()
    monkeypatch.setattr(backends.processes, "run", made_up.run)
    monkeypatch.setattr(shapes, "GROWTH", {"T": ("steps", 25, 100)})
    return made_up


@pytest.mark.parametrize(
    "shape",
    ["", ";", "64,200,32", f"{SMALL},5", f"{SMALL},masked,masked", f"{SMALL} 1"]
    + [f"64,200,32,{units}" for units in ("0", "-1", "x", "²")]
    + [f"{SMALL} {SMALL}"],
)
def test_a_malformed_shape_is_refused_before_any_work(shape):
    with pytest.raises(ValueError, match=r"expected .*shape.*; received"):
        Settings(shape=shape).checked()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backends": "theano"}, r"expected --backends as .*received 'theano'"),
        ({"measure": "text", "data": "nowhere.csv"}, "or an existing path"),
        ({"measure": "text", "quick": True}, "--quick with --measure layers; received"),
        ({"epochs": 3}, "expected --epochs with --measure prefixes; received --mea"),
    ],
)
def test_bad_options_are_refused_before_any_work(options, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        Settings(**options).checked()


def test_shapes_are_read_as_they_are_written():
    read = shapes.read_shapes(f"{SMALL} 1,2,3,4,masked;5,6,7,8")
    assert read == [Shape(2, 5, 3, 4), Shape(1, 2, 3, 4, True), Shape(5, 6, 7, 8)]
    assert [*map(str, read)] == [SMALL, "1,2,3,4,masked", "5,6,7,8"]
    for default in (shapes.DEFAULT, shapes.QUICK):
        assert " ".join(map(str, shapes.read_shapes(default))) == default


def test_operations_are_those_of_the_matrix_products():
    # A step: (3 + 4) x 16 products and as many sums.
    shape = Shape(2, 5, 3, 4)
    assert shape.operations("prediction", 10) == 10 * 2 * 7 * 16
    assert shape.operations("training", 10) == 3 * 10 * 2 * 7 * 16


def test_one_size_at_a_time_doubles_from_its_first_to_its_last():
    growing = shapes.growing(Shape(64, 200, 32, 64))
    assert [shape.steps for shape in growing["T"]] == [25, 50, 100, 200, 400]
    assert [shape.batch for shape in growing["B"]] == [2**n for n in range(9)]
    assert [shape.units for shape in growing["H"]] == [16, 32, 64, 128, 256]
    assert {(s.batch, s.features, s.units) for s in growing["T"]} == {(64, 32, 64)}


def test_masked_steps_are_not_counted_as_work():
    ids, _ = layers.data(Shape(8, 20, 3, 4, masked=True))
    lengths = np.count_nonzero(ids, axis=1)
    assert lengths.min() >= 5 and lengths.max() <= 20 and len(set(lengths)) > 1
    for row, length in zip(ids, lengths, strict=True):
        assert not row[: 20 - length].any() and row[20 - length :].all()


def test_ratios_to_keras_are_those_of_the_same_round():
    numbers = layers.step_times([1.0, 20.0, 3.0], [2.0, 40.0, 3.0])
    assert numbers["ratio"] == 2  # the median of 2, 2 and 1
    assert (numbers["median"], numbers["rounds"]) == (3, 3)


def test_paths_that_disagree_are_not_timed():
    models = {"keras": 0.5, "loop": 0.5 + 1e-6}
    assert set(layers.first_calls(np.float32, models)) == set(models)
    for wrong in (0.6, np.nan):
        with pytest.raises(ValueError, match="expected 'loop' to compute what Keras"):
            layers.first_calls(np.float32, {"keras": 0.5, "loop": wrong})


@pytest.mark.thorough
@pytest.mark.parametrize("masked", [False, True])
def test_the_plain_torch_model_is_keras_model_with_its_weights(masked):
    pytest.importorskip("torch")
    from experiments.speed.plain_torch import PlainModel

    shape = Shape(4, 6, 3, 5, masked)
    ids, labels = layers.data(shape)
    model = layers.build("keras", shape)
    plain = PlainModel(layers.WORDS, shape)
    plain.set_weights(model.get_weights())
    np.testing.assert_allclose(
        plain.predict_on_batch(ids), model.predict_on_batch(ids), atol=1e-5
    )
    loss = float(model.train_on_batch(ids, labels))
    assert plain.train_on_batch(ids, labels) == pytest.approx(loss, abs=1e-5)
    assert plain.train_on_batch(ids, labels) < loss  # it learns


@pytest.mark.thorough
@pytest.mark.parametrize("shape", [SMALL, f"{SMALL},masked"])
def test_a_worker_times_every_path_and_shows_its_rounds(shape, capsys):
    workers = backends.Workers(flush_denormal=False)
    found = workers.ask(BACKEND, "times", BACKEND, shapes=[shape], rounds=3)
    assert workers.failures == []
    assert f"{BACKEND} {shape}: round 3 of 3, about 0 s left" in capsys.readouterr().out
    assert found["environment"]["backend"] == BACKEND
    assert found["engine"].startswith(NAMES[BACKEND][2])
    (result,) = found["results"]
    assert result["shape"] == shape
    assert list(result["paths"]) == NAMES[BACKEND]
    for path, numbers in (
        (path, one) for path, kinds in result["paths"].items() for one in kinds.values()
    ):
        assert 0 < numbers["low"] <= numbers["median"] <= numbers["high"]
        assert numbers["first"] > 0 and numbers["ratio"] > 0
        assert path != "keras" or numbers["ratio"] == 1


@pytest.mark.thorough
def test_a_worker_measures_its_own_memory_and_says_why_it_fails():
    _peak = b"x" * 2**30  # of this process, more than the worker needs
    workers = backends.Workers(flush_denormal=False)
    memory = workers.ask(BACKEND, "memory", shape=SMALL, path="loop")
    assert memory["mebibytes"] > 1
    assert workers.ask(BACKEND, "nonsense") is None
    (failure,) = workers.failures
    assert failure.endswith("(nonsense) ended with status 1: KeyError: 'nonsense'")


def test_a_worker_times_a_round_of_a_shape_even_if_its_time_is_over(monkeypatch):
    class Model:
        train_on_batch = predict_on_batch = np.size

    monkeypatch.setattr(layers, "equal_models", lambda _: {"keras": Model})
    monkeypatch.setattr(Model, "train_on_batch", lambda ids, labels: ids.size)
    said = list(layers.times([SMALL, OTHER], rounds=3, until=0.0))
    assert [one.get("round") for one in said] == [None, None, 0, 1]
    assert {one["shape"] for one in said[1:]} == {SMALL}


def test_a_run_has_tables_figures_and_what_computed_them(measure, workers, tmp_path):
    page, metrics, shown = measure(*TWO)
    assert set(metrics["results"]) == {"jax", "torch"}
    assert set(metrics["environment"]["versions"]) == {"keras", "jax", "torch"}
    assert metrics["environment"]["backend"] == "jax, torch"
    assert metrics["memory"]["mebibytes"]["torch"] == {"keras": 12.3, "xla": 12.3}
    assert metrics["growth"]["backend"] == "jax"
    assert metrics["missing"] == [] and metrics["ending"] == ""
    folder = tmp_path / "speed" / "one"
    assert {path.name for path in (folder / "figures").iterdir()} == {
        "step_times.png",
        "growth_training.png",
        "growth_prediction.png",
    }
    with (folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    chosen = [row for row in rows if row["part"] == "shapes"]
    assert len(chosen) == 2 * 2 * 2 * 2  # backends, shapes, paths, kinds
    for row in rows:
        limit = WORK[row["kind"]] / metrics["operations_per_second"]
        assert float(row["times_limit"]) == pytest.approx(float(row["median"]) / limit)
    for words in (SMALL, "2,000", "1,000 to 4,000", "× limit", "MiB", "a cpu"):
        assert words in shown and words in page
    finding = (
        "With 2 sequences of 5 steps, our LSTM trains 2.0 times as fast as Keras's"
    )
    assert f"{finding} on jax (xla), 2.0 times on torch (xla)." in shown
    assert f"torch {OTHER}: round 20 of 20, about 0 s left" in shown
    assert "growth 64,100,32,64: round 7 of 7, about 0 s left" in shown


@pytest.mark.thorough
@in_a_browser
def test_the_report_is_sound_in_a_browser(measure, workers, tmp_path):
    measure(*TWO)
    assert_page_is_sound(tmp_path / "speed/one/report.html")


def test_a_backend_that_fails_leaves_the_others(measure, workers, tmp_path):
    workers.failing, workers.ours = ("jax",), "<script>alert('x')</script>"
    page, metrics, shown = measure(*TWO, "--no-memory", "--no-growth")
    assert set(metrics["results"]) == {"torch"}
    (failure,) = metrics["failures"]
    assert failure == "jax (times) ended with status 1: <no & such> thing"
    assert metrics["missing"] == [f"jax {SMALL}", f"jax {OTHER}"]
    assert failure in page and failure in shown
    assert "<script>alert" not in (tmp_path / "speed/one/report.html").read_text()


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"failing": ("jax",)}, "expected a backend that works; received .*jax"),
        ({"ctrl_c": {"round": 0}}, "130"),
    ],
)
def test_without_any_time_nothing_is_written(workers, tmp_path, change, status):
    vars(workers).update(change)
    with pytest.raises(SystemExit, match=status):
        runs.make("speed", tmp_path, "--backends", "jax")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


TORCH = [f"torch {SMALL}", f"torch {OTHER}"]
PARTS = ["memory of jax", "memory of torch", "growth at 3 shapes"]


@pytest.mark.parametrize(
    ("said", "missing", "quantiles"),
    [
        (
            {"shape": SMALL, "round": 1},
            [f"jax {SMALL} (1 of 20 rounds)", f"jax {OTHER}", *TORCH, *PARTS],
            "–",
        ),
        ({"task": "memory"}, PARTS, "1,000 to 4,000"),
        ({"shape": "64,50,32,64", "round": 7}, ["growth at 1 shapes"], "1,000 to"),
    ],
)
def test_ctrl_c_leaves_a_report_of_what_was_measured(
    measure, workers, said, missing, quantiles
):
    workers.ctrl_c = said
    page, metrics, shown = measure(*TWO, status="130")
    assert metrics["interrupted"]
    ending = f"The benchmark was interrupted. Not measured: {'; '.join(missing)}."
    assert metrics["ending"] == ending
    assert ending in page and ending in shown
    how = "xla; 1 round" if quantiles == "–" else "xla"
    assert f"2.0 times as fast as Keras's on jax ({how})" in page
    assert quantiles in shown and ("1,000 to" in shown) == (quantiles != "–")


def test_what_the_time_does_not_suffice_for_is_named(measure, workers):
    page, metrics, _ = measure(*TWO, "--seconds", "1e-9")
    ending = f"Not measured within 1e-09 s: {'; '.join([*TORCH, *PARTS])}."
    assert metrics["ending"] == ending and ending in page
    assert not metrics["interrupted"]


def test_the_time_left_is_that_of_the_rounds_and_of_what_comes_after(
    monkeypatch, capsys
):
    now = iter([0, 0, 10, 12])  # twice at the beginning, compiled, a round
    monkeypatch.setattr(agenda.time, "time", lambda: next(now))
    found = agenda.Agenda()
    found.plan(["a", "b", "c"])
    for done in (0, 1):
        found.round("a", done, 3)
    # Two rounds of 2 s, and twice the 16 s that "a" takes.
    assert capsys.readouterr().out == "a: round 1 of 3, about 36 s left\n"


@pytest.mark.parametrize(
    ("load", "cores", "busy"), [(0.4, 2, 0), (3.1, 2, 1), (3.1, 16, 0), (None, 2, 0)]
)
def test_only_a_high_load_is_warned_of(load, cores, busy):
    warning = agenda.load_warning(load, cores)
    assert ("load average 3.1 on 2 cores" in warning) == bool(warning) == busy


def test_quick_asks_for_less_and_the_load_is_warned_of_before_and_after(
    measure, workers, monkeypatch
):
    monkeypatch.setattr(os, "getloadavg", lambda: (99.0, 0.0, 0.0))
    page, metrics, shown = measure("--quick", "--backends", "torch")
    shape = shapes.QUICK.split()
    assert [one["shape"] for one in metrics["results"]["torch"]] == shape
    assert metrics["memory"] == metrics["growth"] == {}
    assert f"round {QUICK_ROUNDS} of {QUICK_ROUNDS}" in shown
    assert metrics["load_average"] == 99
    before, _, after = shown.partition("compiling")
    for words in (before, after, page):
        assert "keep this machine busy: load average 99.0" in words
    given = Settings(quick=True, shape=SMALL, rounds=2, seconds=9.0).checked()
    assert (given.shape, given.rounds, given.seconds) == (SMALL, 2, 9)


def test_the_installed_backends_are_the_default():
    assert BACKEND in read_backends(None)


def test_milliseconds_have_at_least_three_digits():
    shown = [*map(report.milliseconds, (0.00052, 0.00123, 0.0345, 1.2345))]
    assert shown == ["0.520", "1.23", "34.5", "1,234"]


@pytest.mark.thorough
def test_every_tokenizer_and_step_is_measured(measure):
    options = ("--measure", "text", "--data", "embedded", "--reviews", "300")
    page, metrics, shown = measure(*options)
    texts, starts = metrics["results"].values()
    assert [(row["tokenizer"], row["step"]) for row in texts] == [
        (tokenizer, step)
        for tokenizer in (*TOKENIZERS, "CountVectorizer", "TextVectorization")
        for step in ("build vocabulary", "text to ids")
    ]
    assert all(row["seconds"] > 0 and row["CPU seconds"] >= 0 for row in texts)
    assert [start["what"].split()[-1] for start in starts] == ["--help", "keras"]
    for words in ("From 300 texts", "TextVectorization", starts[0]["what"]):
        assert words in shown and words in page


@pytest.mark.thorough
@pytest.mark.parametrize("epochs", [100, 2])
def test_both_forms_learn_the_text_to_the_same_accuracy(measure, tmp_path, epochs):
    path = tmp_path / "text.txt"
    path.write_text("a cat sat here\nthe dog ran off\nno bird sings now\n" * 2)
    options = ("--text", path, "--seeds", "1", "--epochs", epochs)
    page, metrics, shown = measure("--measure", "prefixes", *options)
    (rows,) = metrics["results"].values()
    assert [row["form"] for row in rows] == ["prefixes", "passes"]
    assert all(row["training"] > 0 for row in rows)
    reached = [row["accuracy"] >= 0.955 for row in rows]
    assert reached == [epochs == 100] * 2
    notes = ["Seeds that did not reach the accuracy: 1"] * (epochs == 2)
    assert metrics["notes"] == notes
    assert metrics["finding"].startswith("One pass per sentence learns") == all(reached)
    for words in (metrics["finding"], *notes):
        assert words in page and words in shown


def test_the_best_accuracy_counts_prefixes_with_two_continuations():
    ids = np.array([4, 5, 6, END, 4, 5, 7, END, 4, 5, 7, END, 8, END])
    # After 4: always 5, three times. After 4 5: 7 twice, 6 once.
    assert language.best_accuracy(ids) == pytest.approx(5 / 6)


def test_a_new_token_is_timed_after_each_prompt(measure, monkeypatch):
    monkeypatch.setattr(language, "PROMPTS", (1, 10))
    monkeypatch.setattr(language, "NEW_TOKENS", 3)
    page, metrics, _ = measure("--measure", "generation")
    (rows,) = metrics["results"].values()
    assert [row["prompt"] for row in rows] == [1, 10]
    assert all(row["milliseconds a new token"] > 0 for row in rows)
    assert "after prompts of 1, 10 words" in page


@pytest.mark.thorough
def test_every_variant_is_timed_beside_keras(measure, monkeypatch):
    monkeypatch.setattr(speed_of_variants, "SHAPES", [Shape(2, 3, 4, 4)])
    monkeypatch.setattr(speed_of_variants, "ROUNDS", 1)
    one = {name: speed_of_variants.makers()[name] for name in ("SLSTMCell",)}
    every = {name for name in dir(cells) if name.endswith("LSTMCell")} - {"LSTMCell"}
    assert set(speed_of_variants.makers()) == every and len(every) == 12
    monkeypatch.setattr(speed_of_variants, "makers", lambda: one)
    page, metrics, _ = measure("--measure", "variants")
    ((row,),) = metrics["results"].values()
    assert (row["cell"], row["shape"]) == ("SLSTMCell", "2,3,4,4")
    assert all(value > 0 for value in row.values() if isinstance(value, float))
    assert metrics["finding"] in page


def test_our_layer_is_timed_beside_the_peers_that_are_installed(measure, monkeypatch):
    monkeypatch.setattr(peers, "DEFAULT", "2,5,4,3,masked")
    monkeypatch.setattr(peers, "ROUNDS", 1)
    page, metrics, _ = measure("--measure", "peers")
    (rows,) = metrics["results"].values()
    assert [row["step"] for row in rows] == ["training", "prediction"]
    there = {
        name: bool(importlib.util.find_spec(name)) for name in ("torch", "onnxruntime")
    }
    for row in rows:
        predicts = row["step"] == "prediction"
        expected = {"Keras": True, **there}
        expected["onnxruntime"] &= predicts
        found = {name: row[f"over {name}"] != "–" for name in expected}
        assert found == expected and row["ms"] > 0 and row["no LSTM, ms"] > 0
    assert [
        name for name in there if f"Not installed, so not measured: {name}" in page
    ] == [name for name, found in there.items() if not found]
    assert metrics["finding"] in page


def test_times_of_peers_that_disagree_are_not_compared():
    with pytest.raises(ValueError, match=r"'torch' to compute .* differ by 0.5"):
        peers.agree({"Keras": 1.0, "no LSTM": 9.0, "torch": 1.5})


def test_torch_is_compared_where_it_is_faster_and_ratios_are_of_rounds():
    seconds = {
        "lstm_keras": [1.0, 2.0, 4.0],
        "Keras": [2.0, 2.0, 12.0],
        "torch": [9.0, 9.0, 9.0],
        "torch, denormals flushed": [0.5, 1.0, 2.0],
        "no LSTM": [0.25, 0.25, 0.25],
    }
    assert peers.row(Shape(2, 5, 4, 3), "training", seconds) == {
        **{"shape": "2,5,4,3", "step": "training", "ms": 2000.0},
        **{"over Keras": 2.0, "over torch": 0.5, "over onnxruntime": "–"},
        "no LSTM, ms": 250.0,
    }


def test_an_exported_model_is_timed_beside_keras(measure, monkeypatch):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(export, "SHAPES", {"2 x 5 steps, masked": (2, 5, True)})
    monkeypatch.setattr(export, "ROUNDS", 1)
    page, metrics, _ = measure("--measure", "export")
    ((row,),) = metrics["results"].values()
    assert row["batch"] == "2 x 5 steps, masked"
    assert all(row[path] > 0 for path in ("Keras", "lstm_keras", "onnxruntime"))
    assert metrics["finding"] in page


def test_ctrl_c_leaves_the_rows_that_were_measured(measure, monkeypatch):
    times = Mock(side_effect=[1.5, KeyboardInterrupt])
    for name, one in {"milliseconds_a_token": times, "Stepper": Mock()}.items():
        monkeypatch.setattr(language, name, one)
    page, metrics, _ = measure("--measure", "generation", status="130")
    missing = [f"after a prompt of {n} tokens" for n in ("10", "100", "1,000")]
    assert metrics["missing"] == missing
    assert metrics["finding"] == "A new word takes 1.50 ms after prompts of 1 words."
    assert f"interrupted. Not measured: {'; '.join(missing)}." in page
