"""Training: fit, keep the best epoch, end cleanly at Ctrl-C."""

import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Fit:
    """How a training went.

    Attributes:
        history: The values after each epoch, by Keras's names (`loss`, `val_loss`, …).
        best_epoch: The epoch whose weights the model has now, counted from 1.
        interrupted: Whether Ctrl-C ended it.
        seconds: How long it took, validation included.
    """

    history: dict[str, list[float]]
    best_epoch: int
    interrupted: bool
    seconds: float


def fit(
    model,
    train: tuple,
    validation: tuple,
    *,
    epochs: int,
    batch_size: int,
    patience: int | None,
) -> Fit:
    """Train a compiled model and leave it with the weights of its best epoch.

    Args:
        model: A compiled `keras.Model`.
        train: Inputs and targets to train on.
        validation: Inputs and targets whose loss chooses the epoch.
        epochs: Most epochs.
        batch_size: Examples per step.
        patience: Stop after so many epochs without a lower validation loss; `None`
            goes on to the last.

    Raises:
        ValueError: The loss became NaN or infinite.
    """
    import keras
    import numpy as np

    interrupt = stop_on_interrupt()
    keep_best = keras.callbacks.EarlyStopping(
        monitor="val_loss", patience=patience or epochs, restore_best_weights=True
    )
    start = time.perf_counter()
    handler = signal.getsignal(signal.SIGINT)
    try:
        fitted = model.fit(
            *train,
            validation_data=validation,
            batch_size=batch_size,
            epochs=epochs,
            callbacks=[keep_best, interrupt, keras.callbacks.TerminateOnNaN()],
            verbose=progress_verbosity(),
        )
    finally:  # where fit fails, the callback does not put it back
        signal.signal(signal.SIGINT, handler)
    if not np.isfinite(fitted.history["loss"]).all():
        raise ValueError(
            "expected a finite training loss; it became NaN or infinite in epoch "
            f"{len(fitted.epoch)} (try a lower learning rate)"
        )
    return Fit(
        fitted.history,
        keep_best.best_epoch + 1,
        interrupt.interrupted,
        time.perf_counter() - start,
    )


def spread(values: Sequence[float]) -> dict:
    """Return mean and sample standard deviation (`None` for one value)."""
    import numpy as np

    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "standard_deviation": deviation}


def stop_on_interrupt():
    """Return a Keras callback that ends training cleanly at Ctrl-C.

    The first Ctrl-C stops after the current batch: the epoch is validated and counted,
    and what the caller does after `fit` still happens. A second one is a
    `KeyboardInterrupt`. The callback's `interrupted` tells whether it happened.
    """
    import keras

    class StopOnInterrupt(keras.callbacks.Callback):
        interrupted = False
        _asked_to_stop = False

        def on_train_begin(self, logs=None):
            self._previous = signal.signal(signal.SIGINT, self._on_signal)

        def on_train_end(self, logs=None):
            signal.signal(signal.SIGINT, self._previous)

        def on_train_batch_end(self, batch, logs=None):
            if self._asked_to_stop:
                self._stop()

        def on_epoch_end(self, epoch, logs=None):
            # Asked to during the validation. After the last, nothing is left to stop.
            if self._asked_to_stop and epoch + 1 < self.params["epochs"]:
                self._stop()

        def _stop(self):
            self.interrupted = self.model.stop_training = True

        def _on_signal(self, signum, frame):
            if self._asked_to_stop:
                raise KeyboardInterrupt
            self._asked_to_stop = True
            print("\nCtrl-C: stopping after this batch; again to give up at once.")

    return StopOnInterrupt()


def progress_verbosity() -> int:
    """Return Keras's `verbose`: a live bar on a terminal, else a line per epoch."""
    return 1 if sys.stdout.isatty() else 2
