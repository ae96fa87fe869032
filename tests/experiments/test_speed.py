"""The benchmark against known shapes, answers and models; no test asserts a time."""

import csv
import json

import keras
import numpy as np
import pytest

from experiments.speed import backends, language, layers, report, shapes, text
from experiments.speed.settings import QUICK_ROUNDS, Settings, read_backends
from experiments.speed.shapes import Shape
from lstm_keras.preprocessing import END, TOKENIZERS
from tests.helpers import runs

SMALL = "2,5,3,4"
BACKEND = keras.backend.backend()
NAMES = {
    "tensorflow": ["keras", "loop", "xla"],
    "jax": ["keras", "loop", "scan"],
    "torch": ["keras", "loop", "aten", "torch.nn.LSTM"],
}


@pytest.fixture
def run_folder(tmp_path, monkeypatch):
    """Runs the benchmark, and returns its folder."""

    def run(*options):
        return runs.make("speed", tmp_path, *options)

    monkeypatch.setattr(text, "STARTS", 1)
    monkeypatch.setattr(backends, "PRODUCT_SIZE", 64)
    return run


def page_and_metrics(folder):
    metrics = runs.metrics_of(folder)
    assert metrics["experiment"] == "speed"
    assert {"config.json", "report.html"} <= {path.name for path in folder.iterdir()}
    return (folder / "report.html").read_text(), metrics


def kind_of_steps(median):
    spread = {"low": median / 2, "median": median, "high": 2 * median}
    return {"first": 1.0, **spread, "ratio": 1.0}


def answer(task, backend="tensorflow", path="keras", **arguments):
    """Return what a worker would answer."""
    if task == "memory":
        return {"mebibytes": 12.3}
    return {
        "environment": {
            "python": "3",
            "backend": backend,
            "versions": {"keras": "3", backend: "1"},
            "machine": {"cpu": "a cpu", "cores": 2, "platform": "Linux"},
        },
        "engine": "xla",
        "results": [
            {
                "shape": shape,
                "operations": {"training": 3e6, "prediction": 1e6},
                "paths": {
                    path: {"training": kind_of_steps(2.0)}
                    | {"prediction": kind_of_steps(0.5)}
                },
            }
            for shape in arguments["shapes"]
        ],
    }


def answering(monkeypatch, path="keras", failing=()):
    """Let invented workers answer."""

    def ask(self, backend, task, **arguments):
        if backend in failing:
            self.failures.append(f"{backend} failed: <no & such> thing")
            return None
        return answer(task, backend, **({"path": path} | arguments))

    monkeypatch.setattr(backends.Workers, "ask", ask)


@pytest.mark.parametrize(
    "shape",
    [
        "",
        ";",
        "64,200,32",
        "64,200,32,0",
        "64,200,32,-1",
        "64,200,32,x",
        "64,200,32,²",
        "64,200,32,64,5",
        "64,200,32,64,masked,masked",
        "64,200,32,64 1",
        "64,200,32,64 64,200,32,64",
    ],
)
def test_a_malformed_shape_is_refused_before_any_work(shape):
    with pytest.raises(ValueError, match=r"expected .*shape.*; received"):
        Settings(shape=shape).checked()


def test_shapes_are_read_as_they_are_written():
    read = shapes.read_shapes("64,200,32,16 1,2,3,4,masked;5,6,7,8")
    assert read == [
        Shape(64, 200, 32, 16),
        Shape(1, 2, 3, 4, masked=True),
        Shape(5, 6, 7, 8),
    ]
    assert list(map(str, read)) == ["64,200,32,16", "1,2,3,4,masked", "5,6,7,8"]


def test_the_default_shapes_can_be_read():
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
    shape = Shape(8, 20, 3, 4, masked=True)
    ids, _ = layers.data(shape)
    lengths = np.count_nonzero(ids, axis=1)
    assert lengths.min() >= 5 and lengths.max() <= 20 and len(set(lengths)) > 1
    for row, length in zip(ids, lengths, strict=True):
        assert not row[: 20 - length].any() and row[20 - length :].all()


def test_ratios_to_keras_are_those_of_the_same_round():
    numbers = layers.step_times([1.0, 20.0, 3.0], [2.0, 40.0, 3.0])
    assert numbers["ratio"] == 2  # the median of 2, 2 and 1
    assert numbers["median"] == 3


def test_paths_that_disagree_are_not_timed():
    models = {"keras": 0.5, "loop": 0.5 + 1e-6}
    assert set(layers.first_calls(np.float32, models)) == set(models)
    for wrong in (0.6, np.nan):
        with pytest.raises(ValueError, match="expected 'loop' to compute what Keras"):
            layers.first_calls(np.float32, {"keras": 0.5, "loop": wrong})


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


@pytest.mark.parametrize(
    "shape", [pytest.param(SMALL, marks=pytest.mark.thorough), f"{SMALL},masked"]
)
def test_a_worker_times_every_path_and_shows_its_progress(shape, capsys):
    workers = backends.Workers(flush_denormal=False)
    found = workers.ask(BACKEND, "times", shapes=[shape], rounds=3)
    assert workers.failures == []
    assert f"{BACKEND} {shape} … done" in capsys.readouterr().out
    assert found["environment"]["backend"] == BACKEND
    assert found["engine"].startswith(NAMES[BACKEND][2])
    (result,) = found["results"]
    assert result["shape"] == shape
    assert list(result["paths"]) == NAMES[BACKEND]
    for kinds in result["paths"].values():
        assert set(kinds) == {"training", "prediction"}
        for numbers in kinds.values():
            assert 0 < numbers["low"] <= numbers["median"] <= numbers["high"]
            assert numbers["first"] > 0 and numbers["ratio"] > 0
    keras_kinds = result["paths"]["keras"].values()
    assert [numbers["ratio"] for numbers in keras_kinds] == [1, 1]


@pytest.mark.thorough
def test_the_peak_of_the_starting_process_does_not_hide_a_workers_memory():
    _peak = b"x" * 2**30  # more than the worker needs
    workers = backends.Workers(flush_denormal=False)
    memory = workers.ask(BACKEND, "memory", shape=SMALL, path="loop")
    assert memory["mebibytes"] > 1


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ("nonsense", "(nonsense) ended with status 1: KeyError: 'nonsense'"),
        ("fatal", "(fatal) was killed by SIGKILL"),
    ],
)
def test_a_worker_that_fails_is_reported(task, reason, monkeypatch, tmp_path, capsys):
    # A module of that name in the working folder goes first.
    package = tmp_path / "experiments" / "speed"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").touch()
    (package / "layers.py").write_text(
        "import json, os, sys\n"
        "if json.loads(sys.argv[1])['task'] == 'fatal': os.kill(os.getpid(), 9)\n"
        "raise KeyError('nonsense')\n"
    )
    monkeypatch.chdir(tmp_path)
    workers = backends.Workers(flush_denormal=False)
    assert workers.ask("jax", task) is None
    assert workers.failures == [f"jax {reason}"]
    assert workers.failures[0] in capsys.readouterr().out


def test_a_run_has_tables_figures_and_what_computed_them(
    run_folder, monkeypatch, capsys
):
    answering(monkeypatch)
    monkeypatch.setitem(shapes.GROWTH, "T", ("steps", 25, 50))
    folder = run_folder("--backends", "tensorflow,torch", "--shape", f"{SMALL} 1,2,3,4")
    page, metrics = page_and_metrics(folder)
    assert set(metrics["results"]) == {"tensorflow", "torch"}
    assert set(metrics["environment"]["versions"]) == {"keras", "tensorflow", "torch"}
    assert metrics["environment"]["backend"] == "tensorflow, torch"
    assert metrics["memory"]["mebibytes"]["torch"] == {"keras": 12.3}
    assert metrics["growth"]["backend"] == "tensorflow"
    assert metrics["operations_per_second"] > 0
    assert {path.name for path in (folder / "figures").iterdir()} == {
        "growth_training.png",
        "growth_prediction.png",
    }
    with (folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    chosen = [row for row in rows if row["part"] == "shapes"]
    assert len(chosen) == 2 * 2 * 2  # backends, shapes, kinds
    for row in rows:
        work = {"training": 3e6, "prediction": 1e6}[row["kind"]]
        limit = work / metrics["operations_per_second"]
        assert float(row["times_limit"]) == pytest.approx(float(row["median"]) / limit)
    shown = capsys.readouterr().out
    for words in (SMALL, "2,000", "1,000 to 4,000", "× limit", "MiB", "a cpu"):
        assert words in shown and words in page


def test_a_backend_that_fails_leaves_the_others(run_folder, monkeypatch, capsys):
    answering(monkeypatch, failing=("jax",))
    options = ("--backends", "jax,torch", "--no-growth", "--no-memory")
    page, metrics = page_and_metrics(run_folder(*options))
    assert set(metrics["results"]) == {"torch"}
    assert metrics["failures"] == ["jax failed: <no & such> thing"]
    assert "jax failed: &lt;no &amp; such&gt; thing" in page
    assert "jax failed: <no & such> thing" in capsys.readouterr().out


def test_without_a_backend_that_works_nothing_is_written(
    run_folder, monkeypatch, tmp_path
):
    answering(monkeypatch, failing=("jax",))
    with pytest.raises(SystemExit, match="expected a backend that works; received"):
        run_folder("--backends", "jax")
    assert not list((tmp_path / "speed").iterdir())


def test_an_unknown_backend_is_refused():
    with pytest.raises(ValueError, match=r"expected --backends as .*received 'theano'"):
        Settings(backends="theano").checked()


def test_the_installed_backends_are_the_default():
    assert BACKEND in read_backends(None)


def test_names_from_data_stay_text_in_the_report(run_folder, monkeypatch):
    answering(monkeypatch, path="<script>alert('x')</script>")
    page, _ = page_and_metrics(run_folder("--shape", SMALL, "--no-growth"))
    assert "<script>" not in page
    assert "&lt;script&gt;alert" in page


def test_quick_asks_for_less_and_the_configuration_says_so(run_folder, monkeypatch):
    answering(monkeypatch)
    folder = run_folder("--quick", "--backends", "torch")
    config = json.loads((folder / "config.json").read_text())
    assert config["shape"] == shapes.QUICK
    assert config["rounds"] == QUICK_ROUNDS
    assert not config["memory"] and not config["growth"]


def test_quick_keeps_given_shapes_and_fewer_rounds():
    settings = Settings(quick=True, shape=SMALL, rounds=2).checked()
    assert (settings.shape, settings.rounds) == (SMALL, 2)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.00052, "0.520"), (0.00123, "1.23"), (0.0345, "34.5"), (1.2345, "1,234")],
)
def test_milliseconds_have_at_least_three_digits(seconds, shown):
    assert report.milliseconds(seconds) == shown


@pytest.mark.thorough
def test_every_tokenizer_and_step_is_measured(run_folder, capsys):
    folder = run_folder("--measure", "text", "--data", "embedded", "--reviews", "300")
    shown = capsys.readouterr().out
    page, metrics = page_and_metrics(folder)
    texts, starts = metrics["results"].values()
    assert [(row["tokenizer"], row["step"]) for row in texts] == [
        (tokenizer, step)
        for tokenizer in (*TOKENIZERS, "CountVectorizer", "TextVectorization")
        for step in ("build vocabulary", "text to ids")
    ]
    assert all(row["seconds"] > 0 and row["CPU seconds"] >= 0 for row in texts)
    assert [start["what"] for start in starts] == [
        "python -m experiments.imdb_sentiment --help",
        "import lstm_keras beyond import keras",
    ]
    for words in ("300 texts to ids", "TextVectorization", starts[0]["what"]):
        assert words in shown and words in page


def test_a_missing_source_is_an_error():
    with pytest.raises(FileNotFoundError, match="or an existing path"):
        Settings(measure="text", data="nowhere.csv").checked()


@pytest.fixture
def learning(run_folder, tmp_path, capsys):
    """Times learning a small text; returns page, metrics, and what was printed."""
    path = tmp_path / "text.txt"
    path.write_text("a cat sat here\nthe dog ran off\nno bird sings now\n" * 2)

    def run(*options):
        options = ("--text", path, "--seeds", "1", *options)
        folder = run_folder("--measure", "prefixes", *options)
        return *page_and_metrics(folder), capsys.readouterr().out

    return run


@pytest.mark.thorough
def test_both_forms_learn_the_text_to_the_same_accuracy(learning):
    page, metrics, shown = learning()
    (note,) = metrics["notes"]
    assert note.startswith("prefixes / passes: ") and note in page and note in shown
    (results,) = metrics["results"].values()
    assert [row["form"] for row in results] == ["prefixes", "passes"]
    for row in results:
        assert row["epochs"] < 100
        assert row["training"] > 0
        assert row["accuracy"] >= 0.955


@pytest.mark.thorough
def test_a_form_that_does_not_reach_the_accuracy_has_no_ratio(learning):
    _, metrics, shown = learning("--epochs", "2")
    assert metrics["notes"] == ["1 of 1 seeds did not reach the accuracy"]
    assert metrics["notes"][0] in shown


def test_the_best_accuracy_counts_prefixes_with_two_continuations():
    ids = np.array([4, 5, 6, END, 4, 5, 7, END, 4, 5, 7, END, 8, END])
    # After 4: always 5, three times. After 4 5: 7 twice, 6 once.
    assert language.best_accuracy(ids) == pytest.approx(5 / 6)


def test_a_new_token_is_timed_after_each_prompt(run_folder, monkeypatch):
    measure = language.measure_generation
    monkeypatch.setattr(
        language,
        "measure_generation",
        lambda lengths: measure(lengths[:2], tokens=3),
    )
    _, metrics = page_and_metrics(run_folder("--measure", "generation"))
    (rows,) = metrics["results"].values()
    assert [row["prompt"] for row in rows] == [1, 10]
    assert all(row["milliseconds a new token"] > 0 for row in rows)
