"""JAX: `lax.scan` over time, with the gradient derived by hand.

The forward pass keeps the gates and the backward pass collects the gradient of `z`, so
that the gradients of the weights are two large products after the loop instead of two
small ones in each step. (`lstm_keras.reference` derives the same gradient, and says
more.) Reverse-mode differentiation works to any order; for `jax.jvp` take the loop.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import sigmoid


def run(sequences, mask, states, kernel, recurrent_kernel, bias, return_sequences):
    """Run over all steps; see `lstm_keras.engines`."""
    # Time-major from here on: x (time, batch, features), mask (time, batch, 1).
    x = jnp.swapaxes(sequences, 0, 1)
    if mask is not None:
        mask = jnp.swapaxes(mask, 0, 1)[..., None]
    hidden, h, c = _compiled(
        return_sequences, x, mask, *states, kernel, recurrent_kernel, bias
    )
    return jnp.swapaxes(hidden, 0, 1) if return_sequences else None, [h, c]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _lstm(return_sequences, x, mask, h, c, kernel, recurrent_kernel, bias):
    def step(states, inputs):
        h, c, _ = _step(*inputs, *states, kernel, recurrent_kernel, bias)
        return (h, c), h if return_sequences else None

    (h, c), hidden = lax.scan(step, (h, c), (x, mask))
    return hidden, h, c


def _forward(return_sequences, x, mask, h0, c0, kernel, recurrent_kernel, bias):
    def step(states, inputs):
        h, c, gates = _step(*inputs, *states, kernel, recurrent_kernel, bias)
        return (h, c), (h, c, gates)

    (h, c), (hidden, cells, gates) = lax.scan(step, (h0, c0), (x, mask))
    kept = (x, mask, h0, c0, kernel, recurrent_kernel, hidden, cells, gates)
    return (hidden if return_sequences else None, h, c), kept


def _step(x, mask, h, c, kernel, recurrent_kernel, bias):
    z_i, z_f, z_g, z_o = jnp.split(x @ kernel + h @ recurrent_kernel + bias, 4, axis=-1)
    i, f, g, o = sigmoid(z_i), sigmoid(z_f), jnp.tanh(z_g), sigmoid(z_o)
    new_c = f * c + i * g
    new_h = o * jnp.tanh(new_c)
    if mask is not None:
        new_h, new_c = jnp.where(mask, new_h, h), jnp.where(mask, new_c, c)
    return new_h, new_c, (i, f, g, o)


def _backward(return_sequences, kept, gradients):
    x, mask, h0, c0, kernel, recurrent_kernel, hidden, cells, gates = kept
    d_hidden, dh, dc = gradients
    h_before = jnp.concatenate([h0[None], hidden[:-1]])
    c_before = jnp.concatenate([c0[None], cells[:-1]])
    transposed = recurrent_kernel.T

    def step(later, inputs):
        dh, dc = later
        mask, d_hidden, gates, c_before, c = inputs
        if d_hidden is not None:
            dh = dh + d_hidden
        dz, dc_before = _step_backward(dh, dc, gates, c_before, c)
        if mask is None:
            return (dz @ transposed, dc_before), dz
        dz = jnp.where(mask, dz, 0)
        dh = dz @ transposed + jnp.where(mask, 0, dh)
        return (dh, jnp.where(mask, dc_before, dc)), dz

    (dh, dc), dz = lax.scan(
        step, (dh, dc), (mask, d_hidden, gates, c_before, cells), reverse=True
    )
    d_x = dz @ kernel.T
    x, h_before, dz = (t.reshape(-1, t.shape[-1]) for t in (x, h_before, dz))
    return d_x, None, dh, dc, x.T @ dz, h_before.T @ dz, dz.sum(axis=0)


def _step_backward(dh, dc, gates, c_before, c):
    i, f, g, o = gates
    tanh_c = jnp.tanh(c)
    dc = dc + dh * o * (1 - tanh_c**2)
    dz = jnp.concatenate(
        [
            dc * g * i * (1 - i),
            dc * c_before * f * (1 - f),
            dc * i * (1 - g**2),
            dh * tanh_c * o * (1 - o),
        ],
        axis=-1,
    )
    return dz, dc * f


_lstm.defvjp(_forward, _backward)
# For calls outside of a compiled model: each makes a new `step`, which JAX would
# compile anew.
_compiled = jax.jit(_lstm, static_argnums=0)
