"""Training: fit, keep the best epoch, end cleanly, and go on where it was stopped."""

import contextlib
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Fit:
    """How a training went.

    Attributes:
        history: The values after each epoch, by Keras's names (`loss`, `val_loss`, …).
        best_epoch: The epoch whose weights the model has now, counted from 1.
        interrupted: Whether Ctrl-C or SIGTERM came, be it while the last epoch was
            validated.
        seconds: How long it took, validation included.
    """

    history: dict[str, list[float]]
    best_epoch: int
    interrupted: bool
    seconds: float


@dataclass(frozen=True)
class Kept:
    """Where a training is kept while it goes on.

    Attributes:
        path: The file; if it is there, the training goes on from it.
        seconds: The training is kept after each epoch, and within one so often.
    """

    path: Path
    seconds: float


class DivergedError(ValueError):
    """The loss of a training became NaN or infinite."""


def fit(
    model,
    train,
    validation,
    *,
    epochs: int,
    patience: int | None,
    monitor: str = "val_loss",
    callbacks: Sequence = (),
    kept: Kept | None = None,
) -> Fit:
    """Train a compiled model and leave it with the weights of its best epoch.

    Args:
        model: A compiled `keras.Model`.
        train: `batches.EpochBatches`.
        validation: The same to validate on, or `None`.
        epochs: Most epochs.
        patience: Stop after so many epochs without a lower value of `monitor`; `None`
            goes on to the last.
        monitor: What chooses the epoch, by its name in the history; lower is better.
        callbacks: More `keras.callbacks.Callback`s, called before those of `fit`.
        kept: Where the training is kept. One that is there already goes on, to the end
            that it would have had without a stop.

    Raises:
        DivergedError: The loss became NaN or infinite, or `monitor` was never finite.
        ValueError: There is nothing to monitor, or what is kept is of another model.
        OSError: The training cannot be kept.
    """
    import keras
    import numpy as np

    from experiments.keeper import Keeper

    if validation is None and monitor.startswith("val_"):
        raise ValueError(
            "expected a value of the training to monitor, since nothing is there to "
            f"validate on; received {monitor!r}"
        )
    keep_best = keras.callbacks.EarlyStopping(
        monitor, patience=patience or epochs, mode="min", restore_best_weights=True
    )
    followed = [*callbacks, keep_best]
    with stop_on_interrupt() as interrupt:
        keeper = Keeper(model, train, followed, interrupt, kept)
        while keeper.epoch < epochs and not (keeper.ended or interrupt.interrupted):
            train.enter(keeper.epoch, keeper.step)
            model.fit(
                train,
                validation_data=validation,
                initial_epoch=keeper.epoch,
                # Keras asks once how many batches an epoch has: one that is entered in
                # its midst has a fit of its own.
                epochs=keeper.epoch + 1 if keeper.step else epochs,
                shuffle=False,
                callbacks=[*followed, keeper, interrupt],
                verbose=progress_verbosity(),
            )
        keeper.finish()
    values = keeper.history[monitor]
    if not np.any(np.isfinite(values)):
        raise DivergedError(
            f"expected a finite {monitor} in training; received {values[-1]} in epoch "
            f"{len(values)} (try a lower learning rate)"
        )
    return Fit(
        keeper.history, keep_best.best_epoch + 1, interrupt.asked, keeper.seconds
    )


def history_rows(fit: Fit) -> list[dict]:
    """Return a row for each epoch: its number from 1, and the values after it."""
    return [
        {"epoch": epoch, **dict(zip(fit.history, values, strict=True))}
        for epoch, values in enumerate(zip(*fit.history.values(), strict=True), start=1)
    ]


def spread(values: Sequence[float]) -> dict:
    """Return mean and sample standard deviation (`None` for one value)."""
    import numpy as np

    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "standard_deviation": deviation}


@contextlib.contextmanager
def stop_on_interrupt() -> Iterator:
    """Let Ctrl-C end a training cleanly: `with` gives a callback for `Model.fit`.

    The first Ctrl-C stops after the current batch: the epoch is validated and counted,
    and what the caller does after `Model.fit` still happens. A second one is a
    `KeyboardInterrupt`. The callback's `asked` tells whether there was one,
    `interrupted` whether it ended the training; while `held`, batches do not count.
    """
    import keras

    class StopOnInterrupt(keras.callbacks.Callback):
        asked = interrupted = held = False

        def on_signal(self, signum, frame):
            if self.asked:
                raise KeyboardInterrupt
            self.asked = True
            print("\nInterrupted: stopping after this step; again to give up at once.")

        def on_train_batch_end(self, batch, logs=None):
            if self.asked and not self.held:
                self._stop()

        def on_epoch_end(self, epoch, logs=None):
            # Asked to during the validation. After the last, nothing is left to stop.
            if self.asked and epoch + 1 < self.params["epochs"]:
                self._stop()

        def _stop(self):
            self.interrupted = self.model.stop_training = True

    interrupt = StopOnInterrupt()
    previous = signal.signal(signal.SIGINT, interrupt.on_signal)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, previous)


def progress_verbosity() -> int:
    """Return Keras's `verbose`: a live bar on a terminal, else a line per epoch."""
    return 1 if sys.stdout.isatty() else 2
