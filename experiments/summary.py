"""Runs that differ in their seeds alone, taken together; and two such sets, paired."""

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.whole_files import read_json

# Settings that say which seeds there are, where results go and how they are computed,
# not what was learned.
ASIDE = {
    *("experiment", "seed", "seeds", "output", "name", "overwrite", "repeat"),
    *("checkpoint_seconds", "jobs", "ray", "quick", "baselines"),
}

# By measure where it stands in what `metrics.json` says of a trained model.
SENTIMENT = {
    "validation accuracy": ("validation", "accuracy"),
    "validation log loss": ("validation", "log_loss"),
    "test accuracy": ("test", "accuracy"),
    "test F1": ("test", "f1"),
    "test ROC AUC": ("test", "roc_auc"),
    "test log loss": ("test", "log_loss"),
}
NEXT_WORD = {
    "training perplexity": ("train", "perplexity"),
    "training top-1 accuracy": ("train", "accuracy"),
    "held-out perplexity": ("held_out", "perplexity"),
    "held-out top-1 accuracy": ("held_out", "accuracy"),
    "held-out top-5 accuracy": ("held_out", "top5_accuracy"),
}


@dataclass(frozen=True)
class Run:
    """A run folder: what was asked for, and what the numbers depend on.

    Attributes:
        path: The folder.
        experiment: Which script made it.
        settings: What was learned and how, by option, without those that are None;
            and the `backend`.
        facts: In what runs that are compared should not differ, by name, as text.
    """

    path: Path
    experiment: str
    settings: dict
    facts: dict[str, str]


@dataclass(frozen=True)
class Trial:
    """What one seed of a run achieved.

    Attributes:
        run: The run.
        seed: The seed.
        interrupted: Whether it ended early.
        values: By measure; None where there is none.
        fingerprint: Of the data; None where it is not known.
    """

    run: Run
    seed: int
    interrupted: bool
    values: dict[str, float | None]
    fingerprint: str | None


@dataclass(frozen=True)
class Group:
    """Trials with the same settings."""

    settings: dict
    trials: list[Trial]


def find_runs(places: Iterable[str]) -> list[Path]:
    """Return the run folders that are, or lie directly in, some places.

    Raises:
        FileNotFoundError: There is none at or in one of them.
    """
    found = {}
    for place in map(Path, places):
        inside = [place] if _is_run(place) else sorted(filter(_is_run, _folders(place)))
        if not inside:
            raise FileNotFoundError(
                "expected a run folder or a folder of runs; received "
                f"{place}, where no metrics.json is"
            )
        found |= {path.resolve(): path for path in inside}
    return list(found.values())


def _is_run(path: Path) -> bool:
    return (path / "metrics.json").is_file()


def _folders(place: Path) -> list[Path]:
    """Return a folder's folders, but for hidden ones: runs that are not finished."""
    if not place.is_dir():
        return []
    return [path for path in place.iterdir() if not path.name.startswith(".")]


def read_trials(paths: Iterable[Path]) -> list[Trial]:
    """Return what the runs of some folders achieved.

    Raises:
        FileNotFoundError: A file of a run is missing.
        ValueError: A file is broken, or of an experiment that is not summarised, or
            there are several experiments.
    """
    trials = [trial for path in paths for trial in _trials_of(path)]
    kinds = {trial.run.experiment: trial.run.path for trial in trials}
    if len(kinds) > 1:
        named = ", ".join(f"{kind} in {path}" for kind, path in kinds.items())
        raise ValueError(f"expected runs of one experiment; received {named}")
    return trials


def _trials_of(path: Path) -> list[Trial]:
    for name in ("config.json", "metrics.json"):
        if not (path / name).is_file():
            raise FileNotFoundError(f"expected {name} in a run; {path} has none")
    config, metrics = read_json(path / "config.json"), read_json(path / "metrics.json")
    experiment = metrics.get("experiment")
    if experiment not in _READERS:
        raise ValueError(
            f"expected runs of {', '.join(_READERS)}; received {experiment!r} in {path}"
        )
    try:
        run = _run(path, config, metrics)
        return _READERS[experiment](run, config, metrics)
    except (
        *(KeyError, TypeError, IndexError, AttributeError, ValueError, OSError),
        csv.Error,
    ) as error:
        raise ValueError(
            f"expected what {experiment} writes in {path}; received "
            f"{type(error).__name__}: {error}"
        ) from error


def _run(path: Path, config: dict, metrics: dict) -> Run:
    environment, engine = metrics["environment"], metrics["engine"]
    settings = {
        name: value
        for name, value in config.items()
        if name not in ASIDE and value is not None
    }
    paths = [text for key, text in engine.items() if "passed over" not in key]
    return Run(
        path=path,
        experiment=metrics["experiment"],
        settings={**settings, "backend": environment["backend"]},
        facts={
            "engine": ", ".join(paths),
            "python": environment["python"],
            **environment["versions"],
            "git commit": environment.get("git_commit") or "unknown",
        },
    )


def _sentiment(run: Run, config: dict, metrics: dict) -> list[Trial]:
    data = metrics["data"].get("fingerprint")
    return [
        Trial(run, one["seed"], one["interrupted"], _values(one, SENTIMENT), data)
        for one in metrics["runs"]
    ]


def _next_word(run: Run, config: dict, metrics: dict) -> list[Trial]:
    values = _values(metrics["results"][0], NEXT_WORD)
    data = metrics["data"].get("fingerprint")
    return [Trial(run, config["seed"], metrics["interrupted"], values, data)]


def _memory(run: Run, config: dict, metrics: dict) -> list[Trial]:
    """Return for each seed the longest lags that it solved, 0 for none.

    `results.csv` has every training; `metrics.json` says which learning rates count.
    """
    where = ("task", "layer", "lag", "learning_rate")
    chosen = {tuple(str(cell[key]) for key in where) for cell in metrics["cells"]}
    with (run.path / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rows = [row for row in rows if tuple(row[key] for key in where) in chosen]
    measures = [
        _longest_lag(task, layer)
        for task, layers in metrics["longest"].items()
        for layer in layers
    ]
    longest = {int(row["seed"]): dict.fromkeys(measures, 0) for row in rows}
    for row in rows:
        if row["solved"] == "True":
            values = longest[int(row["seed"])]
            measure = _longest_lag(row["task"], row["layer"])
            values[measure] = max(values[measure], int(row["lag"]))
    interrupted = metrics.get("interrupted", False)
    # The fingerprint is that of the first seed's data.
    data = {config["seed"]: metrics["data"].get("fingerprint")}
    return [
        Trial(run, seed, interrupted, values, data.get(seed))
        for seed, values in longest.items()
    ]


def _longest_lag(task: str, layer: str) -> str:
    return f"longest lag solved, {task}, {layer}"


_READERS = {"imdb_sentiment": _sentiment, "next_word": _next_word, "memory": _memory}


def _values(found: dict, measures: dict) -> dict[str, float | None]:
    return {
        name: None if found[part] is None else _checked(found[part][key])
        for name, (part, key) in measures.items()
    }


def _checked(value):
    """Return a result, a finite number or None.

    Raises:
        ValueError: It is something else.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is None or (number and math.isfinite(value)):
        return value
    raise ValueError(f"{value!r} instead of a number")


def groups(trials: Iterable[Trial]) -> list[Group]:
    """Return the trials by what was learned and how, in the order in which they come.

    With imdb_sentiment that includes the data. In the other experiments the seed
    chooses what is held out, or makes the data.
    """
    found: list[Group] = []
    for trial in trials:
        settings = trial.run.settings
        if trial.run.experiment == "imdb_sentiment":
            fingerprint = trial.fingerprint or "unknown"
            settings = settings | {"data fingerprint": fingerprint[:19]}
        same = next((group for group in found if group.settings == settings), None)
        if same is None:
            found.append(same := Group(settings, []))
        same.trials.append(trial)
    return found


def only_group(trials: Sequence[Trial]) -> Group:
    """Return the group of trials that belong together.

    Raises:
        ValueError: Their settings differ.
    """
    found = groups(trials)
    if len(found) > 1:
        names = differing([group.settings for group in found])
        paths = dict.fromkeys(str(trial.run.path) for trial in trials)
        raise ValueError(
            "expected runs of equal settings on each side of --against; received some "
            f"that differ in {', '.join(names)}: {', '.join(paths)}"
        )
    return found[0]


def differing(settings: Sequence[dict]) -> list[str]:
    """Return the names of the settings in which some differ."""
    names = dict.fromkeys(name for one in settings for name in one)
    return [
        name
        for name in names
        if any(one.get(name) != settings[0].get(name) for one in settings)
    ]


def facts_that_differ(runs: Iterable[Run]) -> str:
    """Return in what of `Run.facts` some runs differ, with the values; or ""."""
    facts = [run.facts for run in runs]
    return "; ".join(
        f"{name} {' / '.join(dict.fromkeys(one.get(name, 'none') for one in facts))}"
        for name in differing(facts)
    )


def counted(trials: Iterable[Trial], include_interrupted: bool) -> list[Trial]:
    """Return the trials that count, in the order of their seeds.

    Raises:
        ValueError: A seed is there twice.
    """
    found: dict[int, Trial] = {}
    for trial in trials:
        if trial.interrupted and not include_interrupted:
            continue
        if trial.seed in found:
            raise ValueError(
                "expected each seed once among runs of equal settings; received seed "
                f"{trial.seed} in {found[trial.seed].run.path} and in {trial.run.path}"
            )
        found[trial.seed] = trial
    return [found[seed] for seed in sorted(found)]


def pairs(first: Sequence[Trial], second: Sequence[Trial]) -> list[tuple[Trial, Trial]]:
    """Return the trials of equal seeds.

    Raises:
        ValueError: No seed is in both, or those of a seed are of different data.
    """
    partners = {trial.seed: trial for trial in second}
    paired = [(one, partners[one.seed]) for one in first if one.seed in partners]
    if not paired:
        seeds = [[trial.seed for trial in trials] for trials in (first, second)]
        raise ValueError(
            f"expected a seed that both sets have; received {seeds[0]} and {seeds[1]}"
        )
    for one, other in paired:
        prints = [one.fingerprint, other.fingerprint]
        if None not in prints and prints[0] != prints[1]:
            raise ValueError(
                "expected two sets of runs on the same data; received, with seed "
                f"{one.seed}, {prints[0]} in {one.run.path} and {prints[1]} in "
                f"{other.run.path}"
            )
    return paired
