"""Checks of the arguments in a call of a recurrent layer."""

from typing import Any

import keras
import numpy as np
from keras import ops

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


def check_initial_state(states: Any, batch: int | None, units: int) -> None:
    """Raise a ValueError if the states are not `[h, c]`, `(batch or 1, units)`."""
    states = states if isinstance(states, (list, tuple)) else [states]
    # The type, for values without a shape.
    shapes = [
        tuple(state.shape) if hasattr(state, "shape") else type(state).__name__
        for state in states
    ]
    fits = len(shapes) == 2 and all(
        isinstance(shape, tuple)
        and len(shape) == 2
        and _may_be(shape[1], units)
        and (_may_be(shape[0], 1) or _may_be(shape[0], batch))
        for shape in shapes
    )
    if not fits:
        raise ValueError(
            "expected initial_state to be [h, c], each of shape (batch, units) = "
            f"{(batch, units)} or (1, {units}); received shapes {shapes}"
        )


def as_one_mask(mask: Any) -> Any:
    """Return a mask as a tensor or array, or None.

    Keras may put it into a list, and users may give lists of bool.
    """
    if keras.tree.is_nested(mask):
        leaves = keras.tree.flatten(mask)
        if leaves and all(leaf is None or hasattr(leaf, "shape") for leaf in leaves):
            mask = leaves[0]
    return mask if mask is None or hasattr(mask, "shape") else np.asarray(mask)


def as_boolean_mask(mask: Any) -> Any:
    """Return a mask as `(batch, time)` of bool, or None."""
    mask = as_one_mask(mask)
    if mask is None:
        return None
    mask = ops.cast(mask, "bool")
    return ops.squeeze(mask, axis=-1) if len(mask.shape) == 3 else mask


def check_mask(shape: tuple, batch: int | None, time: int | None) -> None:
    """Raise a ValueError if the mask is not `(batch, time)` or `(batch, time, 1)`."""
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


def sized_as(tensor: Any, sizes: tuple, message: str) -> Any:
    """Return a tensor with a runtime check of sizes unknown to TensorFlow before.

    Args:
        tensor: The tensor.
        sizes: The sizes of its first axes, ints or scalar tensors.
        message: The beginning of the error's message; the sizes follow.
    """
    count = len(sizes)
    are_known = all(isinstance(size, int) for size in (*tensor.shape[:count], *sizes))
    if are_known or keras.backend.backend() != "tensorflow":
        return tensor
    import tensorflow as tf

    actual = tf.shape(tensor)
    check = tf.debugging.assert_equal(actual[:count], [*sizes], message=message)
    with tf.control_dependencies([check]):
        # XLA drops assertions, but also refuses to reshape to another number of
        # elements.
        return tf.reshape(tensor, [*sizes, *tf.unstack(actual)[count:]])


def _may_be(size: Any, expected: Any) -> bool:
    """Whether two sizes may be equal; unknown and traced ones may."""
    known = isinstance(size, int) and isinstance(expected, int)
    return not known or size == expected
