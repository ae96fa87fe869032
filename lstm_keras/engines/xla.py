"""TensorFlow: a loop compiled by XLA, run once for each share of the batch.

A compiled loop over time does one thing after the other, so it keeps one core busy. The
batch is therefore split, and TensorFlow runs the shares side by side, each on a core of
its own. For that the model around must not be one XLA program itself, so the layer asks
Keras not to make it one (`supports_jit`).

The gradient is derived by hand: the forward pass keeps the gates and the backward pass
collects the gradient of `z`, so that the gradients of the weights are two large
products after the loop instead of two small ones in each step. (`lstm_keras.reference`
derives the same gradient, and says more.) There is no second derivative.

XLA compiles for fixed shapes. Sizes that are not known beforehand are rounded up, and
the loop stops where the sequences end, so batches of many shapes need few compilations.
"""

import functools
import os

import tensorflow as tf

# A share for each core, up to MOST_SHARES: more were not measured. With fewer rows than
# LEAST_ROWS a step takes as long as with so many.
MOST_SHARES = 4
LEAST_ROWS = 8

# Sizes are rounded up to these: four between a power of 2 and the next.
SIZES = [1, 2, 3, 4, *(n << shift for shift in range(28) for n in range(5, 9))]


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
    if not return_sequences:
        return None, [h, c]
    hidden[0].set_shape([*sequences.shape[:2], units])
    return hidden[0], [h, c]


# The shares.


@functools.cache
def _as_graph(compiled):
    """`_in_shares` for all batch sizes and lengths."""
    _, *signature = compiled.input_signature
    return tf.function(_in_shares(compiled), input_signature=signature, autograph=False)


def _in_shares(compiled):
    """Return what splits the batch, calls `compiled` for each share, and joins."""

    def run(x, h, c, kernel, recurrent_kernel, bias, *mask):
        batch, time = _size(x, 0), _size(x, 1)
        rows, starts = _split(batch)
        more_rows = [0, rows * len(starts) - batch]
        more_steps = [0, _rounded_up(time) - time]
        x = tf.pad(x, [more_rows, more_steps, [0, 0]])
        h, c = (tf.pad(state, [more_rows, [0, 0]]) for state in (h, c))
        mask = [tf.pad(m, [more_rows, more_steps]) for m in mask]
        shares = []
        for start in starts:
            share = slice(start, start + rows)
            shares.append(
                compiled(
                    tf.where(start < batch, time, 0),  # a share may be empty
                    x[share],
                    h[share],
                    c[share],
                    kernel,
                    recurrent_kernel,
                    bias,
                    *(m[share] for m in mask),
                )
            )
        *hidden, h, c = (
            tf.concat(parts, axis=0)[:batch] for parts in zip(*shares, strict=True)
        )
        return [*(every_h[:, :time] for every_h in hidden), h, c]

    return run


def _split(batch):
    """How many rows a share has, and where each starts."""
    on_gpu = bool(tf.config.get_visible_devices("GPU"))
    threads = tf.config.threading.get_inter_op_parallelism_threads()  # 0: a core each
    shares = 1 if on_gpu else min(threads or os.cpu_count(), MOST_SHARES)
    if isinstance(batch, int):
        rows = max(-(-batch // shares), min(batch, LEAST_ROWS), 1)
        return rows, range(0, max(batch, 1), rows)
    rows = tf.maximum(-(-batch // shares), tf.minimum(batch, LEAST_ROWS))
    rows = _rounded_up(rows)
    return rows, [share * rows for share in range(shares)]


def _size(tensor, axis):
    """The size of an axis: an integer if the graph knows it, else a scalar tensor."""
    known = tensor.shape[axis]
    return tf.shape(tensor)[axis] if known is None else known


def _rounded_up(size):
    if isinstance(size, int):
        return size
    return tf.gather(SIZES, tf.searchsorted(SIZES, [size])[0])


# One share, compiled. Buffers are time-major, (time, batch, …). Those of the states
# have one step more, the first: the initial state.


@functools.cache
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
    """Return (every h, every c, all gates), the last h and the last c."""
    time, units = tf.shape(x)[1], h.shape[1]
    # sigmoid(z) = (1 + tanh(z / 2)) / 2, so one tanh computes all four parts.
    half = tf.repeat(tf.constant([0.5, 0.5, 1.0, 0.5], x.dtype), units)
    kernel, recurrent_kernel, bias = kernel * half, recurrent_kernel * half, bias * half

    def step(t, h, c, hidden, cells, gates):
        z = x[:, t] @ kernel + h @ recurrent_kernel + bias
        i, f, g, o = tf.split(tf.tanh(z), 4, axis=-1)
        i, f, o = (1 + i) / 2, (1 + f) / 2, (1 + o) / 2
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
            gates.write(t, tf.concat([i, f, g, o], axis=-1)),
        )

    _, last_h, last_c, *kept = tf.while_loop(
        lambda t, *_: t < steps,
        step,
        (
            0,
            h,
            c,
            _buffer(x.dtype, time + 1, units).write(0, h),
            _buffer(x.dtype, time + 1, units).write(0, c),
            _buffer(x.dtype, time, 4 * units),
        ),
    )
    return [buffer.stack() for buffer in kept], last_h, last_c


def _backward(steps, mask, x, kernel, recurrent_kernel, hidden, cells, gates, *d):
    """Return the gradients of x, h, c, kernel, recurrent_kernel and bias."""
    *d_hidden, dh, dc = d  # of every h, if that was returned, and of the last h and c
    d_hidden = [tf.transpose(every_dh, [1, 0, 2]) for every_dh in d_hidden]
    time, features, units = tf.shape(x)[1], x.shape[2], dh.shape[1]
    transposed = tf.transpose(recurrent_kernel)

    def step(t, dh, dc, dz_of_steps):
        for every_dh in d_hidden:
            dh += every_dh[t]
        i, f, g, o = tf.split(gates[t], 4, axis=-1)
        tanh_c = tf.tanh(cells[t + 1])
        new_dc = dc + dh * o * (1 - tanh_c**2)
        dz = tf.concat(
            [
                new_dc * g * i * (1 - i),
                new_dc * cells[t] * f * (1 - f),
                new_dc * i * (1 - g**2),
                dh * tanh_c * o * (1 - o),
            ],
            axis=-1,
        )
        new_dc *= f
        if mask is None:
            new_dh = dz @ transposed
        else:
            on = mask[:, t, tf.newaxis]
            dz = tf.where(on, dz, tf.zeros_like(dz))
            new_dh = dz @ transposed + tf.where(on, tf.zeros_like(dh), dh)
            new_dc = tf.where(on, new_dc, dc)
        return t - 1, new_dh, new_dc, dz_of_steps.write(t, dz)

    _, dh, dc, dz_of_steps = tf.while_loop(
        lambda t, *_: t >= 0,
        step,
        (steps - 1, dh, dc, _buffer(x.dtype, time, 4 * units)),
    )
    dz = tf.reshape(dz_of_steps.stack(), [-1, 4 * units])
    x = tf.reshape(tf.transpose(x, [1, 0, 2]), [-1, features])
    h_before = tf.reshape(hidden[:-1], [-1, units])
    dx = tf.reshape(tf.matmul(dz, kernel, transpose_b=True), [time, -1, features])
    return [
        tf.transpose(dx, [1, 0, 2]),
        dh,
        dc,
        tf.matmul(x, dz, transpose_a=True),
        tf.matmul(h_before, dz, transpose_a=True),
        tf.reduce_sum(dz, axis=0),
    ]


def _differentiable_once(function):
    """Refuse to differentiate a gradient again, which would give wrong numbers."""

    def refuse(*_):
        raise NotImplementedError(
            "expected first derivatives only from the engine 'xla'; received a second "
            "differentiation: make the layer with engine='loop'"
        )

    return tf.custom_gradient(lambda *tensors: (function(*tensors), refuse))


def _buffer(dtype, size, width):
    return tf.TensorArray(dtype, size=size, element_shape=(None, width))
