"""Run the command of a finished run again, and compare the results."""

import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path

from experiments.common import command_line, options, resume
from experiments.common.experiment import Experiment
from experiments.common.files import read_json
from experiments.common.result import metrics_type, varying_names
from experiments.common.settings import backend

# The options that two runs of one command may differ in.
ALLOWED = ("name", "output", "overwrite")

# Of `layers.engine_facts`: prose, which another version words differently.
REASONS = {"passed over in training", "passed over in prediction"}


def repeated(experiment: Experiment, chosen, argv: Sequence[str]) -> tuple:
    """Return the settings and the command of a run that repeats a finished one.

    `chosen` are the settings on the command line `argv`, with `repeat`.

    Raises:
        FileNotFoundError: There is no finished run.
        ValueError: It is a run of another experiment, or other options were given.
    """
    given = resume.check_alone(experiment, argv, "repeat", ALLOWED)
    path = resume.folder_of(experiment, chosen.repeat)
    if not path.is_dir():
        raise FileNotFoundError(
            f"expected a finished run to repeat; there is none at {path}"
        )
    config, metrics = (
        read_json(path / f"{name}.json") for name in ("config", "metrics")
    )
    if metrics.get("interrupted"):
        raise ValueError(f"expected a finished run to repeat; {path} was interrupted")
    _check_backend(metrics)
    places = {
        "output": str(path.parent.parent),
        "name": f"{path.name}-repeated",
        "overwrite": False,
    } | {name: getattr(chosen, name) for name in given}
    place = Path(places["output"], experiment.name, places["name"])
    if place.resolve() == path.resolve():
        raise ValueError(
            "expected another --name than that of the run to compare with; received "
            f"{places['name']}"
        )
    settings = resume.read_settings(experiment, config, path)
    # The new run's command is the earlier one's, without --repeat.
    settings = dataclasses.replace(settings, **places, repeat=None)
    words = options.arguments(type(settings), dataclasses.asdict(settings))
    repeating = dataclasses.replace(settings, repeat=str(path.absolute()))
    return repeating, command_line.command(experiment.name, words)


def equal_results(experiment: Experiment, earlier: str, path: Path) -> bool:
    """Return whether a repeated run has the results of the earlier one, and print it.

    Raises:
        SystemExit: The earlier run was deleted in the meantime.
    """
    try:
        before = read_json(Path(earlier, "metrics.json"))
    except (OSError, ValueError) as error:
        sys.exit(
            f"error: expected {earlier} to compare with {path}, which is finished; "
            f"received {error}"
        )
    varying = varying_names(metrics_type(experiment.run_function())) | REASONS
    lines = compared(before, read_json(path / "metrics.json"), varying)
    print(f"\nCompared with {earlier}:", *lines, sep="\n")
    return len(lines) == 1


def compared(earlier: Mapping, later: Mapping, varying: Set[str]) -> list[str]:
    """Compare the `metrics.json` of two runs, but for `varying` metrics such as times.

    Returns:
        A line if the results are equal, else a line for each difference after another.
    """
    before, after = dict(_leaves(earlier, varying)), dict(_leaves(later, varying))
    lines = [
        f"  {name}: {before.get(name)} before, {after.get(name)} now"
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    ]
    if not lines:
        return [f"all {len(before)} results are equal, to the last digit"]
    old, new = (
        dict(_leaves(one.get("environment", {}), ())) for one in (earlier, later)
    )
    changed = sorted({name for name, _ in old.items() ^ new.items()})
    why = (
        f"the environment differs in {', '.join(changed)}"
        if changed
        else "the environment is the same"
    )
    return [f"{len(lines)} of {len(before)} results differ; {why}", *lines]


def _leaves(value, skipped: Set[str], name: str = "") -> Iterator[tuple[str, object]]:
    """Yield every number and string in nested dicts and lists, with its path."""
    if isinstance(value, Mapping):
        inner = ((str(key), one) for key, one in value.items() if key not in skipped)
    elif isinstance(value, list):
        inner = ((str(index), one) for index, one in enumerate(value))
    else:
        yield name, value
        return
    for key, one in inner:
        yield from _leaves(one, skipped, f"{name}.{key}" if name else key)


def _check_backend(metrics: Mapping) -> None:
    needed = metrics.get("environment", {}).get("backend")
    if needed != backend():
        raise ValueError(
            f"expected the backend of the run, KERAS_BACKEND={needed}; received "
            f"{backend()}"
        )
