"""The equations of an LSTM and their gradient, for cell, engines and `interpret`.

They work on tensors of any backend with any leading axes: one step `(batch, …)`, or all
steps of a sequence at once `(batch, time, …)`. They are tested against
`lstm_keras.reference`, which is written independently in NumPy.

Engines pass their backend's own tanh and sigmoid: on JAX and torch those of `keras.ops`
compute float64 partly in float32.
"""

import contextvars
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from keras import ops


class Gates(NamedTuple):
    """The three gates and the candidate, each `(…, units)`.

    Attributes:
        i: Input gate.
        f: Forget gate.
        g: Candidate.
        o: Output gate.
    """

    i: Any
    f: Any
    g: Any
    o: Any


def affine(products: Iterable[tuple], bias: Any) -> Any:
    """Return a sum of products with weights, and of a bias; see `LSTMCell.affine`."""
    first, *others = products
    z = _project(*first)
    for product in others:
        z = z + _project(*product)
    # Not `z + bias`: TensorFlow sums its gradient in another order, and training would
    # differ from Keras's layer in the last bits, then in more.
    return z if bias is None else ops.add(z, bias)


def _project(inputs, kernel, masks=None):
    """Return `inputs @ kernel`, with one dropout mask, or one for each part."""
    if masks is None:
        return ops.matmul(inputs, kernel)
    if len(masks) == 1:
        return ops.matmul(inputs * masks[0], kernel)
    kernels = ops.split(kernel, len(masks), axis=-1)
    parts = zip(masks, kernels, strict=True)
    return ops.concatenate(
        [ops.matmul(inputs * mask, part) for mask, part in parts], axis=-1
    )


# What computes `LSTMCell.affine`; an engine sets its own while it traces a step.
AFFINE: contextvars.ContextVar[Callable] = contextvars.ContextVar(
    "affine", default=affine
)


def gates(
    z: Any,
    activation: Callable = ops.tanh,
    recurrent_activation: Callable = ops.sigmoid,
) -> Gates:
    """Return the gates and the candidate of the pre-activations.

    Args:
        z: `x_t W + h_{t-1} U + b`, `(…, 4 * units)`.
        activation: Activation of the candidate.
        recurrent_activation: Activation of the three gates.
    """
    z_i, z_f, z_g, z_o = ops.split(z, 4, axis=-1)
    i = recurrent_activation(z_i)
    f = recurrent_activation(z_f)
    g = activation(z_g)
    o = recurrent_activation(z_o)
    return Gates(i, f, g, o)


def states(gates: Gates, c: Any, activation: Callable = ops.tanh) -> tuple[Any, Any]:
    """Return the new states `h_t` and `c_t`, each `(…, units)`.

    Args:
        gates: Gates and candidate of the step.
        c: The cell state before it, `c_{t-1}`.
        activation: Activation of the cell state in `h_t`.
    """
    i, f, g, o = gates
    c = f * c + i * g
    h = o * activation(c)
    return h, c


def backward(
    dh: Any, dc: Any, gates: Gates, c_before: Any, tanh_c: Any
) -> tuple[Gates, Any]:
    """Return the gradients by the parts of `z` and by `c_{t-1}`, for sigmoid and tanh.

    Source: Greff et al., "LSTM: A Search Space Odyssey", IEEE Transactions on Neural
    Networks and Learning Systems 28(10), 2017, without the peephole connections.

    Args:
        dh: Gradient of the loss by `h_t`, `(…, units)`.
        dc: Gradient by `c_t` along all paths except through `h_t`.
        gates: Gates and candidate of the step.
        c_before: The cell state before the step, `c_{t-1}`.
        tanh_c: The tanh of the cell state after it.
    """
    i, f, g, o = gates
    dc = dc + dh * o * (1 - tanh_c**2)
    dz = Gates(
        i=dc * g * i * (1 - i),
        f=dc * c_before * f * (1 - f),
        g=dc * i * (1 - g**2),
        o=dh * tanh_c * o * (1 - o),
    )
    return dz, dc * f
