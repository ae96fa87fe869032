"""Earlier runs: one goes on, or is made again and compared."""

import dataclasses
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from experiments import runner
from experiments.run_folder import ORIGIN, origin_of
from experiments.runner import option
from experiments.whole_files import read_json

# What may differ between two runs of one command.
PLACES = ("name", "output", "overwrite")
# What may be chosen anew when a run goes on.
WAYS = ("jobs", "ray", "checkpoint_seconds")
PASSING = {
    *("name", "command", "environment", "seconds", "training_seconds", "ending"),
    "speed",
}


def resume_option():
    """Declare `--resume`, a field of an experiment's settings."""
    return option(
        None,
        "the folder of an interrupted or killed run, to go on with: its options hold, "
        "but for --checkpoint-seconds, and --jobs and --ray where there are such",
        group="earlier runs",
    )


def repeat_option():
    """Declare `--repeat`, likewise."""
    return option(
        None,
        "the folder of a finished run, to do its command again and compare the "
        "results: its options hold, but for --name, --output and --overwrite",
        group="earlier runs",
    )


def checkpoint_option():
    """Declare `--checkpoint-seconds`, likewise."""
    return option(
        60.0,
        "a training is kept for --resume after each epoch, and within one so often",
        group="earlier runs",
        least=0,
    )


def resumed(chosen, argv: Sequence[str], experiment: str) -> tuple:
    """Return the settings and the command of the run to go on with.

    Args:
        chosen: The settings of the command line, with `resume`.
        argv: The command line.
        experiment: The script's name.

    Raises:
        FileNotFoundError: There is no unfinished run.
        ValueError: It is no run of this experiment, or other options were given.
    """
    given = _check_alone(chosen, argv, "resume", WAYS)
    path = _run_of(experiment, chosen.resume)
    origin = origin_of(path)
    settings = _settings(type(chosen), origin.get("settings"), path)
    places = {"output": str(path.parent.parent), "name": path.name}
    places |= {name: getattr(chosen, name) for name in given}
    return (
        dataclasses.replace(settings, **places, resume=chosen.resume),
        origin["command"],
    )


def settings_of(kind: type, checkpoint: Path):
    """Return the settings of the run that has this folder as its checkpoint.

    Raises:
        FileNotFoundError: There is none.
        ValueError: They can't be read.
    """
    origin = read_json(checkpoint / ORIGIN)
    return _settings(kind, origin.get("settings"), checkpoint)


def repeated(chosen, argv: Sequence[str], experiment: str) -> tuple:
    """Return settings and command that do a finished run again.

    Args:
        chosen: The settings of the command line, with `repeat`.
        argv: The command line.
        experiment: The script's name.

    Raises:
        FileNotFoundError: There is no finished run.
        ValueError: It is no run of this experiment, or other options were given.
    """
    given = _check_alone(chosen, argv, "repeat", PLACES)
    path = _run_of(experiment, chosen.repeat)
    config, metrics = (
        read_json(path / f"{name}.json") for name in ("config", "metrics")
    )
    if metrics.get("interrupted"):
        raise ValueError(f"expected a finished run to repeat; {path} was interrupted")
    _check_backend(metrics)
    settings = _settings(type(chosen), config, path)
    places = {name: getattr(chosen, name) for name in given}
    places.setdefault("output", str(path.parent.parent))
    places.setdefault("name", f"{path.name}-repeated")
    places.setdefault("overwrite", False)
    if Path(places["output"], experiment, places["name"]).resolve() == path.resolve():
        raise ValueError(
            f"expected another --name than that of the run to compare with; received "
            f"{places['name']}"
        )
    # The command is that of the run, without what it is compared with.
    settings = dataclasses.replace(settings, **places, repeat=None)
    words = runner.arguments(type(settings), dataclasses.asdict(settings))
    repeating = dataclasses.replace(settings, repeat=str(path.absolute()))
    return repeating, runner.command_line(experiment, words)


def end(path: Path | None, repeated: str | None) -> None:
    """Compare a repeated run with the earlier one, and end with a fitting status.

    Args:
        path: The run that ended; None if there was none.
        repeated: The earlier run, if it repeats one.

    Raises:
        SystemExit: With 130 if the run was interrupted, with 1 if its results are
            others than those of the earlier run, or if it says itself that something
            failed: a seed that diverged, layers that are not equal.
    """
    if path is None:
        return
    metrics = read_json(path / "metrics.json")
    if metrics.get("interrupted"):
        print(f"Go on with: {_resume_command(metrics, path)}")
        sys.exit(runner.INTERRUPTED)
    lines = []
    if repeated is not None:
        try:
            before = read_json(Path(repeated, "metrics.json"))
        except (OSError, ValueError) as error:  # it is gone since
            sys.exit(
                f"error: expected {repeated} to compare with {path}, which is "
                f"finished; received {error}"
            )
        lines = compared(before, metrics)
        print(f"\nCompared with {repeated}:", *lines, sep="\n")
    unequal = metrics.get("equality", {}).get("failed")
    if len(lines) > 1 or metrics.get("ending") or unequal:
        sys.exit(1)


def compared(earlier: dict, later: dict) -> list[str]:
    """Return how the results of two runs compare, in lines; one if they are equal.

    Args:
        earlier: What its `metrics.json` says.
        later: The same of the other.
    """
    before, after = dict(_results(earlier)), dict(_results(later))
    lines = [
        f"  {name}: {before.get(name)} before, {after.get(name)} now"
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    ]
    if not lines:
        return [f"all {len(before)} results are equal, to the last digit"]
    changed = (
        dict(_leaves(earlier["environment"])).items()
        ^ dict(_leaves(later["environment"])).items()
    )
    why = ", ".join(sorted({name for name, _ in changed})) or "nothing"
    head = f"{len(lines)} of {len(before)} results differ; of the environment {why} did"
    return [head, *lines]


def _results(metrics: dict) -> Iterator[tuple[str, object]]:
    return _leaves({k: v for k, v in metrics.items() if k not in PASSING})


def _leaves(value, name: str = "") -> Iterator[tuple[str, object]]:
    """Every number and word in nested dicts and lists, with the way to it."""
    if isinstance(value, dict):
        inner = ((str(key), one) for key, one in value.items() if key not in PASSING)
    elif isinstance(value, list):
        inner = ((str(index), one) for index, one in enumerate(value))
    else:
        yield name, value
        return
    for key, one in inner:
        yield from _leaves(one, f"{name}.{key}" if name else key)


def _check_alone(chosen, argv, name: str, allowed: Sequence[str]) -> set[str]:
    given = runner.given(type(chosen), argv) - {name}
    if others := given - set(allowed):
        flags = ", ".join(f"--{one.replace('_', '-')}" for one in sorted(others))
        raise ValueError(
            f"expected --{name} without options that the run has already; received "
            f"{flags}"
        )
    return given


def _run_of(experiment: str, run: str) -> Path:
    path = Path(run)
    if len(path.parts) < 2 or ".." in path.parts:
        path = path.resolve()
    if path.absolute().parent.name != experiment:
        raise ValueError(
            f"expected a run of {experiment}, OUTPUT/{experiment}/NAME; received {run}"
        )
    return path


def _check_backend(metrics: dict) -> None:
    import keras

    backend = metrics["environment"]["backend"]
    if backend != keras.backend.backend():
        raise ValueError(
            f"expected the backend of the run, KERAS_BACKEND={backend}; received "
            f"{keras.backend.backend()}"
        )


def _settings(kind: type, values, path: Path):
    """Read a run's settings as strictly as a command line."""
    names = {field.name for field in dataclasses.fields(kind)}
    if not isinstance(values, dict) or set(values) - {"experiment"} - names:
        raise ValueError(
            f"expected the settings of a run of this version in {path}; received "
            f"{values!r:.200}"
        )
    words = runner.arguments(kind, values)
    return runner.parse(kind, words, program=f"the settings of {path}", description="")


def _resume_command(metrics: dict, path: Path) -> str:
    variables = metrics["command"].partition("python -m ")[0]
    script, run = f"experiments.{metrics['experiment']}", shlex.quote(str(path))
    return f"{variables}python -m {script} --resume {run}"
