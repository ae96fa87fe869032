"""Train on all devices of a machine, or of several, which share every batch.

All devices have the same weights and apply the gradient of the whole batch:
JAX through `keras.distribution`, TensorFlow through `tf.distribute.MirroredStrategy`.
"""

import contextlib
import functools
from collections.abc import Iterator

import keras
import numpy as np

from lstm_keras.preprocessing.batches import EpochBatches

# How to try it without several GPUs.
JAX_FLAG = "--xla_force_host_platform_device_count=2"
SPLIT_CPU = {
    "jax": f"XLA_FLAGS={JAX_FLAG} in the environment",
    "tensorflow": "tf.config.set_logical_device_configuration(cpu, "
    "[tf.config.LogicalDeviceConfiguration()] * 2) before anything is computed",
}


def devices(settings) -> list[str]:
    """Return the devices that share every batch, those of all `processes` together.

    Args:
        settings: Checked, with `data_parallel`, `batch_size` and perhaps `processes`;
            without the first and the last there are none.

    Raises:
        ValueError: The machine or the size of the batch do not allow `data_parallel`.
    """
    if not settings.data_parallel and getattr(settings, "processes", None) is None:
        return []
    names = keras.distribution.list_devices()
    if len(names) < 2:
        raise ValueError(
            f"expected two devices or more for --data-parallel; received {names} (a "
            f"CPU is split by {SPLIT_CPU[keras.backend.backend()]})"
        )
    if settings.batch_size % len(names):
        raise ValueError(
            f"expected a --batch-size that {len(names)} devices can share evenly; "
            f"received {settings.batch_size}"
        )
    return names


@contextlib.contextmanager
def distribute(settings) -> Iterator[int]:
    """Build, compile and train models inside this context on several devices.

    Args:
        settings: See `devices`.

    Returns:
        A context that gives the number of devices, 1 if none are shared.

    Raises:
        ValueError: See `devices`.
    """
    names = devices(settings)
    if not names:
        yield 1
        return
    if keras.backend.backend() == "jax":
        # Each process makes its share of a batch itself: see `EvenBatches`.
        parallel = keras.distribution.DataParallel(
            devices=names, auto_shard_dataset=False
        )
    else:
        parallel = _mirrored(tuple(names))
    with parallel.scope():
        yield len(names)


@functools.cache  # the messages between devices of two strategies would collide
def _mirrored(names: tuple[str, ...]):
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(names)


class EvenBatches(EpochBatches):
    """Pads each batch with zero-weight rows to a multiple of the device count.

    A loss that is a mean over tokens sees the rows as `PADDING`. Elsewhere they have
    the weight 0 and the others a weight above 1: Keras divides by the number of rows.

    Args:
        batches: Inputs and targets. All batches have the same number of rows, but for
            one that may have fewer.
        devices: The number of devices that share a batch.
        rows: For evaluation, the number of rows of all batches: then the mean over all
            rows is right. Without it the mean over each batch is.
        share: The number of this process, from 0, and how many there are: which part
            of the rows it reads.
    """

    def __init__(
        self,
        batches: EpochBatches,
        devices: int,
        rows: int | None = None,
        share: tuple[int, int] = (0, 1),
    ):
        self._batches, self._devices, self._rows = batches, devices, rows
        self._share = share
        super().__init__()

    def order(self, epoch):
        """Return the order of the batches."""
        return self._batches.order(epoch)

    def batch(self, chosen):
        """Return this process's share of a batch: inputs, targets and weights."""
        inputs, targets = self._batches.batch(chosen)
        rows = len(inputs)
        real = self._rows or rows
        weights = np.full(rows, 1 + -real % self._devices / real, np.float32)
        more = -rows % self._devices
        process, processes = self._share
        size = (rows + more) // processes
        mine = slice(process * size, (process + 1) * size)
        parts = (inputs, targets, weights)
        return tuple(_with_zeros(part, more)[mine] for part in parts)


def _with_zeros(array: np.ndarray, more: int) -> np.ndarray:
    return np.pad(array, [(0, more), *[(0, 0)] * (array.ndim - 1)])
