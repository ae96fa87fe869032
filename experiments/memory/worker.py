"""Run jobs of a grid in a process of their own: `memory --jobs` starts this module."""

import sys
from collections.abc import Callable

from experiments.common.trainings import Progress, Trainings
from experiments.memory.grid import Job, Outcome
from experiments.memory.settings import EXPERIMENT, Settings
from experiments.memory.train import Trainer


def trainer(settings: Settings, progress: Progress) -> Callable[[Job], Outcome]:
    """Return what runs a job, with a checkpoint."""
    train = Trainer(settings).train
    return lambda job: train(job, progress.checkpoint(job, settings.checkpoint_seconds))


TRAININGS = Trainings(
    EXPERIMENT, Job, Outcome, worker="experiments.memory.worker", trainer=trainer
)

if __name__ == "__main__":
    TRAININGS.work(sys.argv[1:])
