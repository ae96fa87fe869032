"""Small runs of the experiments, made in this process as a user makes them."""

import importlib
import json
from pathlib import Path

import jsonschema

from experiments.common import command_line
from experiments.common.schema import schema

NAMES = (
    "imdb_sentiment",
    "next_word",
    "memory",
    "gate_dynamics",
    "compare_lstm",
    "speed",
    "ablation",
)
SMALL = {
    "imdb_sentiment": "--data embedded --limit 80 --maxlen 30 --units 6 --epochs 2",
    "memory": """--tasks order --lags 5 --layers simple_rnn --seeds 4 --units 3
        --steps 60 --check-every 20 --batch-size 8 --test-size 20
        --learning-rates 0.01""",
}


def experiment(name: str):
    """Return an experiment by its name."""
    return importlib.import_module(f"experiments.{name}.settings").EXPERIMENT


def main(name: str, *argv) -> None:
    """Do what `python -m experiments.NAME` does."""
    command_line.main(experiment(name), [*map(str, argv)])


def make(name: str, output: Path, *argv, run: str = "one") -> Path:
    """Make a run whose metrics fit the schema, and return its folder."""
    main(name, *argv, "--output", output, "--name", run)
    folder = output / name / run
    assert schema_errors(folder) == []
    return folder


def metrics_of(folder: Path) -> dict:
    """Return what `metrics.json` of a run says."""
    return json.loads((folder / "metrics.json").read_text("utf-8"))


def schema_errors(run: Path | dict) -> list[str]:
    """Return in what a run, or its metrics, differs from its experiment's schema."""
    metrics = run if isinstance(run, dict) else metrics_of(run)
    validator = jsonschema.Draft202012Validator(schema(metrics["experiment"]))
    return [f"{one.json_path}: {one.message}" for one in validator.iter_errors(metrics)]
