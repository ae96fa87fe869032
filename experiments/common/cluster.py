"""One training run in several processes, such as one on each machine of a cluster.

JAX connects them, through `keras.distribution.initialize`. All take the same steps,
each on its own rows of every batch, with the gradient of the whole batch. Process 0
alone writes the run.
"""

import atexit
import contextlib
import dataclasses
import hashlib
import json
import os
import re
import signal
import sys
from collections.abc import Iterator

import keras
import numpy as np

from experiments.common.signals import INTERRUPTED

# What may differ between the processes.
OWN = ("process", "output", "name", "overwrite", "checkpoint_seconds")


@contextlib.contextmanager
def joined(settings) -> Iterator[None]:
    """Compute together with the other processes, inside this context.

    Enter it before anything is computed. All processes leave it together; after an
    error in one, each ends: those on a CPU at once, others after the 100 seconds by
    which JAX declares a silent process dead, and kills the rest.

    Args:
        settings: Checked, with `coordinator`, which is None for a process alone,
            `processes`, `process` and `seed`.

    Raises:
        ConnectionError: Another process has ended.
    """
    if settings.coordinator is None:
        yield
        return
    import jax

    keras.utils.set_random_seed(settings.seed)  # else they would agree on another one
    try:
        keras.distribution.initialize(
            settings.coordinator, settings.processes, settings.process
        )
        yield
        jax.distributed.shutdown()
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))  # JAX took it
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        atexit.register(_exit_at_once, INTERRUPTED if interrupted else 1)
        # An error of the computation begins with its kind. On a CPU it is a ValueError.
        if not re.match("[A-Z_]+: ", str(error)):
            raise
        raise ConnectionError(
            f"expected all {settings.processes} processes to compute together; one has "
            "probably ended, and its own messages say why. Resume the run, in all or "
            f"in one alone. Received: {str(error).splitlines()[0]}"
        ) from error


def _exit_at_once(status: int) -> None:
    """Exit without waiting, as JAX does, for processes that wait for this one."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def check_same(settings, facts) -> None:
    """Check that all processes compute the same, and wait until all have come here.

    Args:
        settings: See `joined`.
        facts: What must be the same besides the settings, for JSON.

    Raises:
        ValueError: Settings or facts differ.
    """
    if settings.coordinator is None:
        return
    from jax.experimental import multihost_utils

    chosen = dataclasses.asdict(settings)
    chosen["resume"] = settings.resume is not None
    same = {name: value for name, value in chosen.items() if name not in OWN}
    text = json.dumps([same, facts], sort_keys=True)
    digest = hashlib.sha256(text.encode()).digest()
    try:
        multihost_utils.assert_equal(np.frombuffer(digest, np.uint8))
    except AssertionError:
        raise ValueError(
            "expected the same options, versions and text in all processes; received "
            f"others than these in one of them: {text}"
        ) from None


class StopTogether(keras.callbacks.Callback):
    """Stops all processes after the same step when one gets Ctrl-C or SIGTERM.

    JAX takes SIGTERM, tells the others, and agrees with them on the step.
    """

    def __init__(self):
        super().__init__()
        self._step = 0

    def on_train_begin(self, logs=None):
        """Take Ctrl-C from `fit`."""
        self._stop = signal.signal(signal.SIGINT, self._tell)

    def on_train_batch_end(self, batch, logs=None):
        """Do what Ctrl-C does in `fit`, if this is the step."""
        from jax.experimental import multihost_utils

        self._step += 1
        if multihost_utils.reached_preemption_sync_point(self._step):
            self._stop(signal.SIGINT, None)

    def on_train_end(self, logs=None):
        """Give Ctrl-C back."""
        signal.signal(signal.SIGINT, self._stop)

    def _tell(self, *_):
        signal.signal(signal.SIGINT, signal.default_int_handler)  # the second one
        signal.raise_signal(signal.SIGTERM)
