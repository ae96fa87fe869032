"""Trainings of a grid in a process of their own: what `memory --jobs` starts."""

import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import filelock

from experiments import runner, training
from experiments.memory_grid import Progress
from experiments.memory_training import Job, Outcome, Trainer
from experiments.reproducible import make_deterministic
from experiments.run_folder import check_versions


def command(progress: Progress) -> Callable[[Sequence[Job]], Sequence[str]]:
    """Return what gives the command that makes some trainings; see `main`."""

    def of(group: Sequence[Job]) -> Sequence[str]:
        folder = str(progress.path.parent.resolve())
        return (
            "experiments.memory_worker",
            folder,
            *(json.dumps(dataclasses.asdict(job)) for job in group),
        )

    return of


def trainer(settings, progress: Progress, interrupt) -> Callable[[Job], Outcome]:
    """Return what makes one training, and keeps it while it goes on.

    Args:
        settings: Of the grid.
        progress: Where it is kept.
        interrupt: See `training.stop_on_interrupt`.
    """
    train = Trainer(settings).train

    def one(job: Job) -> Outcome:
        kept = training.Kept(progress.training(job), settings.checkpoint_seconds)
        return train(job, kept, lambda: interrupt.asked)

    return one


def main(argv: Sequence[str]) -> None:
    """Make trainings, and keep their outcomes.

    Args:
        argv: The folder of a run's checkpoint, and each training as JSON.
    """
    from experiments import earlier, jobs
    from experiments.memory import Settings

    folder = Path(argv[0])
    with runner.sigterm_as_ctrl_c(), runner.readable_errors():
        jobs.end_with_starter()
        settings = earlier.settings_of(Settings, folder)
        if settings.deterministic:
            make_deterministic()
        check_versions(folder, runner.environment())
        progress = Progress(folder)
        wanted = [Job(**json.loads(text)) for text in argv[1:]]
        with training.stop_on_interrupt() as interrupt:
            train = trainer(settings, progress, interrupt)
            for job in wanted:
                # What a killed run has left may need a moment to notice it, and may
                # have come to the end of this training.
                lock = progress.path / f".{job.name}.lock"
                with filelock.FileLock(lock, timeout=300):
                    if not progress.outcome(job).exists():
                        progress.keep(job, train(job))


if __name__ == "__main__":
    main(sys.argv[1:])
