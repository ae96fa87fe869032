"""Every metrics.json is what its schema says."""

import copy
import json
from pathlib import Path

import jsonschema
import keras
import pytest
from matplotlib.figure import Figure

import experiments
from experiments import (
    compare_equality,
    compare_lstm,
    gate_dynamics,
    gate_flow,
    gate_sentence,
    imdb_sentiment,
    memory,
    next_word,
    speed,
    speed_backends,
    speed_language,
    speed_layers,
    speed_shapes,
    speed_text,
    summarise,
)
from experiments.negation_pairs import PAIRS

SCHEMA = json.loads(
    (Path(experiments.__file__).parent / "metrics.schema.json").read_text("utf-8")
)
SHAPE = "2,5,3,4"
TEXT = "a cat sat here\nthe dog ran off\nno bird sings now\n" * 4


def run(script, output, name, *options):
    script.main([*options, "--output", str(output), "--name", name])
    return output / script.EXPERIMENT / name


def small(monkeypatch):
    """Let the measuring experiments measure less, in this process."""

    def ask(self, backend, task, **arguments):
        return json.loads(json.dumps(speed_layers.TASKS[task](**arguments)))

    generate = speed_language.measure_generation
    for module, name, value in (
        (speed_backends.Workers, "ask", ask),
        (speed_backends, "PRODUCT_SIZE", 64),
        (speed_backends, "CENTER", speed_shapes.Shape(1, 1, 3, 1)),
        (speed_layers, "paths", lambda shape: [speed_layers.KERAS, speed_layers.LOOP]),
        (speed_text, "run_python", lambda *arguments: "0.1"),
        (speed_language, "measure_generation", lambda lengths: generate((1,), 2)),
        (compare_equality, "MASKS", ("left",)),
        (compare_equality, "ways", lambda: [compare_equality.LOOP]),
        (gate_flow, "cells", lambda: {"GRU": keras.layers.GRU}),
        (gate_sentence, "PAIRS", PAIRS[:1]),
        (Figure, "savefig", lambda self, path, **options: path.write_bytes(b"")),
    ):
        monkeypatch.setattr(module, name, value)
    for size, (field, *_) in speed_shapes.GROWTH.items():
        monkeypatch.setitem(speed_shapes.GROWTH, size, (field, 1, 1))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A run of each experiment, and of each measure of the speed."""
    place = tmp_path_factory.mktemp("runs")
    text = place / "text.txt"
    text.write_text(TEXT)
    reviews = ("--data", "embedded", "--limit", "60", "--units", "4", "--epochs", "1")
    with pytest.MonkeyPatch.context() as monkeypatch:
        small(monkeypatch)
        found = {
            "imdb_sentiment": run(
                *(imdb_sentiment, place, "one", *reviews, "--maxlen", "30"),
                *("--seeds", "2", "--no-baselines", "--engine", "loop"),
            ),
            "next_word": run(
                *(next_word, place, "one", "--text", str(text), "--embedding", "4"),
                *("--units", "4", "--epochs", "1", "--min-count", "1"),
            ),
            "memory": run(
                *(memory, place, "one", "--tasks", "adding", "--lags", "4"),
                *("--layers", "custom", "--seeds", "2", "--units", "3"),
                *("--steps", "2", "--test-size", "8", "--learning-rates", "0.01"),
            ),
            "compare_lstm": run(
                *(compare_lstm, place, "one", *reviews, "--quick"),
                *("--dtypes", "float32", "--shape", SHAPE, "--rounds", "1"),
                *("--engine", "loop", "--maxlen", "8"),
            ),
            "gate_dynamics": run(
                *(gate_dynamics, place, "one", "--length", "4", "--units", "3"),
                *("--steps", "1", "--seeds", "1"),
                *("--run", str(place / "imdb_sentiment" / "one")),
            ),
        }
        for measure, options in {
            "layers": ("--backends", keras.backend.backend(), "--shape", SHAPE),
            "text": ("--data", "embedded"),
            "prefixes": ("--text", str(text), "--epochs", "2", "--seeds", "1"),
            "generation": (),
        }.items():
            few = ("--measure", measure, "--rounds", "1", "--reviews", "20")
            found[f"speed {measure}"] = run(speed, place, measure, *few, *options)
    return found


@pytest.fixture
def sentiment(folders):
    """A copy of what one run wrote."""
    return metrics_of(folders["imdb_sentiment"])


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text("utf-8"))


def errors(metrics):
    return list(jsonschema.Draft202012Validator(SCHEMA).iter_errors(metrics))


def parts(schema):
    """The schema and every schema in it."""
    if isinstance(schema, dict):
        yield schema
    for value in schema.values() if isinstance(schema, dict) else schema:
        if isinstance(value, dict | list):
            yield from parts(value)


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_every_property_is_described():
    described = [
        (name, bool(one.get("description")))
        for part in parts(SCHEMA)
        for name, one in part.get("properties", {}).items()
        if {"type", "$ref", "anyOf", "enum"} & set(one)  # not those of a condition
    ]
    assert len(described) > 200
    assert [name for name, ok in described if not ok] == []


def test_every_object_is_closed_or_a_table_by_name():
    for part in parts(SCHEMA):
        if part.get("type") == "object" and "properties" in part:
            open_ = part is SCHEMA["$defs"]["trained"]  # closed where it is used
            closed = {"additionalProperties", "unevaluatedProperties"} & set(part)
            assert closed or open_, part


def test_what_the_experiments_write_is_valid(folders):
    for name, folder in folders.items():
        found = errors(metrics_of(folder))
        assert not found, (name, found[0].json_path, found[0].message)


def test_the_runs_exercise_the_parts_that_may_be_empty(folders):
    compared = metrics_of(folders["compare_lstm"])
    assert compared["training"]["differences"]["test loss"]["interval"]
    assert compared["speed"]["results"] and compared["equality"]["table"]
    layers = metrics_of(folders["speed layers"])
    assert layers["memory"]["mebibytes"] and layers["growth"]["results"]
    inside = metrics_of(folders["gate_dynamics"])
    assert inside["sentence"]["attributions"] and inside["pairs"]


def removed(metrics, *path):
    *parents, name = path
    for parent in parents:
        metrics = metrics[parent]
    del metrics[name]


def changed(metrics, value, *path):
    *parents, name = path
    for parent in parents:
        metrics = metrics[parent]
    metrics[name] = value


@pytest.mark.parametrize(
    "path",
    [
        ("engine",),
        ("environment", "git_commit"),
        ("environment", "machine", "platform"),
        ("data", "fingerprint"),
        ("runs", 0, "test", "roc_auc"),
        ("summary", "seeds"),
    ],
)
def test_what_is_missing_is_found(sentiment, path):
    removed(sentiment, *path)
    assert any(repr(path[-1]) in error.message for error in errors(sentiment))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("surprise",), 1),
        (("measure",), "layers"),  # another experiment's
        (("environment", "machine", "gpu"), "none"),
        (("runs", 0, "layer"), "lstm_keras.LSTM"),  # compare_lstm's
        (("runs", 0, "test", "auc"), 0.5),
        (("runs", 0, "seed"), "0"),
        (("runs", 0, "seed"), 0.5),
        (("runs", 1, "test", "accuracy"), "0.9"),
        (("runs", 1, "test", "accuracy"), 1.1),
        (("runs", 1, "test", "confusion"), [[1, 2]]),
        (("seconds",), -1),
        (("name",), None),
        (("data", "fingerprint"), "sha256:0"),
        (("environment", "git_commit"), "main"),
        (("environment", "versions", "keras"), 3),
        (("experiment",), "next_word"),
        (("experiment",), "another"),
    ],
)
def test_what_is_not_documented_or_of_another_type_is_found(sentiment, path, value):
    changed(sentiment, value, *path)
    assert errors(sentiment)


@pytest.mark.parametrize("commit", [None, 40 * "a", f"{40 * '0'}+changes"])
def test_a_commit_may_be_changed_or_missing(sentiment, commit):
    changed(sentiment, commit, "environment", "git_commit")
    assert not errors(sentiment)


def test_a_measure_of_the_speed_has_no_part_of_another(folders):
    metrics = metrics_of(folders["speed text"])
    other = copy.deepcopy(metrics) | {"growth": {}}
    assert errors(other) and errors(metrics | {"measure": "generation"})


def test_the_runs_can_be_summarised(folders, capsys):
    shown = {
        "imdb_sentiment": "test accuracy",
        "next_word": "held-out perplexity",
        "memory": "longest lag solved, adding, custom",
    }
    for experiment, measure in shown.items():
        summarise.main([str(folders[experiment].parent)])
        assert measure in capsys.readouterr().out
