"""Run the command of a finished run again, and compare the results."""

import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path

from experiments.common import command_line, options, resume
from experiments.common.experiment import Experiment
from experiments.common.files import read_json
from experiments.common.result import metrics_type, varying_names

# The options that two runs of one command may differ in.
ALLOWED = ("name", "output", "overwrite")

# Of `layers.engine_facts`: prose, which another version words differently.
REASONS = {"passed over in training", "passed over in prediction"}


def repeated(experiment: Experiment, chosen, argv: Sequence[str]) -> tuple:
    """Return the settings and the command that make a finished run again.

    Args:
        experiment: The experiment.
        chosen: The settings of the command line, with `repeat`.
        argv: The command line.

    Raises:
        FileNotFoundError: There is no finished run.
        ValueError: It is no run of this experiment, or other options were given.
    """
    given = resume.check_alone(experiment, argv, "repeat", ALLOWED)
    path = resume.folder_of(experiment, chosen.repeat)
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
    # The command is that of the run, without what it is compared with.
    settings = dataclasses.replace(settings, **places, repeat=None)
    words = options.arguments(type(settings), dataclasses.asdict(settings))
    repeating = dataclasses.replace(settings, repeat=str(path.absolute()))
    return repeating, command_line.command(experiment.name, words)


def equal_results(experiment: Experiment, earlier: str, path: Path) -> bool:
    """Compare a repeated run with the earlier one, and print how they compare.

    Raises:
        SystemExit: The earlier run has gone in the meantime.
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
    """Return how the results of two runs compare, in lines; one if they are equal.

    Args:
        earlier: What the `metrics.json` of the one contains.
        later: The same of the other.
        varying: Names of metrics that are not compared, such as times.
    """
    before, after = dict(_leaves(earlier, varying)), dict(_leaves(later, varying))
    lines = [
        f"  {name}: {before.get(name)} before, {after.get(name)} now"
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    ]
    if not lines:
        return [f"all {len(before)} results are equal, to the last digit"]
    old, new = (dict(_leaves(one["environment"], ())) for one in (earlier, later))
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
    from experiments.common.environment import backend

    needed = metrics["environment"]["backend"]
    if needed != backend():
        raise ValueError(
            f"expected the backend of the run, KERAS_BACKEND={needed}; received "
            f"{backend()}"
        )
