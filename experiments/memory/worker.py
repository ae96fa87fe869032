"""Run jobs of a grid in a process of their own: `memory --jobs` starts this module."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import filelock

from experiments.common import processes, resume
from experiments.common.command_line import readable_errors
from experiments.common.environment import environment, make_deterministic
from experiments.common.run_folder import check_versions
from experiments.common.signals import sigterm_as_ctrl_c
from experiments.memory.grid import Job, Outcome
from experiments.memory.progress import Progress
from experiments.memory.settings import EXPERIMENT, Settings
from experiments.memory.train import Trainer

# Seconds: what a killed run has left may need some to notice it, and may finish a job.
WAIT = 300


def main(argv: Sequence[str]) -> None:
    """Run jobs, and write their outcomes.

    Args:
        argv: The folder of a run's checkpoints, and each job as JSON.
    """
    processes.end_with_starter()
    with sigterm_as_ctrl_c(), readable_errors():
        folder = Path(argv[0])
        settings = resume.settings_of(EXPERIMENT, folder)
        if settings.deterministic:
            make_deterministic()
        check_versions(folder, environment())
        progress = Progress(folder)
        train = trainer(settings, progress)
        for job in (Job(**json.loads(text)) for text in argv[1:]):
            with filelock.FileLock(progress.path(job, "lock"), timeout=WAIT):
                if not progress.path(job, "json").exists():
                    progress.write(job, train(job))


def trainer(settings: Settings, progress: Progress) -> Callable[[Job], Outcome]:
    """Return what runs a job, with a checkpoint."""
    train = Trainer(settings).train
    return lambda job: train(job, progress.checkpoint(job, settings.checkpoint_seconds))


if __name__ == "__main__":
    main(sys.argv[1:])
