"""The runs of a sweep: which there are, what each still needs, and their table."""

import dataclasses
import importlib
import itertools
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from experiments.common import options, processes
from experiments.common.experiment import Experiment
from experiments.common.files import read_json
from experiments.common.run_folder import origin_of, run_path
from experiments.common.terminal import duration
from experiments.summarise import command_line as summarise
from experiments.sweep.command_line import Settings

EXPERIMENTS = ("imdb_sentiment", "next_word")

# The options that the sweep chooses for each of its runs.
CHOSEN = {
    "recipe",
    "seed",
    "seeds",
    "name",
    "output",
    "overwrite",
    "resume",
    "repeat",
}


def sweep(settings: Settings, name: str | None, common: Sequence[str]) -> None:
    """Make the runs that are missing, and print the table.

    Args:
        settings: The settings of the sweep.
        name: The experiment.
        common: Options of every run.

    Raises:
        ValueError: The options are not those of the experiment, or a run of that name
            was made with others.
        SystemExit: With status 1 if a run failed.
    """
    if name not in EXPERIMENTS:
        received = "no experiment" if name is None else repr(name)
        raise ValueError(
            f"expected {' or '.join(EXPERIMENTS)} as the first word; received "
            f"{received}{options.did_you_mean(name or '', EXPERIMENTS)}"
        )
    if settings.name is None:
        raise ValueError("expected --name, with which the runs' names begin")
    experiment = load(name)
    wanted = command_lines(settings, experiment, common)
    commands = {
        path.name: ("experiments.sweep.worker", name, *argv)
        for path, argv in wanted.items()
        if remaining(experiment, argv)
    }
    print(f"{len(wanted)} runs, {len(wanted) - len(commands)} of them finished")
    failed, begun = [], time.perf_counter()
    ended = processes.run_all(commands, settings.jobs, settings.ray)
    try:
        for count, one in enumerate(ended, start=1):
            how = one.how if one.status else "done"
            passed = time.perf_counter() - begun
            rest = time_left(passed, count, len(commands), settings.jobs)
            print(f"{count}/{len(commands)}  {one.name} {how}{rest}", flush=True)
            failed += [one.name] if one.status else []
    except KeyboardInterrupt:
        print("\nThe same command resumes the sweep.")
        raise
    finished = [str(path) for path in wanted if (path / "metrics.json").is_file()]
    if finished:
        summarise.main(finished)
    if failed:
        print(f"\nNot finished: {', '.join(failed)}; the same command resumes them.")
        sys.exit(1)


def time_left(passed: float, count: int, total: int, jobs: int) -> str:
    """Return "; about N min left", as if all runs took equally long, or "".

    Args:
        passed: Seconds since the first run began.
        count: Number of runs that have ended.
        total: Number of runs.
        jobs: Number of runs at a time.
    """
    rounds, ended = math.ceil(total / jobs), math.ceil(count / jobs)
    if rounds == ended:
        return ""
    return f"; about {duration(passed / ended * (rounds - ended))} left"


def load(name: str) -> Experiment:
    """Return an experiment, without Keras."""
    return importlib.import_module(f"experiments.{name}.settings").EXPERIMENT


def command_lines(
    settings: Settings, experiment: Experiment, common: Sequence[str]
) -> dict[Path, list[str]]:
    """Return the folder of each run, and its command line.

    Raises:
        ValueError: A recipe is unknown, or an option is one that the sweep chooses.
    """
    recipes = options.names(settings.recipes, tuple(experiment.recipes), "--recipes")
    experiment.parse(common)  # ends the program if they are wrong
    varied = {name for one in variations(settings.vary, experiment) for name in one}
    if chosen := options.given(experiment.settings, common) & (CHOSEN | varied):
        raise ValueError(
            "expected no options after -- that the sweep chooses; received "
            f"{', '.join(map(options.flag_of, sorted(chosen)))}"
        )
    found = {}
    seeds = range(settings.seed, settings.seed + settings.seeds)
    for recipe, varied, seed in itertools.product(
        recipes, variations(settings.vary, experiment), seeds
    ):
        name = "-".join([settings.name, recipe, *varied.values(), str(seed)])
        path = run_path(settings.output, experiment.name, name)
        places = (f"--output={settings.output}", f"--name={name}")
        more = [f"{options.flag_of(name)}={value}" for name, value in varied.items()]
        found[path] = [f"--recipe={recipe}", f"--seed={seed}", *places, *more, *common]
        experiment.parse(found[path])
    return found


def variations(text: str | None, experiment: Experiment) -> list[dict[str, str]]:
    """Return the option that `--vary` names with each of its values; or nothing, once.

    Raises:
        ValueError: The experiment has no such option, the sweep chooses it, or there is
            no value, or one is there twice.
    """
    if text is None:
        return [{}]
    name, _, values = text.partition("=")
    name = name.strip().lstrip("-").replace("-", "_")
    known = {
        field.name
        for field in dataclasses.fields(experiment.settings)
        if field.type not in (bool, "bool")
    } - CHOSEN
    found = [value.strip() for value in values.split(",")]
    if name not in known:
        raise ValueError(
            f"expected an option of {experiment.name} and its values in --vary, such "
            f"as learning-rate=0.001,0.002; received {text!r}"
            f"{options.did_you_mean(name, sorted(known))}"
        )
    if not all(found) or len({*found}) < len(found):
        raise ValueError(
            f"expected different values after {name}= in --vary; received {values!r}"
        )
    return [{name: value} for value in found]


def remaining(experiment: Experiment, argv: Sequence[str]) -> Sequence[str]:
    """Return what a run still needs: its command line, `--resume RUN`, or nothing.

    Raises:
        ValueError: There is a run of that name that was made with other options.
    """
    chosen = experiment.parse(argv).checked()
    path = run_path(chosen.output, experiment.name, chosen.name)
    try:
        begun, command = origin_of(path)["settings"], ("--resume", str(path))
    except FileNotFoundError:
        if not path.exists():
            return argv
        begun, command = read_json(path / "config.json"), ()
    differ = [
        field.name
        for field in dataclasses.fields(chosen)
        if (field.metadata["compared"] or field.name == "seed")
        and field.name in begun
        and begun[field.name] != getattr(chosen, field.name)
    ]
    if differ:
        raise ValueError(
            f"expected {path} to be a run of this sweep; it was made with another "
            f"{', '.join(differ)} (choose another --name)"
        )
    return command
