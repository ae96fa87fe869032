"""Training on all devices of a machine, each with a share of every batch.

All devices hold the same weights, which they change by the gradient of the whole batch:
JAX through `keras.distribution`, TensorFlow through `tf.distribute.MirroredStrategy`.
"""

import contextlib
import functools
from collections.abc import Iterator

from experiments.runner import option

# How a CPU becomes several devices, to try all this without several GPUs.
JAX_FLAG = "--xla_force_host_platform_device_count=2"
SPLIT_CPU = {
    "jax": f"XLA_FLAGS={JAX_FLAG} in the environment",
    "tensorflow": "tf.config.set_logical_device_configuration(cpu, "
    "[tf.config.LogicalDeviceConfiguration()] * 2) before anything is computed",
}


def data_parallel_option():
    """Declare `--data-parallel`, a field of an experiment's settings."""
    return option(
        False,
        "train on all devices at once, each with a share of every batch of "
        "--batch-size: on JAX, and reviews on TensorFlow, too",
        group="speed",
    )


def devices(settings, *, of_text: bool = False) -> list[str]:
    """Return the devices to share batches among, none without `data_parallel`.

    Args:
        settings: With `data_parallel`, `batch_size` and `jit`.
        of_text: Whether the loss is a mean over tokens, and the gradients are clipped
            by their norm.

    Raises:
        ValueError: `data_parallel` can't be done.
    """
    import keras

    if not settings.data_parallel:
        return []
    if why := _refusal(keras.backend.backend(), settings.jit, of_text):
        raise ValueError(f"expected no --data-parallel {why}")
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


def _refusal(backend: str, jit: bool, of_text: bool) -> str | None:
    """Why a backend can't do it."""
    if backend not in SPLIT_CPU:
        return (
            f"on {backend}: Keras has none there, and PyTorch's own wants a process "
            "for each device and a training loop instead of Model.fit"
        )
    if backend == "tensorflow" and of_text:
        return (
            "of a text on TensorFlow: there each device clips the gradient of its own "
            "share, and shares have unequal numbers of words, so the training would be "
            "another; received backend tensorflow (on jax it is the same)"
        )
    if backend == "tensorflow" and jit:
        return (
            "with --jit on TensorFlow: a step that XLA compiles can't read the weights "
            "on another device; received both"
        )
    return None


@contextlib.contextmanager
def distribute(settings, *, of_text: bool = False) -> Iterator[int]:
    """Let a model be built, compiled and trained on several devices.

    What is built outside stays on one device.

    Args:
        settings: See `devices`.
        of_text: See `devices`.

    Returns:
        A context; `with` gives how many devices there are, 1 without `data_parallel`.

    Raises:
        ValueError: See `devices`.
    """
    import keras

    names = devices(settings, of_text=of_text)
    if not names:
        yield 1
        return
    if keras.backend.backend() == "jax":
        parallel = keras.distribution.DataParallel(devices=names)
    else:
        parallel = _mirrored(tuple(names))
    with parallel.scope():
        yield len(names)


@functools.cache  # of a second one the devices' messages would meet the first one's
def _mirrored(names: tuple[str, ...]):
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(names)
