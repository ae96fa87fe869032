"""LSTM and GRU layers as the operators of these names, with any mask.

Neither operator has a mask, only a length for each row. So the steps that count are
moved to the front of their row, the operator runs over that many, and its outputs are
put where Keras has them.

Source of the operators' equations: https://onnx.ai/onnx/operators/.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from lstm_keras.cell import LSTMCell
from lstm_keras.convert.onnx.graph import BOOL, INT32, INT64, Graph, Value
from lstm_keras.convert.onnx.refusal import activation_name, refuse
from lstm_keras.layer import LSTM

LAYERS = (LSTM, keras.layers.LSTM, keras.layers.GRU, keras.layers.RNN)

# By the name in Keras: the name in ONNX, alpha and beta if it has them, and an x at
# which the activation is 1 in float32.
_ACTIVATIONS: dict[str, tuple[str, float | None, float | None, float]] = {
    "tanh": ("Tanh", None, None, 20.0),
    "sigmoid": ("Sigmoid", None, None, 40.0),
    "hard_sigmoid": ("HardSigmoid", 1 / 6, 0.5, 10.0),
    "linear": ("Affine", 1.0, 0.0, 1.0),
    "relu": ("Relu", None, None, 1.0),
    "leaky_relu": ("LeakyRelu", 0.2, None, 1.0),
    "elu": ("Elu", 1.0, None, 1.0),
    "softsign": ("Softsign", None, None, 1e9),
    "softplus": ("Softplus", None, None, float(np.log(np.e - 1))),
}
_ZERO = np.float32(0)


def recurrent(
    graph: Graph, layer: Any, x: Value, initial_state: Any = None, mask: Any = None
) -> list[str]:
    """Add a recurrent layer, and return the names of what it returns."""
    _check(graph, layer, mask)
    states = _initial_states(graph, layer, x, initial_state)
    sequences = graph.float32(x)
    if mask is not None:
        mask = _boolean(graph, mask)
    if layer.go_backwards:
        sequences = flipped(graph, sequences)
        mask = mask and flipped(graph, mask)
    rows = _Rows(graph, mask) if mask else None
    if rows:
        sequences = rows.to_front(sequences)
    every, last = _CELLS[type(layer.cell)](
        graph,
        layer,
        graph.Transpose(sequences, perm=[1, 0, 2]),
        states,
        rows.lengths() if rows else None,
    )
    if layer.return_sequences:
        outputs = [graph.Transpose(one, perm=[1, 0, 2]) for one in every]
    else:
        outputs = last[: 2 if _returns_cell_states(layer) else 1]
    if rows:
        outputs = _outputs_of_rows(graph, layer, rows, outputs, states)
        last = [rows.unless_empty(*pair) for pair in zip(last, states, strict=True)]
    # Of our layer the attribute `return_state` says more.
    returns_states = layer.get_config()["return_state"]
    return [*outputs, *(last if returns_states else [])]


def bidirectional(
    graph: Graph, layer: Any, x: Value, initial_state: Any = None, mask: Any = None
) -> list[str]:
    """Add both layers of a `keras.layers.Bidirectional`, and merge what they return."""
    both = layer.forward_layer, layer.backward_layer
    halves: Sequence = (None, None)
    if initial_state is not None:
        half = len(initial_state) // 2
        halves = initial_state[:half], initial_state[half:]
    found = []
    for one, states in zip(both, halves, strict=True):
        if type(one) not in LAYERS:
            refuse(graph, layer, f"which holds a {type(one).__name__}")
        found.append(recurrent(graph, one, x, states, mask))
    (forward, *forward_rest), (backward, *backward_rest) = found
    if layer.return_sequences:
        backward = flipped(graph, backward)
    merged = {
        "concat": lambda a, b: [graph.Concat(a, b, axis=-1)],
        "sum": lambda a, b: [graph.Add(a, b)],
        "ave": lambda a, b: [graph.Mean(a, b)],
        "mul": lambda a, b: [graph.Mul(a, b)],
        None: lambda a, b: [a, b],
    }[layer.merge_mode](forward, backward)
    return [*merged, *forward_rest, *backward_rest]


def flipped(graph: Graph, x: Any) -> str:
    """Reverse the order of time, axis 1."""
    return graph.Slice(x, [-1], [-(2**63)], [1], [-1])


def _check(graph, layer, mask):
    if type(layer.cell) not in _CELLS:
        refuse(graph, layer, f"whose cell is a {type(layer.cell).__name__}")
    if layer.stateful:
        refuse(graph, layer, "which is stateful")
    if layer.unroll and layer.zero_output_for_mask and mask is not None:
        refuse(
            graph,
            layer,
            "which is unrolled, has a mask and zero_output_for_mask: no two backends "
            "of Keras compute the same then",
        )


def _initial_states(graph, layer, x, initial_state):
    """Return the states before the first step, `(batch, units)`; None for zeros."""
    if initial_state is None and getattr(layer, "learn_initial_state", False):
        initial_state = [
            ops.convert_to_numpy(state) for state in (layer.initial_h, layer.initial_c)
        ]
    if initial_state is None:
        return [None] * len(np.atleast_1d(layer.cell.state_size))
    if not isinstance(initial_state, list | tuple):
        initial_state = [initial_state]
    batch = graph.Shape(x, start=0, end=1)
    shape = graph.Concat(batch, [layer.cell.units], axis=0)
    return [graph.Expand(graph.float32(state), shape) for state in initial_state]


def _returns_cell_states(layer):
    return getattr(layer, "return_cell_states", False)


def _boolean(graph, mask):
    """Return a mask as `(batch, time)` of bool."""
    found = graph.Cast(mask, to=BOOL)
    return graph.Squeeze(found, [2]) if len(mask.spec.shape) == 3 else found


class _Rows:
    """The rows of a batch of which not all steps count.

    Args:
        graph: The graph.
        mask: Bool `(batch, time)`, in the order in which the layer reads.
    """

    def __init__(self, graph: Graph, mask: str):
        self.graph, self.mask = graph, mask
        self._counts = graph.Cast(mask, to=INT64)
        # The number of steps that count up to each step; in all, (batch, 1).
        self._seen = graph.CumSum(self._counts, np.int64(1))
        self._total = graph.ReduceSum(self._counts, [1], keepdims=1)

    def lengths(self) -> str:
        """Return how far the operator runs: not less than a step, since it may fail."""
        lengths = self.graph.Max(self.graph.Squeeze(self._total, [1]), np.int64(1))
        return self.graph.Cast(lengths, to=INT32)

    def to_front(self, sequences: Any) -> str:
        """Move the steps that count to the front of their row, in their order."""
        # Of equal elements TopK names the first one first.
        time = self.graph.Shape(self.mask, start=1, end=2)
        _, order = self.graph.TopK(self._counts, time, axis=1, outputs=2)
        return self._picked(sequences, order)

    def put_back(self, every: Any, before: Any) -> str:
        """Return at each step the output of the last one that counts, or `before`.

        Args:
            every: The outputs of the operator, `(batch, time, units)`.
            before: `(batch, units)`, or None for zeros.
        """
        return self._picked(_preceded(self.graph, every, before, axis=1), self._seen)

    def unless_empty(self, last: Any, before: Any) -> str:
        """Return the last output, `(batch, units)`, but `before` for empty rows."""
        has_steps = self.graph.Greater(self._total, np.int64(0))
        return self.graph.Where(has_steps, last, _ZERO if before is None else before)

    def zero_where_masked(self, every: Any) -> str:
        """Return outputs `(batch, time, units)`, but zeros at masked steps."""
        return self.graph.Where(self.graph.Unsqueeze(self.mask, [2]), every, _ZERO)

    def zero_if_masked(self, last: Any) -> str:
        """Return outputs `(batch, units)`, but zeros if the last step is masked."""
        counts = self.graph.Slice(self.mask, [-1], [2**62], [1])
        return self.graph.Where(counts, last, _ZERO)

    def _picked(self, x, steps):
        """Return `x[row, steps[row]]` of each row."""
        return self.graph.GatherND(x, self.graph.Unsqueeze(steps, [2]), batch_dims=1)


def _outputs_of_rows(graph, layer, rows, outputs, states):
    """Return what Keras has as outputs, given those of the operator."""
    zero = layer.zero_output_for_mask
    # What Keras's loop shows before the first step that counts.
    shows_initial = keras.backend.backend() == "jax" and not (layer.unroll or zero)
    before = states if shows_initial else [None] * len(states)
    pairs = list(zip(outputs, before, strict=False))
    if layer.return_sequences:
        found = [rows.put_back(*pair) for pair in pairs]
        return [rows.zero_where_masked(one) for one in found] if zero else found
    found = [rows.unless_empty(*pair) for pair in pairs]
    return [rows.zero_if_masked(one) for one in found] if zero else found


def _preceded(graph, every, first, axis):
    """Put `first`, `(batch, units)`, or zeros for None, before the first step."""
    if first is None:
        return graph.Pad(every, [int(axis == i) for i in range(3)] + [0, 0, 0])
    return graph.Concat(graph.Unsqueeze(first, [axis]), every, axis=axis)


def _lstm(graph, layer, x, states, lengths):
    """Add an LSTM over `(time, batch, features)`.

    Returns:
        Every `h`, and if the layer returns them every `c`, `(time, batch, units)`; and
        the last `h` and `c`, `(batch, units)`.
    """
    cell = layer.cell
    kernel, recurrent_kernel, bias = _weights(cell, (4 * cell.units,))
    activation, gate = _activations(graph, layer)
    every, *last = _operator(
        graph,
        "LSTM",
        [x, _reordered(kernel), _reordered(recurrent_kernel)],
        np.append(_reordered(bias), 0 * bias),
        [lengths, *states],
        [gate, activation, activation],
    )
    if not (layer.return_sequences and _returns_cell_states(layer)):
        return [every], last
    before = graph.Slice(_preceded(graph, every, states[0], axis=0), [0], [-1], [0])
    z = graph.Add(graph.MatMul(x, kernel), graph.MatMul(before, recurrent_kernel))
    # ONNX's LSTM does not return every `c`. It is every `h` of another one without
    # products, whose output gate is open and whose last activation is the identity.
    select, open_gate = np.eye(4 * cell.units, dtype=np.float32), 0 * bias
    select[:, -cell.units :] = 0
    open_gate[-cell.units :] = gate[-1]
    cells, *_ = _operator(
        graph,
        "LSTM",
        [graph.Add(z, bias), _reordered(select), 0 * recurrent_kernel],
        np.append(_reordered(open_gate), 0 * bias),
        [lengths, None, states[1]],
        [gate, activation, _ACTIVATIONS["linear"]],
    )
    return [every, cells], last


def _gru(graph, layer, x, states, lengths):
    """Add a GRU over `(time, batch, features)`; it returns what `_lstm` does."""
    cell = layer.cell
    shape = (2, 3 * cell.units) if cell.reset_after else (3 * cell.units,)
    kernel, recurrent_kernel, bias = _weights(cell, shape)
    every, *last = _operator(
        graph,
        "GRU",
        [x, kernel, recurrent_kernel],
        bias.ravel() if cell.reset_after else np.append(bias, 0 * bias),
        [lengths, *states],
        _activations(graph, layer)[::-1],
        linear_before_reset=int(cell.reset_after),
    )
    return [every], last


_CELLS = {LSTMCell: _lstm, keras.layers.LSTMCell: _lstm, keras.layers.GRUCell: _gru}


def _weights(cell, bias_shape):
    """Return kernel, recurrent kernel and bias; zeros of this shape for no bias."""
    kernel, recurrent_kernel = map(
        ops.convert_to_numpy, (cell.kernel, cell.recurrent_kernel)
    )
    if not cell.use_bias:
        return kernel, recurrent_kernel, np.zeros(bias_shape, np.float32)
    return kernel, recurrent_kernel, ops.convert_to_numpy(cell.bias)


def _reordered(packed):
    """Return weights packed as Keras does, `i, f, g, o`, in the order of ONNX."""
    i, f, g, o = np.split(packed, 4, axis=-1)
    return np.concatenate([i, o, f, g], axis=-1)


def _activations(graph, layer):
    """Return entries of `_ACTIVATIONS`: that of candidate and state, that of gates."""
    return [
        _ACTIVATIONS[activation_name(graph, layer, argument, function, _ACTIVATIONS)]
        for argument, function in (
            ("activation", layer.cell.activation),
            ("recurrent_activation", layer.cell.recurrent_activation),
        )
    ]


def _operator(graph, name, inputs, bias, lengths_and_states, activations, **attributes):
    """Add an operator for one direction, and return its outputs without that axis."""
    x, *kernels = inputs
    lengths, *states = lengths_and_states
    every, *last = graph.add(
        name,
        [
            x,
            *(kernel.T[np.newaxis] for kernel in kernels),
            bias[np.newaxis],
            lengths,
            *(None if one is None else graph.Unsqueeze(one, [0]) for one in states),
        ],
        outputs=1 + len(states),
        hidden_size=kernels[1].shape[0],
        activations=[name for name, *_ in activations],
        activation_alpha=[a for _, a, *_ in activations if a is not None] or None,
        activation_beta=[b for *_, b, _ in activations if b is not None] or None,
        **attributes,
    )
    return graph.Squeeze(every, [1]), *(graph.Squeeze(one, [0]) for one in last)
