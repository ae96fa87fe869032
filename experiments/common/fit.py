"""Train a model: keep the best epoch, stop cleanly, and resume from a checkpoint."""

import contextlib
import math
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from experiments.common import checkpoint
from experiments.common.errors import DivergedError
from experiments.common.terminal import duration, fit_verbosity
from lstm_keras.preprocessing.batches import WARM_UP, EpochBatches

# The attributes that hold the state of Keras's callbacks. Other callbacks name theirs
# in `state_attributes`.
_STATE = {
    keras.callbacks.EarlyStopping: ("best", "wait", "best_epoch", "stopped_epoch"),
    keras.callbacks.ReduceLROnPlateau: ("best", "wait", "cooldown_counter"),
}

# Seconds: training that ends sooner does not say when.
LEAST_LEFT = 10
# The least change, as a fraction, after which it says so anew.
NEWS = 0.25

_FACTS = ("epoch", "step", "ended", "history", "seconds", "callbacks")


@dataclass(frozen=True)
class Fit:
    """The course of a training run.

    Attributes:
        history: The values after each epoch, by Keras's names (`loss`, `val_loss`, …).
        best_epoch: The epoch whose weights the model has now, counted from 1; 0 if
            none had a finite value (see `stop_if_diverged`).
        interrupted: Whether Ctrl-C or SIGTERM came, even in the last step.
        seconds: Duration, validation included.
    """

    history: dict[str, list[float]]
    best_epoch: int
    interrupted: bool
    seconds: float

    def rows(self) -> list[dict]:
        """Return a row for each epoch: its number, from 1, and its values."""
        return [
            {"epoch": epoch, **dict(zip(self.history, values, strict=True))}
            for epoch, values in enumerate(
                zip(*self.history.values(), strict=True), start=1
            )
        ]


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint that a training run writes, and resumes from if it exists.

    Attributes:
        path: The file.
        seconds: Time between two checkpoints within an epoch; every epoch ends with
            one.
        read_only: Whether another process writes it.
    """

    path: Path
    seconds: float
    read_only: bool = False


def fit(
    model: keras.Model,
    train: EpochBatches,
    validation: EpochBatches | None,
    *,
    epochs: int,
    patience: int | None,
    monitor: str = "val_loss",
    callbacks: Sequence[keras.callbacks.Callback] = (),
    to: Checkpoint | None = None,
    verbose: int | None = None,
    stop_if_diverged: bool = False,
) -> Fit:
    """Train a compiled model and leave it with the weights of its best epoch.

    Args:
        model: The model, compiled.
        train: Training batches.
        validation: Validation batches.
        epochs: Largest number of epochs.
        patience: Number of epochs without a lower value of `monitor` after which to
            stop; None for never.
        monitor: The value that selects the epoch, by its name in the history; lower is
            better.
        callbacks: Further callbacks, called before those of `fit`.
        to: The checkpoint. If it exists, the training run continues from it, and ends
            with the same result as without the interruption.
        verbose: Keras's; by default a bar on a terminal, else a line per epoch.
        stop_if_diverged: Whether to end normally if the loss becomes NaN or infinite,
            instead of raising an error.

    Raises:
        DivergedError: The loss became NaN or infinite, or `monitor` was never finite.
        ValueError: `monitor` needs validation data, or the checkpoint is another
            model's.
        OSError: The checkpoint cannot be written.
    """
    if validation is None and monitor.startswith("val_"):
        raise ValueError(
            "expected a training metric to monitor, since there are no validation "
            f"data; received {monitor!r}"
        )
    verbose = fit_verbosity() if verbose is None else verbose
    best = keras.callbacks.EarlyStopping(
        monitor, patience=patience or epochs, mode="min", restore_best_weights=True
    )
    followed = [*callbacks, best]
    shown = [_TimeLeft(epochs)] if verbose else []
    with stop_on_interrupt() as interrupt:
        progress = _Progress(model, train, followed, interrupt, to, stop_if_diverged)
        while progress.epoch < epochs and not (
            progress.ended or (interrupt.asked and progress.history)
        ):
            train.enter(progress.epoch, progress.step)
            model.fit(
                train,
                validation_data=validation,
                initial_epoch=progress.epoch,
                # Keras asks once how many batches an epoch has: an epoch that is
                # resumed within has a `fit` of its own.
                epochs=progress.epoch + 1 if progress.step else epochs,
                shuffle=False,
                callbacks=[*shown, *followed, progress, interrupt],
                verbose=verbose,
            )
        progress.finish()
    values = progress.history[monitor]
    finite = bool(np.any(np.isfinite(values)))
    if not finite and not stop_if_diverged:
        raise DivergedError(
            f"expected a finite {monitor} in training; received {values[-1]} in epoch "
            f"{len(values)} (try a lower learning rate)"
        )
    best_epoch = best.best_epoch + 1 if finite else 0
    return Fit(progress.history, best_epoch, interrupt.asked, progress.seconds)


@contextlib.contextmanager
def stop_on_interrupt() -> Iterator["StopOnInterrupt"]:
    """Give a callback for `Model.fit` by which Ctrl-C ends a training run cleanly.

    The first Ctrl-C stops after the current batch; the epoch is still validated and
    recorded, and `Model.fit` returns. A second one raises `KeyboardInterrupt`.
    """
    interrupt = StopOnInterrupt()
    previous = signal.signal(signal.SIGINT, interrupt.on_signal)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, previous)


class StopOnInterrupt(keras.callbacks.Callback):
    """Stops the training after the step in which Ctrl-C came.

    Attributes:
        asked: Whether Ctrl-C came.
        held: Whether the steps are the warm-up of a resumed epoch.
    """

    asked = held = False

    def on_signal(self, signum, frame):
        """Record the first Ctrl-C; raise at the second."""
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        print("\nInterrupted: stopping after this step; again to give up at once.")

    def on_train_batch_end(self, batch, logs=None):
        """Stop, unless the step is of the warm-up or the last one of the epoch."""
        if self.asked and not self.held and batch + 1 < self.params["steps"]:
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        """Stop, after the callbacks that may have ended the training in this epoch."""
        if self.asked:
            self.model.stop_training = True


class _TimeLeft(keras.callbacks.Callback):
    """Prints how long the remaining epochs will take, as long as the last one each.

    The first epoch compiles. Most of that is in its first step, which is left out; the
    other epochs will take no longer than the rest.

    Args:
        epochs: Largest number of epochs.
    """

    def __init__(self, epochs: int):
        super().__init__()
        self._epochs, self._begun, self._said = epochs, None, None

    def on_train_begin(self, logs=None):
        """Forget an epoch that was resumed within, and so took less."""
        self._begun = self._said = None

    def on_train_batch_end(self, batch, logs=None):
        """Begin to measure the first epoch behind its first step."""
        if self._begun is None:
            self._begun = time.perf_counter()

    def on_epoch_begin(self, epoch, logs=None):
        """Print the estimate if it is new, and not a matter of seconds."""
        if self._begun is None:
            return
        begun, self._begun = self._begun, time.perf_counter()
        left = (self._begun - begun) * (self._epochs - epoch)
        first = self._said is None
        if first:
            steps = self.params["steps"]
            left *= steps / max(1, steps - 1)
        if not first and abs(left - self._said) < NEWS * self._said:
            return
        self._said = left
        if left >= LEAST_LEFT:
            about = "At most" if first else "About"
            print(f"{about} {duration(left)} left", flush=True)


class _Progress(keras.callbacks.Callback):
    """Tracks a training run, and writes and restores its checkpoint.

    It must be the last callback but for the `StopOnInterrupt`.

    Args:
        model: The model, compiled.
        train: The training batches.
        callbacks: The callbacks whose state is part of the checkpoint; the last one is
            the `EarlyStopping` that remembers the best epoch.
        interrupt: The callback that stops it.
        to: The checkpoint, or None.
        stop_if_diverged: See `fit`.

    Attributes:
        epoch: Number of complete epochs.
        step: Number of steps done in the epoch after these.
        ended: Whether a callback, or a loss that is not finite, has ended the training.
        history: See `Fit`.

    Raises:
        ValueError: The checkpoint is another model's, or broken.
    """

    def __init__(
        self,
        model,
        train: EpochBatches,
        callbacks,
        interrupt,
        to: Checkpoint | None,
        stop_if_diverged: bool,
    ):
        super().__init__()
        self._trained, self._train = model, train
        self._callbacks, self._best = callbacks, callbacks[-1]
        self._interrupt, self._to = interrupt, to
        self._stop_if_diverged = stop_if_diverged
        self.epoch = self.step = self._steps = 0
        self.ended, self.history = False, {}
        self._begun = self._written = time.perf_counter()
        self._state = None  # a state that is still to be restored
        if to and to.path.exists():
            self._resume(checkpoint.read(to.path))

    @property
    def seconds(self) -> float:
        """Duration of the training, without pauses before a resume."""
        return time.perf_counter() - self._begun

    def finish(self) -> None:
        """Give the model its best weights, if the resumed training was complete."""
        if self._state is not None:
            self._restore_callbacks()
            self._trained.set_weights(self._state.best)

    def on_train_begin(self, logs=None):
        """Restore the callbacks, which have just reset themselves.

        A state between two epochs is restored here, before others begin the epoch.
        """
        if self._state is not None:
            self._restore_callbacks()
            if not self.step:
                self._restore_model()

    def on_epoch_begin(self, epoch, logs=None):
        """Enter the epoch; a state within it is restored after the warm-up."""
        self._train.enter(epoch, self.step)
        self._steps = self.step + len(self._train) - (WARM_UP if self.step else 0)
        self._interrupt.held = bool(self.step)

    def on_train_batch_end(self, batch, logs=None):
        """Count the step, and write a checkpoint if it is time."""
        if self._state is not None:
            if batch + 1 == WARM_UP:
                self._restore_model()
                self._interrupt.held = False
            return
        self.step += 1
        self._check(logs["loss"])
        waited = time.perf_counter() - self._written
        if (
            self.step < self._steps
            and self._to
            and (self._interrupt.asked or waited >= self._to.seconds)
        ):
            self._write(metrics=True)

    def on_epoch_end(self, epoch, logs=None):
        """Record the epoch, and write a checkpoint if it is complete."""
        for name, value in logs.items():
            self.history.setdefault(name, []).append(float(value))
        if self.step < self._steps:  # stopped within: the checkpoint is there
            return
        resumed_within = self.params["epochs"] == self.epoch + 1
        self.epoch, self.step = epoch + 1, 0
        self.ended = self.model.stop_training
        if self._to:
            state = self._write(metrics=False)
            # The `fit` of a single epoch ends with the best weights; the next one must
            # start from these.
            self._state = state if resumed_within else None

    def _check(self, loss: float) -> None:
        if math.isfinite(loss):
            return
        if self._stop_if_diverged:
            self.ended = self.model.stop_training = True
            return
        rate = keras.ops.convert_to_tensor(self.model.optimizer.learning_rate)
        raise DivergedError(
            f"expected a finite loss in training; received {loss} in epoch "
            f"{self.epoch + 1}, step {self.step} of {self._steps}, at a learning rate "
            f"of {float(keras.ops.convert_to_numpy(rate)):.3g} (try a lower one)"
        )

    def _write(self, *, metrics: bool) -> checkpoint.State:
        state = checkpoint.capture(self.model, self._facts(), metrics=metrics)
        state.best = list(self._best.best_weights or [])
        # Else the next loss ends the run, and the last checkpoint may help.
        if state.finite and not self._to.read_only:
            checkpoint.write(self._to.path, state)
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
                for one, names in self._stateful()
            ],
        }

    def _resume(self, state: checkpoint.State) -> None:
        checkpoint.check(self._trained, state, _FACTS)
        self.epoch, self.step = state.facts["epoch"], state.facts["step"]
        self.ended, self.history = state.facts["ended"], state.facts["history"]
        self._begun -= state.facts["seconds"]
        self._state = state

    def _restore_callbacks(self) -> None:
        saved = self._state.facts["callbacks"]
        for (one, _), values in zip(self._stateful(), saved, strict=True):
            for name, value in values.items():
                setattr(one, name, value)
        self._best.best_weights = self._state.best or None

    def _restore_model(self) -> None:
        checkpoint.restore(self.model, self._state)
        self._state = None

    def _stateful(self) -> list[tuple]:
        found = (
            (one, getattr(one, "state_attributes", _STATE.get(type(one), ())))
            for one in self._callbacks
        )
        return [(one, names) for one, names in found if names]


def _plain(value):
    """Return a number as JSON has it, to the last bit."""
    return value if value is None or isinstance(value, int) else float(value)
