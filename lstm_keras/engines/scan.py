"""JAX: `lax.scan` over time, with the gradient derived by hand.

The forward pass stores the gates and the backward pass collects the gradient of `z`, so
that the gradients of the weights are two large products after the loop instead of two
small ones in each step. (`lstm_keras.reference` derives and explains the same
gradient.) Reverse-mode differentiation works to any order; for `jax.jvp` use the loop.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import sigmoid

from lstm_keras import equations
from lstm_keras.engines import Inputs


def run(inputs: Inputs) -> tuple[Any, Any, list]:
    """Run over all steps; see `lstm_keras.engines`."""
    sequences, mask, states, weights, dropout, *wanted, _ = inputs
    # Time-major from here on: x (time, batch, features), mask (time, batch, 1).
    x = jnp.swapaxes(sequences, 0, 1)
    if mask is not None:
        mask = jnp.swapaxes(mask, 0, 1)[..., None]
        x = jnp.where(mask, x, 0)
    if dropout is not None:
        # (4, batch, features) and (4, batch, units)
        dropout = jnp.split(jnp.swapaxes(dropout, 0, 1), [x.shape[-1]], axis=-1)
    every, last = _compiled(tuple(wanted), x, mask, dropout, *states, *weights)
    hidden, cells = (None if s is None else jnp.swapaxes(s, 0, 1) for s in every)
    return hidden, cells, list(last)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _lstm(wanted, x, mask, dropout, h, c, kernel, recurrent_kernel, bias):
    def step(states, inputs):
        h, c, _ = _step(*inputs, dropout, *states, kernel, recurrent_kernel, bias)
        return (h, c), _wanted(wanted, h, c)

    last, every = lax.scan(step, (h, c), (x, mask))
    return every, last


def _wanted(wanted, h, c):
    return tuple(
        value if is_wanted else None
        for is_wanted, value in zip(wanted, (h, c), strict=True)
    )


def _forward(wanted, x, mask, dropout, h0, c0, kernel, recurrent_kernel, bias):
    def step(states, inputs):
        h, c, gates = _step(*inputs, dropout, *states, kernel, recurrent_kernel, bias)
        return (h, c), (h, c, gates)

    last, (hidden, cells, gates) = lax.scan(step, (h0, c0), (x, mask))
    stored = (x, mask, dropout, h0, c0, kernel, recurrent_kernel, hidden, cells, gates)
    return (_wanted(wanted, hidden, cells), last), stored


def _step(x, mask, dropout, h, c, kernel, recurrent_kernel, bias):
    x_dropout, h_dropout = dropout or (None, None)
    z = _product(x, kernel, x_dropout) + _product(h, recurrent_kernel, h_dropout) + bias
    gates = equations.gates(z, jnp.tanh, sigmoid)
    new_h, new_c = equations.states(gates, c, jnp.tanh)
    if mask is not None:
        new_h, new_c = jnp.where(mask, new_h, h), jnp.where(mask, new_c, c)
    return new_h, new_c, gates


def _product(inputs, kernel, dropout):
    """Return `inputs @ kernel`, with separate dropout for each of the four parts.

    Args:
        inputs: `(…, batch, columns)`.
        kernel: `(columns, 4 * units)`.
        dropout: Factors `(4, batch, columns)`, or None.
    """
    if dropout is None:
        return inputs @ kernel
    parts = zip(dropout, jnp.split(kernel, 4, axis=-1), strict=True)
    return jnp.concatenate([(inputs * drop) @ k for drop, k in parts], axis=-1)


def _inputs_back(dz, transposed, dropout):
    """Return the gradient of `_product` by its inputs, given the kernel's transpose."""
    if dropout is None:
        return dz @ transposed
    parts = jnp.split(dz, 4, axis=-1), jnp.split(transposed, 4), dropout
    return sum((d @ k) * drop for d, k, drop in zip(*parts, strict=True))


def _kernel_back(inputs, dz, dropout):
    """Return the gradient of `_product` by its kernel, summed over all steps."""
    if dropout is None:
        inputs, dz = (t.reshape(-1, t.shape[-1]) for t in (inputs, dz))
        return inputs.T @ dz
    parts = zip(dropout, jnp.split(dz, 4, axis=-1), strict=True)
    return jnp.concatenate(
        [_kernel_back(inputs * drop, d, None) for drop, d in parts], axis=-1
    )


def _backward(wanted, stored, gradients):
    x, mask, dropout, h0, c0, kernel, recurrent_kernel, hidden, cells, gates = stored
    (d_hidden, d_cells), (dh, dc) = gradients
    x_dropout, h_dropout = dropout or (None, None)
    h_before = jnp.concatenate([h0[None], hidden[:-1]])
    c_before = jnp.concatenate([c0[None], cells[:-1]])
    transposed = recurrent_kernel.T

    def step(later, inputs):
        dh, dc = later
        mask, d_hidden, d_cells, gates, c_before, c = inputs
        dh = dh if d_hidden is None else dh + d_hidden
        dc = dc if d_cells is None else dc + d_cells
        dz, dc_before = equations.backward(dh, dc, gates, c_before, jnp.tanh(c))
        dz = jnp.concatenate(dz, axis=-1)
        if mask is None:
            return (_inputs_back(dz, transposed, h_dropout), dc_before), dz
        dz = jnp.where(mask, dz, 0)
        dh = _inputs_back(dz, transposed, h_dropout) + jnp.where(mask, 0, dh)
        return (dh, jnp.where(mask, dc_before, dc)), dz

    (dh, dc), dz = lax.scan(
        step,
        (dh, dc),
        (mask, d_hidden, d_cells, gates, c_before, cells),
        reverse=True,
    )
    return (
        _inputs_back(dz, kernel.T, x_dropout),
        None,  # of the mask and the dropout
        None,
        dh,
        dc,
        _kernel_back(x, dz, x_dropout),
        _kernel_back(h_before, dz, h_dropout),
        dz.sum(axis=(0, 1)),
    )


_lstm.defvjp(_forward, _backward)
# For calls outside of a compiled model: each makes a new `step`, which JAX would
# recompile.
_compiled = jax.jit(_lstm, static_argnums=0)
