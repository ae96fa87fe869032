"""The lifecycle of a run: settings, folder, training, report, exit status.

Keras takes seconds to load, so the modules that need it are imported only after the
settings have been checked and the folder has been created.
"""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from experiments.common import processes, render, repeat, resume, signals
from experiments.common.command_line import command as command_of
from experiments.common.experiment import Experiment
from experiments.common.files import write_csv, write_json
from experiments.common.run_folder import (
    CHECKPOINT,
    RunFolder,
    begin,
    partial_path,
    run_path,
)
from experiments.common.terminal import stage, start_up_messages_held


class Context:
    """What the lifecycle gives to an experiment's `run`.

    Args:
        folder: The hidden folder of the run.
        config: The content of `config.json`.
        command: The command of the run.
        follows: Whether another process writes the run; see `follow`.

    Attributes:
        environment: Versions and machine, once `begin` has been called.
        checkpoints: The folder of the checkpoints, once `begin` has been called.
    """

    def __init__(
        self, folder: Path, config: Mapping, command: str, follows: bool = False
    ):
        self.folder, self.config, self.command = folder, config, command
        self.follows = follows
        self.environment = None
        self.checkpoints: Path | None = None

    def begin(self, data: Mapping, devices: Sequence[str] = ()) -> None:
        """Record versions and data, or check that a resumed run has the same.

        Args:
            data: Facts about the data, such as its fingerprint.
            devices: The devices that share each batch, if there are several.

        Raises:
            ValueError: The run was begun with other versions or data.
        """
        from experiments.common.environment import environment

        self.environment = environment(devices)
        if self.follows:
            self.checkpoints = self.folder / CHECKPOINT
            return
        self.checkpoints = begin(
            self.folder, self.config, self.command, self.environment, data
        )


def execute(experiment: Experiment, chosen, argv: Sequence[str]) -> int:
    """Execute the run of a command line, and return its exit status.

    `chosen` are the settings on the command line `argv`.

    Raises:
        ValueError: The settings contradict each other, or the data is invalid.
        OSError: A file or folder does not exist, or can't be written.
    """
    processes.end_with_starter()  # a job of a sweep is a run, too
    settings, command = chosen, command_of(experiment.name, argv)
    if getattr(chosen, "resume", None) is not None:
        settings, command = resume.resumed(experiment, chosen, argv)
    elif getattr(chosen, "repeat", None) is not None:
        settings, command = repeat.repeated(experiment, chosen, argv)
    settings = settings.named().checked()
    if getattr(settings, "process", None):
        follow(experiment, settings)
    path, metrics, status = make(experiment, settings, command)
    if metrics.interrupted:
        if hasattr(settings, "resume"):
            print(f"Continue with: {resume.command_for(metrics, path)}")
        return status
    earlier = getattr(settings, "repeat", None)
    if earlier is not None and not repeat.equal_results(experiment, earlier, path):
        return 1
    return status


def make(experiment: Experiment, settings, command: str) -> tuple:
    """Execute a run, and return its folder, its metrics, and its exit status."""
    config = configuration(experiment, settings)
    path = run_path(settings.output, experiment.name, settings.name)
    resuming = getattr(settings, "resume", None) is not None
    with RunFolder(path, settings.overwrite, resuming) as folder:
        start = time.perf_counter()
        with stage("Loading Keras"), start_up_messages_held():
            run = load(experiment, settings)
        context = Context(folder, config, command)
        result = run(settings, context)
        metrics = completed(result, context, time.perf_counter() - start)
        with signals.ctrl_c_ignored():
            write(folder, config, metrics, result, experiment.settings)
    with signals.ctrl_c_ignored():  # the run is complete
        show(result, path)
    return path, metrics, result.status


def follow(experiment: Experiment, settings) -> NoReturn:
    """Train along with process 0 of a run, which alone writes and reports.

    Raises:
        SystemExit: The training has ended.
    """
    path = run_path(settings.output, experiment.name, settings.name)
    print(f"Process {settings.process} of {settings.processes}; process 0 reports.")
    folder, config = partial_path(path), configuration(experiment, settings)
    nowhere = Path(os.devnull)
    with nowhere.open("w") as file, contextlib.redirect_stdout(file):
        with start_up_messages_held():
            run = load(experiment, settings)
        run(settings, Context(folder, config, command="", follows=True))


def completed(result, context: Context, seconds: float):
    """Return the metrics of a run, with what is the same for every experiment."""
    from experiments.common.environment import environment

    metrics = result.metrics
    return dataclasses.replace(
        metrics,
        experiment=context.config["experiment"],
        name=context.config["name"],
        command=context.command,
        interrupted=result.interrupted,
        ending=result.ending,
        environment=metrics.environment or context.environment or environment(),
        seconds=round(seconds, 1) if metrics.seconds is None else metrics.seconds,
    )


def load(experiment: Experiment, settings) -> Callable:
    """Import Keras and the experiment, and return its `run`."""
    from experiments.common import environment

    if getattr(settings, "deterministic", False):
        environment.make_deterministic()
    environment.set_dtype_policy(getattr(settings, "dtype", "float32"))
    return experiment.run_function()


def configuration(experiment: Experiment, settings) -> dict:
    """Return the content of `config.json`: all settings but those of a resumption."""
    values = dataclasses.asdict(settings)
    for name in ("resume", *resume.PROCESSES):
        values.pop(name, None)
    return {"experiment": experiment.name, **values}


def write(folder: Path, config: Mapping, metrics, result, settings: type) -> None:
    """Write every file of a run into its folder; `settings` is the settings' type."""
    write_json(folder / "config.json", config)
    write_json(folder / "metrics.json", dataclasses.asdict(metrics))
    for name, rows in result.tables.items():
        if rows:
            write_csv(folder / name, rows)
    for name, write_file in result.files.items():
        write_file(folder / name)
    render.save_figures(folder / "figures", result.report)
    sections = [*result.report, *render.provenance(metrics, config, settings)]
    page = render.page(result.title, sections)
    (folder / "report.html").write_text(page, encoding="utf-8")


def show(result, path: Path) -> None:
    """Print the report of a run, and the path of its page."""
    print()
    render.show(result.report)
    print(f"\nReport: {path / 'report.html'}")
