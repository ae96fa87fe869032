"""The equations of an LSTM and their gradient, for cell, engines and `interpret`.

They work on tensors of any backend with any leading axes: one step `(batch, …)`, or all
steps of a sequence at once `(batch, time, …)`. They are tested against
`lstm_keras.reference`, which is written independently in NumPy.

Engines pass their backend's own tanh and sigmoid: on JAX and torch those of `keras.ops`
compute float64 partly in float32.
"""

from collections.abc import Callable
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
