"""TensorFlow: how compiled loops over time share a batch, and how they are derived.

Sizes are rounded up, so that batches of many shapes need few compilations, and the
batch is split into shares, which TensorFlow runs in parallel; see
`lstm_keras.engines.xla`.
"""

import os
from collections.abc import Hashable
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

# One share per core (measured on two), up to MOST_SHARES. A batch of LEAST_ROWS or
# fewer is one share.
MOST_SHARES = 4
LEAST_ROWS = 8

# Maximum number of steps in a block of the backward pass.
BLOCK = 16

# Row counts are rounded up to these, four for each power of 2: extra rows cost time.
ROWS = np.array(
    [1, 2, 3, 4, *(n << shift for shift in range(28) for n in range(5, 9))], np.int32
)
# Lengths are rounded up to these, except for the first one of a kind that is known in
# the graph. Extra steps are not computed, but take memory.
LENGTHS = (16, 64, *(1 << shift for shift in range(8, 31)))

ZERO = tf.UnconnectedGradients.ZERO


class Programs(Protocol):
    """The compiled programs of a share, and the loop that they compile.

    All take two lists first, constants and inputs. The constants are the number of
    steps to run; the mask `(batch, time)`, if there is one; and tensors `(batch, …)`.
    The inputs are the sequences `(batch, time, features)`, the states, and the weights.

    Attributes:
        kind: What they were compiled for; its `masked` says whether there is a mask.
        state_count: The number of states.
    """

    kind: Any
    state_count: int

    def loop(self, constants: list, inputs: list) -> tuple[list, Any]:
        """Return the results, and what the gradient needs, without compiling.

        The results are sequences `(batch, time, …)`, and the last states.
        """

    def results(self, constants: list, inputs: list) -> list:
        """Return the results alone."""

    def forward(self, constants: list, inputs: list) -> tuple[list, Any]:
        """Return what `loop` returns."""

    def backward(
        self, constants: list, inputs: list, stored: Any, d_results: list
    ) -> list:
        """Return the gradients of the inputs."""


def in_shares(
    programs: Programs, training: bool, constants: list, inputs: list
) -> list:
    """Split the batch, run the shares and join their results.

    Args:
        programs: The programs.
        training: Whether a gradient is expected.
        constants: Those of the programs, but for the number of steps.
        inputs: Those of the programs.
    """
    x, tensors = inputs[0], inputs[1:]
    states, weights = tensors[: programs.state_count], tensors[programs.state_count :]
    batch, time = (_size(x, axis) for axis in (0, 1))
    rows, shares = _split(batch)
    more_rows = rows * shares - batch
    more_steps = _whole_blocks(program_length(programs.kind, time)) - time

    def shared(tensor, more_steps=0):
        return tf.split(_padded(tensor, more_rows, more_steps), shares)

    # Among the constants only the mask, which comes first, has a time axis.
    masked = programs.kind.masked
    constants = [
        shared(constant, more_steps if masked and not number else 0)
        for number, constant in enumerate(constants)
    ]
    parts = [*constants, shared(x, more_steps), *map(shared, states)]
    results = [
        _share(
            programs,
            training,
            # The last shares may be empty.
            [tf.where(share * rows < batch, time, 0), *tensors[: len(constants)]],
            [*tensors[len(constants) :], *weights],
        )
        for share, tensors in enumerate(zip(*parts, strict=True))
    ]
    joined = [tf.concat(parts, axis=0)[:batch] for parts in zip(*results, strict=True)]
    count = len(joined) - programs.state_count
    return [*(sequence[:, :time] for sequence in joined[:count]), *joined[count:]]


def _split(batch):
    """Return the number of rows per share and the number of shares."""
    on_gpu = bool(tf.config.get_visible_devices("GPU"))
    threads = tf.config.threading.get_inter_op_parallelism_threads()  # 0: one per core
    shares = 1 if on_gpu else min(threads or os.cpu_count() or 1, MOST_SHARES)
    if isinstance(batch, int):
        rows = max(-(-batch // shares), min(batch, LEAST_ROWS), 1)
        return rows, max(-(-batch // rows), 1)
    rows = tf.maximum(-(-batch // shares), tf.minimum(batch, LEAST_ROWS))
    return rounded_up(rows, ROWS), shares


def _size(tensor, axis):
    """Return the size of an axis, as a scalar tensor if it is unknown in the graph."""
    known = tensor.shape[axis]
    return tf.shape(tensor)[axis] if known is None else known


def program_length(kind: Hashable, time: Any) -> Any:
    """Return the number of steps, at least `time`, that a program is compiled for."""
    if isinstance(time, int) and time > LENGTHS[0]:
        _FIRST_LENGTH.setdefault(kind, time)
    lengths = {*LENGTHS, _FIRST_LENGTH.get(kind, LENGTHS[0])}
    return rounded_up(time, np.array(sorted(lengths), np.int32))


# The first length of each kind that was known in a graph.
_FIRST_LENGTH: dict[Hashable, int] = {}


def rounded_up(size: Any, sizes: np.ndarray) -> Any:
    """Return the first of the sizes that is not smaller; an int for an int."""
    if isinstance(size, int):
        return int(sizes[np.searchsorted(sizes, size)])
    return tf.reduce_min(tf.where(size <= sizes, sizes, sizes[-1]))


def _whole_blocks(time):
    number, size = in_blocks(time)
    return number * size


def in_blocks(time: Any) -> tuple[Any, Any]:
    """Return the number of blocks of the backward pass and the steps in each."""
    number = -(-time // BLOCK)
    return number, -(-time // number)


def _padded(tensor, more_rows, more_steps):
    """Append zeros along the first two axes."""
    others = [[0, 0]] * (len(tensor.shape) - 2)
    return tf.pad(tensor, [[0, more_rows], [0, more_steps], *others])


def _share(programs, training, constants, inputs):
    """Run one share; a compiled program computes its gradient, too.

    Args:
        programs: The programs.
        training: Whether a gradient is expected; if not, computing one runs the forward
            pass again.
        constants: Those of the programs.
        inputs: Likewise.
    """

    @tf.custom_gradient
    def forward(*inputs):
        given = _detached(constants, inputs)
        if training:
            results, stored = programs.forward(*given)
            (stored,) = _detached(stored)
        else:
            results, stored = programs.results(*given), None

        def gradient(*d_results):
            # Copies, since a derivative's graph can read only from the one before it.
            copies = [[tf.identity(t) for t in each] for each in (constants, inputs)]
            return _gradient(programs, *copies, stored, d_results)

        return results, gradient

    return forward(*inputs)


def _gradient(programs, constants, inputs, stored, d_results):
    """Return the inputs' gradients; TensorFlow differentiates the loop for theirs."""
    count = len(inputs)

    @tf.custom_gradient
    def first(*inputs_and_d):
        inputs, d_results = inputs_and_d[:count], inputs_and_d[count:]

        def second(*upstream):
            results, _ = programs.loop(constants, inputs)
            gradients = tf.gradients(
                results, inputs, d_results, unconnected_gradients=ZERO
            )
            return tf.gradients(gradients, inputs_and_d, upstream)

        *given, d = _detached(constants, inputs, d_results)
        buffers = stored or programs.forward(*given)[1]
        return programs.backward(*given, buffers, d), second

    return first(*inputs, *d_results)


def _detached(*groups):
    """Return groups of tensors with their gradients stopped.

    TensorFlow would otherwise differentiate the compiled programs needlessly.
    """
    return [[tf.stop_gradient(tensor) for tensor in group] for group in groups]


# What the loops are made of.


def unmasked(mask: Any, x: Any, t: Any) -> Any:
    """Return the inputs of step t, zero where masked, so that NaN does not spread."""
    if mask is None:
        return x[:, t]
    return tf.where(mask[:, t, tf.newaxis], x[:, t], tf.zeros_like(x[:, t]))


def times(inputs: Any, weights: Any) -> Any:
    """Return `inputs @ weights` by one product over all leading axes."""
    product = flat(inputs) @ weights
    return tf.reshape(product, [*tf.unstack(tf.shape(inputs)[:-1]), weights.shape[1]])


def flat(tensor: Any) -> Any:
    """Return the tensor with all axes but the last as one."""
    return tf.reshape(tensor, [-1, tensor.shape[-1]])


def new_buffer(like: Any, size: Any) -> tf.TensorArray:
    """Return a TensorArray of `size` tensors of zeros."""
    array = tf.TensorArray(like.dtype, size=size, element_shape=(None, like.shape[-1]))
    return array.unstack(tf.zeros([size, *tf.unstack(tf.shape(like))], like.dtype))
