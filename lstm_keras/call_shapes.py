"""Checks of the arguments that a recurrent layer is called with."""

from collections.abc import Sequence
from typing import Any

import keras

STATEFUL_BATCH = "expected batches of the size that the stateful layer was built with"


def check_sequences(sequences: Any) -> None:
    """Raise a ValueError if the sequences are ragged."""
    if hasattr(sequences, "row_lengths"):
        raise ValueError(
            "expected sequences padded to one length, (batch, time, features); "
            f"received a {type(sequences).__name__}. Call the layer with "
            "x.to_tensor() and "
            "mask=lstm_keras.preprocessing.length_mask(x.row_lengths())"
        )


def check_batch(batch: int | None, built_with: int) -> None:
    """Raise a ValueError if a stateful layer gets a batch of another size."""
    if not _may_be(batch, built_with):
        raise ValueError(f"{STATEFUL_BATCH}, {built_with}; received one of {batch}")


def check_initial_state(shapes: Sequence[tuple], batch: int | None, units: int) -> None:
    """Raise a ValueError if the states are not `[h, c]`, `(batch or 1, units)`."""
    fits = len(shapes) == 2 and all(
        len(shape) == 2
        and _may_be(shape[1], units)
        and (_may_be(shape[0], 1) or _may_be(shape[0], batch))
        for shape in shapes
    )
    if not fits:
        raise ValueError(
            "expected initial_state to be [h, c], each of shape (batch, units) = "
            f"{(batch, units)} or (1, {units}); received shapes {list(shapes)}"
        )


def check_mask(shape: tuple, batch: int | None, time: int | None) -> None:
    """Raise a ValueError if the mask is not `(batch, time)`.

    Like Keras's layer, ours takes `(batch, time, 1)`, too.
    """
    fits = (
        len(shape) in (2, 3)
        and _may_be(shape[0], batch)
        and _may_be(shape[1], time)
        and _may_be((*shape, 1)[2], 1)
    )
    if not fits:
        raise ValueError(
            f"expected a mask (batch, time) = {(batch, time)}; "
            f"received one of shape {tuple(shape)}"
        )


def checked_when_run(tensor: Any, sizes: Sequence[tuple], message: str) -> Any:
    """Check sizes that TensorFlow does not know before the graph runs.

    Args:
        tensor: What is computed only if the sizes fit.
        sizes: For each size its tensor, its axis, and the size expected: an int, or
            tensor and axis.
        message: The beginning of the error's message, which goes on with both sizes.

    Returns:
        The tensor. On other backends all sizes are known.
    """
    if keras.backend.backend() != "tensorflow":
        return tensor
    import tensorflow as tf

    def size(one, axis):
        known = one.shape[axis]
        return tf.shape(one)[axis] if known is None else known

    checks = []
    for one, axis, expected in sizes:
        pair = (
            size(one, axis),
            expected if isinstance(expected, int) else size(*expected),
        )
        if not all(isinstance(value, int) for value in pair):
            checks.append(tf.debugging.assert_equal(*pair, message=message))
    if not checks:
        return tensor
    with tf.control_dependencies(checks):
        return tf.identity(tensor)


def _may_be(size: Any, expected: Any) -> bool:
    """Whether two sizes may be equal: those that are unknown or traced may."""
    known = isinstance(size, int) and isinstance(expected, int)
    return not known or size == expected
