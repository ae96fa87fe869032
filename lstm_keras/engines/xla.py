"""TensorFlow: a loop compiled by XLA, run once for each share of the batch.

A compiled loop over time does one thing after the other, so it keeps one core busy. The
batch is therefore split, and TensorFlow runs the shares side by side, each on a core of
its own. For that the model around must not be one XLA program itself, so the layer asks
Keras not to make it one (`supports_jit`).

The gradient is derived by hand (`lstm_keras.reference` derives the same and says more).
The forward pass keeps the gates. The backward pass collects the gradient of `z` over a
block of steps, which stays in the processor's cache, so that the weights' gradients are
a large product for each block instead of a small one in each step. There is no second
derivative.

XLA compiles for fixed shapes. Sizes that are not known beforehand are rounded up, and
the loop stops where the sequences end, so batches of many shapes need few compilations.
"""

import functools
import os

import numpy as np
import tensorflow as tf

# A share for each core (two were measured), up to MOST_SHARES. A batch of LEAST_ROWS or
# fewer is one share.
MOST_SHARES = 4
LEAST_ROWS = 8

# Steps of the backward pass in a block, at most.
BLOCK = 16

# So many kinds of layer stay compiled: each takes some MiB.
MOST_COMPILED = 32

# Sizes are rounded up to these: four between a power of 2 and the next.
SIZES = np.array(
    [1, 2, 3, 4, *(n << shift for shift in range(28) for n in range(5, 9))], np.int32
)


def run(sequences, mask, states, kernel, recurrent_kernel, bias, return_sequences):
    """Run over all steps; see `lstm_keras.engines`."""
    tensors = [sequences, *states, kernel, recurrent_kernel, bias]
    if mask is not None:
        tensors.append(mask)
    units = recurrent_kernel.shape[0]
    compiled = _compiled(
        kernel.shape[0], units, sequences.dtype, mask is not None, return_sequences
    )
    # Outside of a graph the shares would wait for each other.
    in_shares = _as_graph(compiled) if tf.executing_eagerly() else _in_shares(compiled)
    *hidden, h, c = in_shares(*tensors)
    batch, time, _ = sequences.shape
    for state in (h, c):
        state.set_shape([batch, units])
    if not return_sequences:
        return None, [h, c]
    hidden[0].set_shape([batch, time, units])
    return hidden[0], [h, c]


# The shares.


@functools.lru_cache(MOST_COMPILED)
def _as_graph(compiled):
    """`_in_shares` for all batch sizes and lengths."""
    _, *signature = compiled.input_signature
    return tf.function(_in_shares(compiled), input_signature=signature, autograph=False)


def _in_shares(compiled):
    """Return what splits the batch, calls `compiled` for each share, and joins."""

    def run(x, h, c, kernel, recurrent_kernel, bias, *mask):
        batch, time = _size(x, 0), _size(x, 1)
        rows, shares = _split(batch)
        more_rows = rows * shares - batch
        more_steps = _whole_blocks(_rounded_up(time)) - time
        x, *mask = (_padded(tensor, more_rows, more_steps) for tensor in (x, *mask))
        h, c = (_padded(state, more_rows) for state in (h, c))
        results = [
            compiled(
                tf.where(share * rows < batch, time, 0),  # a share may be empty
                x,
                h,
                c,
                kernel,
                recurrent_kernel,
                bias,
                *mask,
            )
            for share, (x, h, c, *mask) in enumerate(
                zip(*(tf.split(t, shares) for t in (x, h, c, *mask)), strict=True)
            )
        ]
        *hidden, h, c = (
            tf.concat(parts, axis=0)[:batch] for parts in zip(*results, strict=True)
        )
        return [*(every_h[:, :time] for every_h in hidden), h, c]

    return run


def _split(batch):
    """Return how many rows a share has, and how many shares there are."""
    on_gpu = bool(tf.config.get_visible_devices("GPU"))
    threads = tf.config.threading.get_inter_op_parallelism_threads()  # 0: one a core
    shares = 1 if on_gpu else min(threads or os.cpu_count(), MOST_SHARES)
    if isinstance(batch, int):
        rows = max(-(-batch // shares), min(batch, LEAST_ROWS), 1)
        return rows, max(-(-batch // rows), 1)
    rows = tf.maximum(-(-batch // shares), tf.minimum(batch, LEAST_ROWS))
    return _rounded_up(rows), shares


def _size(tensor, axis):
    """Return the size of an axis, a scalar tensor if the graph does not know it."""
    known = tensor.shape[axis]
    return tf.shape(tensor)[axis] if known is None else known


def _rounded_up(size):
    if isinstance(size, int):
        return size
    return tf.reduce_min(tf.where(size <= SIZES, SIZES, SIZES[-1]))


def _whole_blocks(time):
    blocks, size = _blocks(time)
    return blocks * size


def _blocks(time):
    """Return into how many blocks of how many steps the backward pass is cut."""
    blocks = -(-time // BLOCK)
    return blocks, -(-time // blocks)


def _padded(tensor, *more):
    """Append zeros, so many along each of the first axes."""
    others = [0] * (len(tensor.shape) - len(more))
    return tf.pad(tensor, [[0, count] for count in (*more, *others)])


# One share, compiled. Buffers are time-major, (time, batch, …). Those of the states
# have one step more, the first: the initial state.


@functools.lru_cache(MOST_COMPILED)
def _compiled(features, units, dtype, masked, return_sequences):
    shapes = [
        (),  # how many steps to run
        (None, None, features),
        (None, units),
        (None, units),
        (features, 4 * units),
        (units, 4 * units),
        (4 * units,),
    ]
    dtypes = [tf.int32, *[dtype] * 6]
    if masked:
        shapes.append((None, None))
        dtypes.append(tf.bool)
    signature = list(map(tf.TensorSpec, shapes, dtypes))

    @tf.function(input_signature=signature, jit_compile=True, autograph=False)
    def compiled(steps, x, h, c, kernel, recurrent_kernel, bias, mask=None):
        @tf.custom_gradient
        def lstm(x, h, c, kernel, recurrent_kernel, bias):
            kept, h, c = _forward(steps, x, mask, h, c, kernel, recurrent_kernel, bias)
            # With two tapes TensorFlow would differentiate what is kept as well.
            kept = [tf.stop_gradient(buffer) for buffer in kept]
            results = [h, c]
            if return_sequences:
                results.insert(0, tf.transpose(kept[0][1:], [1, 0, 2]))

            def gradient(*d_results):
                backward = _differentiable_once(
                    functools.partial(_backward, steps, mask)
                )
                return backward(x, kernel, recurrent_kernel, *kept, *d_results)

            return results, gradient

        return lstm(x, h, c, kernel, recurrent_kernel, bias)

    return compiled


def _forward(steps, x, mask, h, c, kernel, recurrent_kernel, bias):
    """Return [every h, c, i, f, g and o], the last h and the last c."""
    time, units = tf.shape(x)[1], h.shape[1]
    weights = tf.concat([kernel, recurrent_kernel], axis=0)

    def step(t, h, c, hidden, cells, *gates):
        # One product, not two: of a step with many parts XLA would run some at the same
        # time, on the core that the other share needs.
        z = tf.concat([x[:, t], h], axis=-1) @ weights + bias
        z_i, z_f, z_g, z_o = tf.split(z, 4, axis=-1)
        i, f, g, o = tf.sigmoid(z_i), tf.sigmoid(z_f), tf.tanh(z_g), tf.sigmoid(z_o)
        new_c = f * c + i * g
        new_h = o * tf.tanh(new_c)
        if mask is not None:
            on = mask[:, t, tf.newaxis]
            new_h, new_c = tf.where(on, new_h, h), tf.where(on, new_c, c)
        return (
            t + 1,
            new_h,
            new_c,
            hidden.write(t + 1, new_h),
            cells.write(t + 1, new_c),
            # A buffer for each: packed, the step would have more parts.
            *map(tf.TensorArray.write, gates, [t] * 4, (i, f, g, o)),
        )

    _, last_h, last_c, *kept = tf.while_loop(
        lambda t, *_: t < steps,
        step,
        (
            0,
            h,
            c,
            _buffer(x, time + 1, units).write(0, h),
            _buffer(x, time + 1, units).write(0, c),
            *(_buffer(x, time, units) for _ in range(4)),
        ),
    )
    return [buffer.stack() for buffer in kept], last_h, last_c


def _backward(steps, mask, x, kernel, recurrent_kernel, hidden, cells, *gates_and_d):
    """Return the gradients of x, h, c, kernel, recurrent_kernel and bias."""
    gates, d = gates_and_d[:4], gates_and_d[4:]
    *d_hidden, dh, dc = d  # of every h, if that was returned, and of the last h and c
    (rows, time), features, units = tf.unstack(tf.shape(x)[:2]), x.shape[2], dh.shape[1]
    blocks, size = _blocks(time)
    back = _steps_back(mask, recurrent_kernel, cells, gates, d_hidden)

    def block(number, dh, dc, dx, d_kernel, d_recurrent_kernel, d_bias):
        first = number * size
        dz, dh, dc = back(first, tf.minimum(first + size, steps), size, dh, dc)
        dz = tf.reshape(dz, [-1, 4 * units])
        x_then = tf.transpose(
            tf.slice(x, [0, first, 0], [rows, size, features]), [1, 0, 2]
        )
        h_before = tf.slice(hidden, [first, 0, 0], [size, rows, units])
        return (
            number - 1,
            dh,
            dc,
            dx.write(number, tf.matmul(dz, kernel, transpose_b=True)),
            d_kernel
            + tf.matmul(tf.reshape(x_then, [-1, features]), dz, transpose_a=True),
            d_recurrent_kernel
            + tf.matmul(tf.reshape(h_before, [-1, units]), dz, transpose_a=True),
            d_bias + tf.reduce_sum(dz, axis=0),
        )

    _, dh, dc, dx, *d_weights = tf.while_loop(
        lambda number, *_: number >= 0,
        block,
        (
            -(-steps // size) - 1,
            dh,
            dc,
            _buffer(x, blocks, features),
            tf.zeros_like(kernel),
            tf.zeros_like(recurrent_kernel),
            tf.zeros_like(kernel[0]),
        ),
    )
    dx = tf.transpose(tf.reshape(dx.stack(), [time, rows, features]), [1, 0, 2])
    return [dx, dh, dc, *d_weights]


def _steps_back(mask, recurrent_kernel, cells, gates, d_hidden):
    """Return a function that goes back through the steps of a block."""
    transposed = tf.transpose(recurrent_kernel)

    def step(t, dh, dc):
        for every_dh in d_hidden:
            dh += every_dh[:, t]
        i, f, g, o = (gate[t] for gate in gates)
        tanh_c = tf.tanh(cells[t + 1])
        dc_total = dc + dh * o * (1 - tanh_c**2)
        dz = tf.concat(
            [
                dc_total * g * i * (1 - i),
                dc_total * cells[t] * f * (1 - f),
                dc_total * i * (1 - g**2),
                dh * tanh_c * o * (1 - o),
            ],
            axis=-1,
        )
        if mask is None:
            return dz, dz @ transposed, dc_total * f
        on = mask[:, t, tf.newaxis]
        dz = tf.where(on, dz, tf.zeros_like(dz))
        dh_held = tf.where(on, tf.zeros_like(dh), dh)
        return dz, dz @ transposed + dh_held, tf.where(on, dc_total * f, dc)

    def back(first, end, size, dh, dc):
        def one(t, dh, dc, dz_of_steps):
            dz, dh, dc = step(t, dh, dc)
            return t - 1, dh, dc, dz_of_steps.write(t - first, dz)

        _, dh, dc, dz_of_steps = tf.while_loop(
            lambda t, *_: t >= first,
            one,
            (end - 1, dh, dc, _buffer(cells, size, 4 * cells.shape[-1])),
        )
        return dz_of_steps.stack(), dh, dc

    return back


def _differentiable_once(function):
    """Let a second differentiation fail, which would give wrong numbers.

    It fails when it is computed, not when it is built: with two tapes TensorFlow builds
    it even if nobody asks for it. XLA can't compile the operator, and names it.
    """

    def refuse(*gradients):
        with tf.name_scope("first_derivatives_only__use_engine_loop"):
            return [
                tf.py_function(_no_second_derivative, gradients[:1], tensor.dtype)
                for tensor in tensors
            ]

    def once(*inputs):
        tensors.extend(inputs)
        return function(*inputs), refuse

    tensors = []
    return tf.custom_gradient(once)


def _no_second_derivative(_):
    raise NotImplementedError("first derivatives only: use engine='loop'")


def _buffer(like, size, width):
    return tf.TensorArray(like.dtype, size=size, element_shape=(None, width))
