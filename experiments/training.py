"""Training: fit, keep the best epoch, end cleanly at Ctrl-C."""

import contextlib
import signal
import sys
import time
from collections.abc import Iterator, Sequence
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


class DivergedError(ValueError):
    """The loss of a training became NaN or infinite."""


def fit(
    model,
    train,
    validation,
    *,
    epochs: int,
    patience: int | None,
    batch_size: int | None = None,
    monitor: str = "val_loss",
    callbacks: Sequence = (),
) -> Fit:
    """Train a compiled model and leave it with the weights of its best epoch.

    Args:
        model: A compiled `keras.Model`.
        train: A tuple of inputs and targets, shuffled for each epoch; or batches that
            `Model.fit` takes as x, such as a `keras.utils.PyDataset`, whose order is
            kept.
        validation: The same to validate on, or `None`.
        epochs: Most epochs.
        patience: Stop after so many epochs without a lower value of `monitor`; `None`
            goes on to the last.
        batch_size: Examples per step; `None` if `train` comes in batches.
        monitor: What chooses the epoch, by its name in the history; lower is better.
        callbacks: More `keras.callbacks.Callback`s, called before those of `fit`.

    Raises:
        DivergedError: The loss became NaN or infinite, or `monitor` was never finite.
        ValueError: There is nothing to monitor.
    """
    import keras
    import numpy as np

    if validation is None and monitor.startswith("val_"):
        raise ValueError(
            "expected a value of the training to monitor, since nothing is there to "
            f"validate on; received {monitor!r}"
        )
    keep_best = keras.callbacks.EarlyStopping(
        monitor, patience=patience or epochs, mode="min", restore_best_weights=True
    )
    # Keras would shuffle a PyDataset's batches, too, even those of a running text.
    in_batches = not isinstance(train, tuple)
    start = time.perf_counter()
    with stop_on_interrupt() as interrupt:
        fitted = model.fit(
            *((train,) if in_batches else train),
            validation_data=validation,
            batch_size=batch_size,
            epochs=epochs,
            shuffle=not in_batches,
            callbacks=[
                *callbacks,
                keep_best,
                interrupt,
                keras.callbacks.TerminateOnNaN(),
            ],
            verbose=progress_verbosity(),
        )
    for name, finite in (("loss", np.all), (monitor, np.any)):
        values = fitted.history[name]
        if not finite(np.isfinite(values)):
            raise DivergedError(
                f"expected a finite {name} in training; received {values[-1]} in epoch "
                f"{len(values)} (try a lower learning rate)"
            )
    return Fit(
        fitted.history,
        keep_best.best_epoch + 1,
        interrupt.interrupted,
        time.perf_counter() - start,
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
    `KeyboardInterrupt`. The callback's `interrupted` tells whether it happened.
    """
    import keras

    class StopOnInterrupt(keras.callbacks.Callback):
        interrupted = False
        _asked_to_stop = False

        def on_signal(self, signum, frame):
            if self._asked_to_stop:
                raise KeyboardInterrupt
            self._asked_to_stop = True
            print("\nCtrl-C: stopping after this batch; again to give up at once.")

        def on_train_batch_end(self, batch, logs=None):
            if self._asked_to_stop:
                self._stop()

        def on_epoch_end(self, epoch, logs=None):
            # Asked to during the validation. After the last, nothing is left to stop.
            if self._asked_to_stop and epoch + 1 < self.params["epochs"]:
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
