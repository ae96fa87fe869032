"""Masks, and the cell states of all steps, for operators that support neither.

A masked step changes nothing, so only the order of the other steps matters: they are
moved to the front, and the outputs are read from where their steps went. The masked
steps follow, in which `c` must not change. There an extra feature, 1 where masked and 0
elsewhere, closes the input gate and opens the forget gate: sigmoid is then exactly 0
and 1, so values and gradients are exact.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from lstm_keras import equations
from lstm_keras.engines import Inputs

# sigmoid(-SHUT) is 0 and sigmoid(SHUT) is 1, from float16 to float64.
SHUT = 1e4


def run_compacted(operator: Callable, inputs: Inputs) -> tuple[Any, Any, list]:
    """Implement an engine's `run` by an operator without masks and cell states.

    Args:
        operator: Maps sequences, states and weights to every `h` and the last `[h, c]`.
        inputs: The engine's, without dropout.
    """
    sequences, mask, states, weights, _, return_sequences, return_cells, _ = inputs
    if mask is not None:
        sequences, weights = _masked_last(sequences, mask), _with_hold(weights)
    hidden, last = operator(sequences, states, weights)
    cells = _cells(sequences, hidden, states, weights) if return_cells else None
    if mask is not None:
        steps_before = ops.cumsum(ops.cast(mask, "int32"), axis=1)
        # Before the first unmasked step the states are the initial ones.
        every_h = ops.concatenate([states[0][:, None], hidden], axis=1)
        last = [_at(every_h, steps_before[:, -1:])[:, 0], last[1]]
        if return_sequences:
            hidden = _at(every_h, steps_before)
        if return_cells:
            every_c = ops.concatenate([states[1][:, None], cells], axis=1)
            cells = _at(every_c, steps_before)
    return hidden if return_sequences else None, cells, last


def _masked_last(sequences, mask):
    """Return the sequences with the masked steps moved to the end.

    One more feature is 1 in masked steps and 0 elsewhere. In masked steps the other
    features are set to 0, since large values or NaN there could open the gate again.
    """
    unmasked, masked = (ops.cast(m, "int32") for m in (mask, ops.logical_not(mask)))
    count = ops.sum(unmasked, axis=1, keepdims=True)
    steps = ops.where(
        mask, ops.cumsum(unmasked, axis=1) - 1, count + ops.cumsum(masked, axis=1) - 1
    )
    sequences = ops.concatenate(
        [
            ops.where(mask[..., None], sequences, 0),
            ops.cast(masked, sequences.dtype)[..., None],
        ],
        axis=-1,
    )
    flat, places = _flat(sequences, steps)
    # Added to zeros, since torch exports an assignment to ONNX with fixed sizes.
    moved = ops.scatter_update(
        ops.zeros_like(flat), ops.reshape(places, (-1, 1)), flat, reduction="add"
    )
    return ops.reshape(moved, ops.shape(sequences))


def _with_hold(weights):
    """Return the weights, with a row for the feature that keeps `c` unchanged."""
    units = weights.recurrent_kernel.shape[0]
    hold = ops.convert_to_tensor(
        [[-SHUT] * units + [SHUT] * units + [0.0] * (2 * units)],
        dtype=keras.backend.standardize_dtype(weights.kernel.dtype),
    )
    return weights._replace(kernel=ops.concatenate([weights.kernel, hold], axis=0))


def _cells(sequences, hidden, states, weights):
    """Return every `c`, computed from every `h`; only `c` itself needs a loop."""
    kernel, recurrent_kernel, bias = weights
    h_before = ops.concatenate([states[0][:, None], hidden[:, :-1]], axis=1)
    z = ops.matmul(sequences, kernel) + ops.matmul(h_before, recurrent_kernel) + bias
    i, f, g, _ = equations.gates(z)
    # Not `ops.scan`, which on TensorFlow needs a known number of steps.
    loop = keras.layers.RNN(
        _CellState(recurrent_kernel.shape[0]), return_sequences=True, name="cells"
    )
    return loop.inner_loop(ops.concatenate([f, i * g], -1), [states[1]], mask=None)[1]


class _CellState(keras.layers.Layer):
    """The cell `c_t = f * c_{t-1} + i * g`; its inputs are `f` and `i * g`, joined."""

    def __init__(self, units):
        super().__init__(name="cell_state")
        self.state_size = self.output_size = units

    def call(self, inputs, states):
        f, addition = ops.split(inputs, 2, axis=-1)
        c = f * states[0] + addition
        return c, [c]


def _at(every, steps):
    """Return the values at steps `(batch, steps)` of `(batch, time, units)`."""
    flat, places = _flat(every, steps)
    return ops.take(flat, places, axis=0)


def _flat(every, steps):
    """Return all steps of all rows along one axis, and the places of the given ones.

    torch exports scatter and take to ONNX only along one axis.
    """
    rows = ops.cumsum(ops.ones_like(steps), axis=0) - 1
    places = rows * ops.shape(every)[1] + steps
    return ops.reshape(every, (-1, every.shape[-1])), places
