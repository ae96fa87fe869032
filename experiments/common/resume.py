"""Continue an interrupted or killed run with its own settings."""

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path

from experiments.common import options
from experiments.common.experiment import Experiment
from experiments.common.files import read_json
from experiments.common.run_folder import ORIGIN, origin_of

# The options that may differ from the run's: they change no result.
PROCESSES = ("coordinator", "processes", "process")
ALLOWED = ("jobs", "ray", "checkpoint_seconds", *PROCESSES)


def resumed(experiment: Experiment, chosen, argv: Sequence[str]) -> tuple:
    """Return the settings and the command of the run to continue.

    `chosen` are the settings on the command line `argv`, with `resume`.

    Raises:
        FileNotFoundError: There is no unfinished run.
        ValueError: It is a run of another experiment, or other options were given.
    """
    given = check_alone(experiment, argv, "resume", ALLOWED)
    path = folder_of(experiment, chosen.resume)
    origin = origin_of(path)
    settings = read_settings(experiment, origin["settings"], path)
    places = {"output": str(path.parent.parent), "name": path.name}
    anew = {name: getattr(chosen, name) for name in given}
    settings = dataclasses.replace(settings, **places, **anew, resume=chosen.resume)
    return settings, origin["command"]


def settings_of(experiment: Experiment, checkpoints: Path):
    """Return the settings of the run whose checkpoints are in a folder.

    Raises:
        FileNotFoundError: There is no such run.
        ValueError: Its settings can't be read.
    """
    origin = read_json(checkpoints / ORIGIN)
    return read_settings(experiment, origin.get("settings"), checkpoints)


def command_for(metrics, path: Path) -> str:
    """Return the command that continues an interrupted run."""
    variables = metrics.command.partition("python -m ")[0]
    run = shlex.quote(str(path))
    return f"{variables}python -m experiments.{metrics.experiment} --resume {run}"


def check_alone(
    experiment: Experiment, argv: Sequence[str], name: str, allowed: Sequence[str]
) -> set[str]:
    """Return the other options that were given, and refuse those that are not allowed.

    Raises:
        ValueError: One of them is not.
    """
    given = options.given(experiment.settings, argv) - {name}
    if refused := sorted(given - set(allowed)):
        raise ValueError(
            f"--{name} takes its options from the run; remove "
            f"{', '.join(map(options.flag_of, refused))}"
        )
    return given


def folder_of(experiment: Experiment, run: str) -> Path:
    """Return the folder of a run that a user names.

    Raises:
        ValueError: Its parent folder is not that of the experiment.
    """
    path = Path(run)
    if len(path.parts) < 2 or ".." in path.parts:
        path = path.resolve()
    if path.absolute().parent.name != experiment.name:
        raise ValueError(
            f"expected a run of {experiment.name}, OUTPUT/{experiment.name}/NAME; "
            f"received {run}"
        )
    return path


def read_settings(experiment: Experiment, values, path: Path):
    """Read the settings of a run as strictly as a command line.

    Raises:
        ValueError: They are not settings of this version.
    """
    names = {field.name for field in dataclasses.fields(experiment.settings)}
    if not isinstance(values, dict) or set(values) - {"experiment"} - names:
        raise ValueError(
            f"expected the settings of a run of this version in {path}; received "
            f"{values!r:.200}"
        )
    return options.parse(
        experiment.settings,
        options.arguments(experiment.settings, values),
        program=f"the settings of {path}",
    )
