"""Follows a training and keeps what it takes to go on.

Imports Keras: scripts import this file inside functions.
"""

import math
import time

import keras

from experiments import checkpoint
from experiments.training import DivergedError, Kept
from lstm_keras.preprocessing.batches import WARM_UP, EpochBatches

# What callbacks know of a training, by their classes.
_REMEMBERED = {
    keras.callbacks.EarlyStopping: ("best", "wait", "best_epoch", "stopped_epoch"),
    keras.callbacks.ReduceLROnPlateau: ("best", "wait", "cooldown_counter"),
}

_FACTS = ("epoch", "step", "ended", "history", "seconds", "callbacks")


class Keeper(keras.callbacks.Callback):
    """The last callback of a training but for the one that stops it.

    Args:
        model: The model, compiled.
        train: What it is trained on.
        callbacks: Callbacks whose state belongs to the training; the last of them is
            the `EarlyStopping` that keeps the best epoch.
        interrupt: See `training.stop_on_interrupt`.
        kept: Where to keep the training; if it is there, it is taken up.

    Attributes:
        epoch: Whole epochs that are done.
        step: Steps that are done of the epoch after these.
        ended: Whether early stopping has ended it.
        history: See `training.Fit`.

    Raises:
        ValueError: What is kept is of another model, or broken.
    """

    def __init__(
        self, model, train: EpochBatches, callbacks, interrupt, kept: Kept | None
    ):
        super().__init__()
        self._trained, self._train = model, train
        self._callbacks, self._best = callbacks, callbacks[-1]
        self._interrupt, self._kept = interrupt, kept
        self.epoch = self.step = self._steps = 0
        self.ended, self.history = False, {}
        self._begun = self._written = time.perf_counter()
        self._state = None  # the one to restore, until that is done
        if kept and kept.path.exists():
            self._take_up(checkpoint.read(kept.path))

    @property
    def seconds(self) -> float:
        """How long the training took, stops not counted."""
        return time.perf_counter() - self._begun

    def finish(self) -> None:
        """Give the model its best weights, if there was nothing left to train."""
        if self._state is not None:
            self._remember()
            self._trained.set_weights(self._state.best)

    def on_train_begin(self, logs=None):
        """Let the callbacks, which begin anew, know what they knew.

        The state between two epochs is restored here, before others begin the epoch.
        """
        if self._state is not None:
            self._remember()
            if not self.step:
                self._restore()

    def on_epoch_begin(self, epoch, logs=None):
        """Enter the epoch; within one, the state is restored after the warm-up."""
        self._train.enter(epoch, self.step)
        self._steps = self.step + len(self._train) - (WARM_UP if self.step else 0)
        self._interrupt.held = bool(self.step)

    def on_train_batch_end(self, batch, logs=None):
        """Count the step, and keep it if it is time."""
        if self._state is not None:
            if batch + 1 == WARM_UP:
                self._restore()
                self._interrupt.held = False
            return
        self.step += 1
        self._check(logs["loss"])
        waited = time.perf_counter() - self._written
        if (
            self.step < self._steps
            and self._kept
            and (self._interrupt.asked or waited >= self._kept.seconds)
        ):
            self._keep(metrics=True)

    def on_epoch_end(self, epoch, logs=None):
        """Note the epoch, and keep it if it is whole."""
        for name, value in logs.items():
            self.history.setdefault(name, []).append(float(value))
        if self.step < self._steps:  # stopped: what counts is that moment
            return
        entered = self.params["epochs"] == self.epoch + 1
        self.epoch, self.step = epoch + 1, 0
        self.ended = bool(self._best.stopped_epoch)
        if self._kept:
            state = self._keep(metrics=False)
            # The fit of a single epoch ends with the best weights; these go on.
            self._state = state if entered else None

    def _check(self, loss: float) -> None:
        if math.isfinite(loss):
            return
        rate = keras.ops.convert_to_tensor(self.model.optimizer.learning_rate)
        raise DivergedError(
            f"expected a finite loss in training; received {loss} in epoch "
            f"{self.epoch + 1}, step {self.step} of {self._steps}, at a learning rate "
            f"of {float(keras.ops.convert_to_numpy(rate)):.3g} (try a lower one)"
        )

    def _keep(self, *, metrics: bool) -> checkpoint.State:
        state = checkpoint.capture(self.model, self._facts(), metrics=metrics)
        state.best = list(self._best.best_weights or [])
        if state.finite:  # else the next loss ends it, and the one before may serve
            checkpoint.write(self._kept.path, state)
        self._written = time.perf_counter()
        return state

    def _facts(self) -> dict:
        return {
            "epoch": self.epoch,
            "step": self.step,
            "ended": self.ended,
            "history": self.history,
            "seconds": self.seconds,
            "callbacks": [
                {name: _plain(getattr(one, name)) for name in names}
                for one, names in self._remembered()
            ],
        }

    def _take_up(self, state: checkpoint.State) -> None:
        checkpoint.check(self._trained, state, _FACTS)
        self.epoch, self.step = state.facts["epoch"], state.facts["step"]
        self.ended, self.history = state.facts["ended"], state.facts["history"]
        self._begun -= state.facts["seconds"]
        self._state = state

    def _remember(self) -> None:
        known = self._state.facts["callbacks"]
        for (one, _), values in zip(self._remembered(), known, strict=True):
            for name, value in values.items():
                setattr(one, name, value)
        self._best.best_weights = self._state.best or None

    def _remembered(self) -> list[tuple]:
        return [
            (one, _REMEMBERED[type(one)])
            for one in self._callbacks
            if type(one) in _REMEMBERED
        ]

    def _restore(self) -> None:
        checkpoint.restore(self.model, self._state)
        self._state = None


def _plain(value):
    """The number as JSON has it, to the last bit."""
    return value if value is None or isinstance(value, int) else float(value)
