"""Train a model, also in a process of its own: `ablation --jobs` starts this module."""

import math
import sys
from collections.abc import Callable

import keras

from experiments.ablation.cells import CELLS, equal_units, set_forget_bias
from experiments.ablation.plan import Choice, Job, Outcome, Plan
from experiments.ablation.settings import EXPERIMENT, Settings
from experiments.ablation.tasks import Task, load
from experiments.common.fit import Checkpoint
from experiments.common.trainings import (
    Progress,
    SharedModel,
    Trainings,
    fit_job,
    interruptible,
)
from lstm_keras import RNN


class Trainer:
    """Trains models, each as if it were the only one.

    Args:
        settings: The settings.
    """

    def __init__(self, settings: Settings):
        self._settings, self._shared = settings, SharedModel()

    def train(self, job: Job, choice: Choice, to: Checkpoint) -> Outcome:
        """Train all epochs, and test the best one.

        Args:
            job: The job.
            choice: What the search chooses.
            to: Where its checkpoint goes, and where it resumes from.

        Raises:
            KeyboardInterrupt: Ctrl-C came; there is a checkpoint.
        """
        with interruptible() as interrupt:
            task = load(job.task, self._settings)
            model, bias = self._new_model(task, job, choice)
            training, validation = task.batches(job.seed)
            fitted = fit_job(
                model,
                training,
                validation,
                interrupt=interrupt,
                epochs=task.epochs,
                monitor=task.monitor,
                callbacks=task.callbacks(),
                to=to,
            )
            return Outcome(
                rate=choice.rate,
                forget_bias=bias,
                validation=task.validation_error(model, validation),
                test=task.test_error(model, job.seed),
                epochs=len(fitted.history["loss"]),
                seconds=fitted.seconds,
                diverged=not math.isfinite(fitted.history["loss"][-1]),
            )

    def _new_model(
        self, task: Task, job: Job, choice: Choice
    ) -> tuple[keras.Model, float | None]:
        """Return a compiled model with new weights, and its forget bias."""
        bias = None

        def build() -> keras.Model:
            nonlocal bias
            cell = CELLS[job.cell].make(units)
            layer = RNN(
                cell, return_sequences=task.every_step, return_state=task.every_step
            )
            model = task.build(layer)
            bias = set_forget_bias(cell, choice.forget_bias)
            return model

        units = equal_units(job.cell, self._settings.units, task.features, task.outputs)
        optimizer = keras.optimizers.Adam(global_clipnorm=self._settings.clip_norm)
        model = self._shared.new(
            (job.task, job.cell),
            job.seed,
            build,
            lambda model: task.compile(model, optimizer),
            choice.rate,
        )
        return model, bias


def trainer(settings: Settings, progress: Progress) -> Callable[[Job], Outcome]:
    """Return what runs a job, with a checkpoint."""
    train, plan = Trainer(settings).train, Plan.read(settings, {})

    def run(job: Job) -> Outcome:
        choice = plan.choice(progress.outcomes(), job)
        return train(job, choice, progress.checkpoint(job, settings.checkpoint_seconds))

    return run


TRAININGS = Trainings(
    EXPERIMENT, Job, Outcome, worker="experiments.ablation.worker", trainer=trainer
)

if __name__ == "__main__":
    TRAININGS.work(sys.argv[1:])
