"""Find finished runs and read what they achieved, with a row for each seed."""

import csv
import dataclasses
import importlib
import math
import os
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

import experiments
from experiments.common.files import read_json

BROKEN = (KeyError, TypeError, IndexError, AttributeError, ValueError, OSError)


def find(places: Iterable[str]) -> list[Path]:
    """Return the runs at or below some places, each once.

    Hidden folders, in which runs are made, are left out.

    Raises:
        FileNotFoundError: There is none in one of them.
    """
    found = {}
    for place in places:
        inside = []
        for folder, below, files in os.walk(place):
            below[:] = sorted(name for name in below if not name.startswith("."))
            if "metrics.json" in files:
                inside.append(Path(folder))
                below.clear()
        if not inside:
            raise FileNotFoundError(
                f"expected a run or a folder with runs; received {place!r}, where "
                "there is no metrics.json"
            )
        found |= {path.resolve(): path for path in inside}
    return list(found.values())


def read(paths: Iterable[Path]) -> pd.DataFrame:
    """Return what the runs of one experiment achieved.

    Returns:
        A row for each seed of each run, and columns in four parts: `trial`, with
        `experiment`, `run`, `seed`, `interrupted` and `fingerprint`; `setting`, all
        that makes runs different things, as text; `fact`, what should not differ
        between runs that are compared; and `measure`.

    Raises:
        FileNotFoundError: A file of a run is missing.
        ValueError: A file is broken, or of an experiment that is not summarised, or
            there are several experiments.
    """
    rows = [row for path in paths for row in _rows(path)]
    if not rows:
        raise ValueError("expected a run with at least one seed; received none")
    parts = {part: pd.DataFrame(row[part] for row in rows) for part in rows[0]}
    kinds = parts["trial"].groupby("experiment")["run"].first()
    if len(kinds) > 1:
        named = ", ".join(f"{kind} in {path}" for kind, path in kinds.items())
        raise ValueError(f"expected runs of one experiment; received {named}")
    parts["setting"] = parts["setting"].fillna("")
    parts["fact"] = parts["fact"].fillna("none")
    parts["measure"] = parts["measure"].astype(float)
    return pd.concat(parts, axis=1)


def _rows(path: Path) -> list[dict[str, dict]]:
    for name in ("config.json", "metrics.json"):
        if not (path / name).is_file():
            raise FileNotFoundError(f"expected {name} in a run; {path} has none")
    config, metrics = read_json(path / "config.json"), read_json(path / "metrics.json")
    experiment, known = metrics.get("experiment"), _with_measures()
    if experiment not in known:
        raise ValueError(
            f"expected runs of {', '.join(known)}; received {experiment!r} in {path}"
        )
    measures = importlib.import_module(f"experiments.{experiment}.measures")
    try:
        settings, facts = _settings(experiment, config, metrics), _facts(metrics)
        return [
            {
                "trial": {
                    "experiment": experiment,
                    "run": str(path),
                    "seed": _seed(one.seed),
                    "interrupted": bool(one.interrupted),
                    "fingerprint": one.fingerprint,
                },
                "setting": settings
                if measures.SEED_CHOOSES_DATA
                else settings
                | {"data fingerprint": (one.fingerprint or "unknown")[:19]},
                "fact": facts,
                "measure": {name: _number(n) for name, n in one.values.items()},
            }
            for one in measures.trials(path, config, metrics)
        ]
    except (*BROKEN, csv.Error) as error:
        raise ValueError(
            f"expected what {experiment} writes in {path}; received "
            f"{type(error).__name__}: {error}"
        ) from error


def _with_measures() -> list[str]:
    """Return the names of the experiments whose runs can be summarised."""
    folders = map(Path, experiments.__path__)
    return sorted(p.parent.name for one in folders for p in one.glob("*/measures.py"))


def _settings(experiment: str, config: dict, metrics: dict) -> dict[str, str]:
    """Return the settings that make runs different things, and are not None.

    Those that this version does not know are among them.
    """
    module = importlib.import_module(f"experiments.{experiment}.settings")
    fields = dataclasses.fields(module.EXPERIMENT.settings)
    aside = {field.name for field in fields if not field.metadata["compared"]}
    found = config | {"backend": metrics["environment"]["backend"]}
    return {
        name: str(value)
        for name, value in found.items()
        if name not in {"experiment", *aside} and value is not None
    }


def _facts(metrics: dict) -> dict[str, str]:
    environment, engine = metrics["environment"], metrics["engine"]
    chosen = [text for key, text in engine.items() if "passed over" not in key]
    facts = {
        "engine": ", ".join(chosen),
        "python": environment["python"],
        **environment["versions"],
        "git commit": environment.get("git_commit") or "unknown",
    }
    return {name: str(value) for name, value in facts.items()}


def _seed(value) -> int:
    if type(value) is int:
        return value
    raise ValueError(f"{value!r} instead of a seed")


def _number(value) -> float | None:
    if value is None or (type(value) in (int, float) and math.isfinite(value)):
        return value
    raise ValueError(f"{value!r} instead of a number")
