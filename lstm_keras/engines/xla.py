"""TensorFlow: a loop compiled by XLA, run once for each share of the batch.

A compiled loop over time is sequential, so it uses one core. The batch is therefore
split into shares, which TensorFlow runs in parallel, each on its own core. This
requires that the surrounding model is not one XLA program itself, so the layer asks
Keras not to compile it (`supports_jit`).

The forward pass stores the gates. The backward pass collects the gradient of `z` over a
block of steps that fits in the processor's cache, so that the weights' gradients are
one large product per block instead of a small one per step. Higher-order derivatives
are TensorFlow's own, of the same loop outside of XLA: exact, but slower.

XLA compiles for fixed shapes. Sequence lengths, and batch sizes that are unknown in the
graph, are rounded up, and the loop stops where the sequences end, so that batches of
many shapes need few compilations.
"""

import functools
from typing import Any, NamedTuple

import tensorflow as tf

from lstm_keras import equations
from lstm_keras.engines import Inputs
from lstm_keras.engines.shares import (
    flat,
    in_blocks,
    in_shares,
    new_buffer,
    times,
    unmasked,
)

# Number of layer kinds that stay compiled; each takes a few MiB.
MOST_COMPILED = 32


class Kind(NamedTuple):
    """What a compiled program depends on, besides the sizes of its inputs."""

    features: int
    units: int
    dtype: tf.DType
    masked: bool
    dropped: bool
    return_sequences: bool
    return_cells: bool


def run(inputs: Inputs) -> tuple[Any, Any, list]:
    """Run over all steps; see `lstm_keras.engines`."""
    sequences, mask, states, weights, dropout, *options = inputs
    return_sequences, return_cells, training = options
    features, units = weights.kernel.shape[0], weights.recurrent_kernel.shape[0]
    masked, dropped = mask is not None, dropout is not None
    dtype = sequences.dtype
    kind = Kind(features, units, dtype, masked, dropped, return_sequences, return_cells)
    # Eagerly, the shares would run one after the other.
    run_shares = _as_graph if tf.executing_eagerly() else _in_graph
    constants = [tensor for tensor in (mask, dropout) if tensor is not None]
    tensors = [sequences, *states, *weights]
    *every, h, c = run_shares(kind, training)(constants, tensors)
    batch, time, _ = sequences.shape
    for state in (h, c):
        state.set_shape([batch, units])
    for sequence in every:
        sequence.set_shape([batch, time, units])
    hidden = every.pop(0) if return_sequences else None
    cells = every.pop(0) if return_cells else None
    return hidden, cells, [h, c]


def _in_graph(kind, training):
    return functools.partial(in_shares, _Programs(kind), training)


@functools.lru_cache(MOST_COMPILED)
def _as_graph(kind, training):
    """Return the same for all batch sizes and lengths."""
    (_, *constants), inputs = _signature(kind)
    return tf.function(
        _in_graph(kind, training),
        input_signature=[constants, inputs],
        autograph=False,
    )


class _Programs:
    """The programs of a share: the forward pass, alone or storing, and its gradient."""

    state_count = 2

    def __init__(self, kind):
        self.kind = kind

    def loop(self, constants, inputs):
        return _forward(self.kind, constants, inputs)

    def results(self, *given):
        return _program(_results, self.kind)(*given)

    def forward(self, *given):
        return _program(_forward, self.kind)(*given)

    def backward(self, *given):
        dx, dh, dc, d_weights = _program(_backward, self.kind)(*given)
        # Outside of the program, to have less to compile.
        kernel, recurrent_kernel, bias = tf.split(
            d_weights, [self.kind.features, self.kind.units, 1]
        )
        return [tf.transpose(dx, [1, 0, 2]), dh, dc, kernel, recurrent_kernel, bias[0]]


@functools.lru_cache(3 * MOST_COMPILED)
def _program(function, kind):
    """Compile one of the functions below."""
    return tf.function(
        functools.partial(function, kind),
        input_signature=_signature(kind, function is _backward),
        jit_compile=True,
        autograph=False,
    )


def _signature(kind, backward=False):
    """Return the types of a program's arguments; a backward pass has two more."""

    def spec(*shape):
        return tf.TensorSpec(shape, kind.dtype)

    features, units = kind.features, kind.units
    constants = [
        tf.TensorSpec((), tf.int32),
        *[tf.TensorSpec((None, None), tf.bool)] * kind.masked,
        *[spec(None, 4, features + units)] * kind.dropped,
    ]
    states = [spec(None, units)] * 2
    weights = [spec(features, 4 * units), spec(units, 4 * units), spec(4 * units)]
    signature = [constants, [spec(None, None, features), *states, *weights]]
    if backward:
        every = [spec(None, None, units)]
        count = kind.return_sequences + kind.return_cells
        signature += [every * 6, every * count + states]
    return signature


def _results(kind, constants, inputs):
    """Return the results of `_forward` alone."""
    return _forward(kind, constants, inputs)[0]


def _named(kind, constants):
    """Return steps, mask or None, and the dropout factors of each part or None."""
    steps, *optional = constants
    mask = optional[0] if kind.masked else None
    return steps, mask, tf.unstack(optional[-1], axis=1) if kind.dropped else None


# Buffers are time-major, (time, batch, …). Those of the states begin with the initial
# state, so they have one more step.


def _forward(kind, constants, inputs):
    """Return the results, and every h, c, i, f, g and o."""
    steps, mask, dropout = _named(kind, constants)
    x, h, c, kernel, recurrent_kernel, bias = inputs
    time = tf.shape(x)[1]
    weights = tf.concat([kernel, recurrent_kernel], axis=0)

    def step(t, h, c, hidden, cells, *buffers):
        x_t = unmasked(mask, x, t)
        # One product, not two: XLA would run parts of a larger step in parallel, on the
        # core that the other share needs.
        z = _products(tf.concat([x_t, h], axis=-1), weights, dropout) + bias
        gates = equations.gates(z, tf.tanh, tf.sigmoid)
        new_h, new_c = equations.states(gates, c, tf.tanh)
        if mask is not None:
            on = mask[:, t, tf.newaxis]
            new_h, new_c = tf.where(on, new_h, h), tf.where(on, new_c, c)
        return (
            t + 1,
            new_h,
            new_c,
            hidden.write(t + 1, new_h),
            cells.write(t + 1, new_c),
            # One buffer per gate: packing them would add parts to the step.
            *map(tf.TensorArray.write, buffers, [t] * 4, gates),
        )

    _, last_h, last_c, *buffers = tf.while_loop(
        lambda t, *_: t < steps,
        step,
        (
            0,
            h,
            c,
            new_buffer(h, time + 1).write(0, h),
            new_buffer(h, time + 1).write(0, c),
            *(new_buffer(h, time) for _ in range(4)),
        ),
    )
    buffers = [buffer.stack() for buffer in buffers]
    hidden, cells = (tf.transpose(buffer[1:], [1, 0, 2]) for buffer in buffers[:2])
    every = [hidden] * kind.return_sequences + [cells] * kind.return_cells
    return [*every, last_h, last_c], buffers


def _products(x_and_h, weights, dropout):
    """Return `x_and_h @ weights`, with separate dropout for each of the four parts."""
    if dropout is None:
        return x_and_h @ weights
    parts = zip(dropout, tf.split(weights, 4, axis=-1), strict=True)
    return tf.concat([(x_and_h * drop) @ w for drop, w in parts], axis=-1)


def _products_back(dz, transposed, dropout):
    """Return the gradient of `_products` by its inputs, `(…, rows, columns)`.

    Args:
        dz: Gradient of the products, `(…, rows, 4 * units)`.
        transposed: The weights' transpose, or the columns of some of the inputs.
        dropout: See `_products`; with the same columns.
    """
    if dropout is None:
        return times(dz, transposed)
    parts = tf.split(dz, 4, axis=-1), tf.split(transposed, 4), dropout
    return sum(times(d, w) * drop for d, w, drop in zip(*parts, strict=True))


def _weights_back(inputs, dz, dropout):
    """Return the gradients of kernel, recurrent kernel and bias, stacked by rows.

    Args:
        inputs: x and h concatenated, `(steps, rows, features + units)`.
        dz: Gradient of the products, `(steps, rows, 4 * units)`.
        dropout: See `_products`.
    """

    def product(inputs, dz):
        # The bias is the weight of an input that is always 1.
        ones = tf.ones_like(inputs[..., :1])
        inputs = flat(tf.concat([inputs, ones], axis=-1))
        return tf.matmul(inputs, flat(dz), transpose_a=True)

    if dropout is None:
        return product(inputs, dz)
    parts = zip(dropout, tf.split(dz, 4, axis=-1), strict=True)
    return tf.concat([product(inputs * drop, d) for drop, d in parts], axis=-1)


def _backward(kind, constants, inputs, buffers, d_results):
    """Return the gradients of x (time-major), h, c and the weights, stacked by rows."""
    steps, mask, dropout = _named(kind, constants)
    x, _, _, kernel, recurrent_kernel, bias = inputs
    hidden, cells, *gates = buffers
    *d_every, dh, dc = d_results
    rows, time = tf.unstack(tf.shape(x)[:2])
    features, units = kind.features, kind.units
    blocks, size = in_blocks(time)
    x_dropout = h_dropout = None
    if dropout is not None:
        x_dropout = [drop[:, :features] for drop in dropout]
        h_dropout = [drop[:, features:] for drop in dropout]
    back = _steps_back(kind, mask, h_dropout, recurrent_kernel, cells, gates, d_every)
    kernel_transposed = tf.transpose(kernel)

    def block(number, dh, dc, dx, d_weights):
        first = number * size
        dz, dh, dc = back(first, tf.minimum(first + size, steps), size, dh, dc)
        x_then = tf.slice(x, [0, first, 0], [rows, size, features])
        if mask is not None:
            on = tf.slice(mask, [0, first], [rows, size])[..., tf.newaxis]
            x_then = tf.where(on, x_then, tf.zeros_like(x_then))
        h_before = tf.slice(hidden, [first, 0, 0], [size, rows, units])
        read = tf.concat([tf.transpose(x_then, [1, 0, 2]), h_before], axis=-1)
        return (
            number - 1,
            dh,
            dc,
            dx.write(number, flat(_products_back(dz, kernel_transposed, x_dropout))),
            d_weights + _weights_back(read, dz, dropout),
        )

    weights = tf.concat([kernel, recurrent_kernel, bias[tf.newaxis]], axis=0)
    _, dh, dc, dx, d_weights = tf.while_loop(
        lambda number, *_: number >= 0,
        block,
        (
            -(-steps // size) - 1,
            dh,
            dc,
            new_buffer(tf.zeros([size * rows, features], kind.dtype), blocks),
            tf.zeros_like(weights),
        ),
    )
    return [tf.reshape(dx.stack(), [time, rows, features]), dh, dc, d_weights]


def _steps_back(kind, mask, dropout, recurrent_kernel, cells, gates, d_every):
    """Return a function that back-propagates through the steps of a block."""
    transposed = tf.transpose(recurrent_kernel)
    d_every = list(d_every)
    d_hidden = d_every.pop(0) if kind.return_sequences else None
    d_cells = d_every.pop(0) if kind.return_cells else None

    def step(t, dh, dc):
        if d_hidden is not None:
            dh += d_hidden[:, t]
        if d_cells is not None:
            dc += d_cells[:, t]
        gates_then = equations.Gates(*(gate[t] for gate in gates))
        tanh_c = tf.tanh(cells[t + 1])
        dz, dc_before = equations.backward(dh, dc, gates_then, cells[t], tanh_c)
        dz = tf.concat(dz, axis=-1)
        if mask is None:
            return dz, _products_back(dz, transposed, dropout), dc_before
        on = mask[:, t, tf.newaxis]
        dz = tf.where(on, dz, tf.zeros_like(dz))
        dh_held = tf.where(on, tf.zeros_like(dh), dh)
        dh = _products_back(dz, transposed, dropout) + dh_held
        return dz, dh, tf.where(on, dc_before, dc)

    def back(first, end, size, dh, dc):
        def one(t, dh, dc, dz_of_steps):
            dz, dh, dc = step(t, dh, dc)
            return t - 1, dh, dc, dz_of_steps.write(t - first, dz)

        _, dh, dc, dz_of_steps = tf.while_loop(
            lambda t, *_: t >= first,
            one,
            (end - 1, dh, dc, new_buffer(tf.concat([dh] * 4, axis=-1), size)),
        )
        return dz_of_steps.stack(), dh, dc

    return back
