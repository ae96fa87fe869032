"""Train a model, also in a process of its own: `ablation --jobs` starts this module."""

import math
import sys
from collections.abc import Callable

import keras

from experiments.ablation.cells import CELLS, equal_units, set_forget_bias
from experiments.ablation.plan import Choice, Job, Outcome, Plan
from experiments.ablation.settings import EXPERIMENT, Settings
from experiments.ablation.tasks import Task, load
from experiments.common import checkpoint
from experiments.common.fit import Checkpoint, fit, stop_on_interrupt
from experiments.common.trainings import Progress, Trainings
from lstm_keras import RNN


class Trainer:
    """Trains models, each as if it were the only one.

    Compiling takes seconds, so those of one task and cell share a compiled model, which
    begins each training run as a new one would.

    Args:
        settings: The settings.
    """

    def __init__(self, settings: Settings):
        self._settings = settings
        self._compiled_for = self._model = self._start = None

    def train(self, job: Job, choice: Choice, to: Checkpoint) -> Outcome:
        """Train all epochs, and test the best one.

        Args:
            job: The job.
            choice: What the search chooses.
            to: Where its checkpoint goes, and where it resumes from.

        Raises:
            KeyboardInterrupt: Ctrl-C came; there is a checkpoint.
        """
        # While TensorFlow traces it can lose the KeyboardInterrupt of a Ctrl-C.
        with stop_on_interrupt() as interrupt:
            task = load(job.task, self._settings)
            model, bias = self._new_model(task, job, choice)
            initial = model.get_weights()
            training, validation = task.batches(job.seed)
            if interrupt.asked:
                raise KeyboardInterrupt
            fitted = fit(
                model,
                training,
                validation,
                epochs=task.epochs,
                patience=None,
                monitor=task.monitor,
                callbacks=task.callbacks(),
                to=to,
                verbose=0,
                stop_if_diverged=True,
            )
            if fitted.interrupted:
                raise KeyboardInterrupt
            if not fitted.best_epoch:  # it diverged in the first epoch
                model.set_weights(initial)
            outcome = Outcome(
                rate=choice.rate,
                forget_bias=bias,
                validation=task.validation_error(model, validation),
                test=task.test_error(model, job.seed),
                epochs=len(fitted.history["loss"]),
                seconds=fitted.seconds,
                diverged=not math.isfinite(fitted.history["loss"][-1]),
            )
        if interrupt.asked:
            raise KeyboardInterrupt
        return outcome

    def _new_model(
        self, task: Task, job: Job, choice: Choice
    ) -> tuple[keras.Model, float | None]:
        """Return a compiled model with new weights, and its forget bias."""
        units = equal_units(job.cell, self._settings.units, task.features, task.outputs)
        kind = job.task, job.cell
        if kind == self._compiled_for:
            checkpoint.restore(self._model, self._start)
        keras.utils.set_random_seed(job.seed)
        cell = CELLS[job.cell].make(units)
        layer = RNN(
            cell, return_sequences=task.every_step, return_state=task.every_step
        )
        model = task.build(layer)
        bias = set_forget_bias(cell, choice.forget_bias)
        if kind == self._compiled_for:
            # With the random state of zoneout, which `get_weights` leaves out.
            for variable, new in zip(
                self._model.variables, model.variables, strict=True
            ):
                variable.assign(new)
        else:
            optimizer = keras.optimizers.Adam(global_clipnorm=self._settings.clip_norm)
            task.compile(model, optimizer)
            self._compiled_for, self._model = kind, model
            self._start = checkpoint.capture(model, {}, metrics=False)
        self._model.optimizer.learning_rate = choice.rate
        return self._model, bias


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
