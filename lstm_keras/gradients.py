"""Gradients on any backend, and how they flow back through time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from lstm_keras.inside import LSTM_CELLS, Call, intercepted, recurrent_layers
from lstm_keras.trace import as_arrays, gates

STATE_CELLS = (
    *LSTM_CELLS,
    keras.layers.GRUCell,
    keras.layers.SimpleRNNCell,
)


@dataclass(frozen=True)
class LayerFlow:
    """How much the loss depends on one recurrent layer's states.

    The norms are those of each example's own gradient, in the order of the input's
    time. A masked step has no state of its own; its norm is 0.

    Attributes:
        h: `|dL/dh_t|`, the Euclidean norm over the units, `(batch, time)`.
        c: `|dL/dc_t|`, likewise, through `h_t` and through later steps; None for a
            layer without a cell state.
        backwards: Whether the layer reads from the end.
    """

    h: np.ndarray
    c: np.ndarray | None = None
    backwards: bool = False


def gradient_flow(model, inputs, targets, loss=None) -> dict[str, LayerFlow]:
    """Return how the gradient of the loss flows back through each recurrent layer.

    The total derivatives by the states of every step, computed by adding a zero to
    each state and differentiating by it. The layers are Keras's SimpleRNN, GRU and LSTM
    and `lstm_keras.LSTM`, also inside of wrappers and other models. Nothing is dropped,
    and no variable of the model changes.

    A norm that falls toward earlier steps is the vanishing gradient (Bengio, Simard &
    Frasconi, "Learning Long-Term Dependencies with Gradient Descent is Difficult",
    IEEE Transactions on Neural Networks 5(2), 1994); one that rises, the exploding one.

    Args:
        model: A built Keras model.
        inputs: Its inputs; the first axis is the batch.
        targets: What the loss compares its outputs with.
        loss: A Keras loss, or its name, which leave masked outputs out; or a function
            of targets and outputs, of whose result the mean is taken. None for that of
            `model.compile`, as training has it.

    Returns:
        By the layer's path (see `trace_gates`) its flow, in the order of computation.

    Raises:
        ValueError: The model is not built, has no such layer, or no loss.
    """
    layers = recurrent_layers(model, STATE_CELLS)
    inputs, targets = (
        keras.tree.map_structure(ops.convert_to_tensor, as_arrays(data))
        for data in (inputs, targets)
    )
    zeros, outputs = _zero_states(model, layers, inputs)
    loss = _loss(model, loss)
    # Keras makes the variables of a compiled loss when it is first computed.
    loss(targets, outputs)

    def total_loss(*flat):
        added = keras.tree.pack_sequence_as(zeros, flat)
        with intercepted(model, layers, lambda call: _adding(call, added)):
            outputs = model(inputs, training=False)
        return loss(targets, outputs)

    found = gradients(total_loss, keras.tree.flatten(zeros))
    # In float64: squares of float32 vanish from 1e-23 on, as old gradients do.
    norms = [np.linalg.norm(np.float64(gradient), axis=-1) for gradient in found]
    return {
        name: LayerFlow(*by_state, backwards=_layer(layers, name).go_backwards)
        for name, by_state in keras.tree.pack_sequence_as(zeros, norms).items()
    }


def gradients(function: Callable, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the gradients of a function by its arguments, on the current backend.

    Args:
        function: Takes a tensor for each array and returns a scalar. Assignments to
            variables in it are forgotten. It is compiled on TensorFlow and JAX.
        arrays: Where to differentiate, of any shapes.
    """

    def stateless(*tensors):
        with keras.StatelessScope():
            return function(*tensors)

    differentiate = {
        "tensorflow": _tensorflow_gradients,
        "jax": _jax_gradients,
        "torch": _torch_gradients,
    }[keras.backend.backend()]
    tensors = [ops.convert_to_tensor(array) for array in arrays]
    return [ops.convert_to_numpy(g) for g in differentiate(stateless, tensors)]


def _tensorflow_gradients(function, tensors):
    import tensorflow as tf

    @tf.function(autograph=False)
    def compiled(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        return tape.gradient(
            value, tensors, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )

    # Not `compiled(*tensors)`: TensorFlow would warn that each call is a new function.
    return compiled.get_concrete_function(*tensors)(*tensors)


def _jax_gradients(function, tensors):
    import jax

    return jax.jit(jax.grad(function, argnums=range(len(tensors))))(*tensors)


def _torch_gradients(function, tensors):
    import torch

    tensors = [tensor.detach().requires_grad_() for tensor in tensors]
    with torch.enable_grad():
        value = function(*tensors)
    return torch.autograd.grad(
        value, tensors, allow_unused=True, materialize_grads=True
    )


class _AddingCell:
    """A cell that adds to its new states what its input has beyond the features."""

    def __init__(self, cell, states: int):
        self.cell = cell
        self.state_size = [cell.units] * states

    def call(self, inputs, states):
        features = inputs.shape[-1] - sum(self.state_size)
        units = self.cell.units
        x, *added = ops.split(
            inputs, [features + n * units for n in range(len(self.state_size))], axis=-1
        )
        if len(added) == 1:
            h, _ = self.cell(x, states)
            h = h + added[0]
            return h, [h]
        h, c = states
        i, f, g, o = gates(self.cell, x, h)
        c = f * c + i * g + added[1]
        h = o * self.cell.activation(c) + added[0]
        return h, [h, c]

    __call__ = call


def _adding(call: Call, added: dict):
    """Run a pass with zeros, or whatever is in `added`, added to its states."""
    layer, added = call.layer, added[call.name]
    loop = keras.layers.RNN(
        _AddingCell(layer.cell, len(added)),
        return_sequences=layer.return_sequences,
        go_backwards=layer.go_backwards,
        unroll=layer.unroll,
        zero_output_for_mask=layer.zero_output_for_mask,
    )
    sequences = ops.concatenate([call.sequences, *added], axis=-1)
    return loop.inner_loop(sequences, call.initial_state, call.mask)


def _zero_states(model, layers: dict, inputs) -> tuple:
    """Return the model's outputs, and before them zeros for all states of all steps.

    The zeros are a list for each pass, `(batch, time, units)`, by the name of the
    `Call`.
    """
    zeros = {}

    def on_call(call):
        batch, time = ops.shape(call.sequences)[:2]
        shape = (int(batch), int(time), call.layer.cell.units)
        dtype = keras.backend.standardize_dtype(call.sequences.dtype)
        zeros[call.name] = [
            ops.zeros(shape, dtype) for _ in range(len(call.initial_state))
        ]
        return call.loop(call.initial_state)

    with keras.StatelessScope(), intercepted(model, layers, on_call):
        outputs = model(inputs, training=False)
    return zeros, outputs


def _layer(layers: dict, name: str):
    return layers[name.partition("#")[0]]


def _loss(model, loss) -> Callable:
    """Return what gives the sum of the examples' losses, from targets and outputs."""
    if loss is None and getattr(model, "loss", None) is None:
        raise ValueError(
            f"expected a loss, or a compiled model; received neither for {model.name!r}"
        )
    if loss is None:

        def mean(targets, outputs):
            return model.compute_loss(y=targets, y_pred=outputs, training=False)

    elif isinstance(loss, str):
        mean = _Named(loss)
    elif isinstance(loss, keras.losses.Loss):
        mean = loss
    else:

        def mean(targets, outputs):
            return ops.mean(loss(_like(targets, outputs), outputs))

    given = model.loss if loss is None else loss

    def total(targets, outputs):
        # Each example's gradient is then that of its own loss.
        summed = getattr(given, "reduction", None) == "sum"
        rows = 1 if summed else ops.shape(keras.tree.flatten(outputs)[0])[0]
        return rows * mean(targets, outputs)

    return total


class _Named(keras.losses.Loss):
    """A loss function of Keras as a loss, which knows of masks."""

    def __init__(self, name: str):
        super().__init__(name=name)
        self.function = keras.losses.get(name)

    def call(self, y_true, y_pred):
        return self.function(_like(y_true, y_pred), y_pred)


def _like(targets, outputs):
    """Return targets of the outputs' type, (batch,) as (batch, 1) if they are so."""
    if keras.tree.is_nested(targets) or keras.tree.is_nested(outputs):
        return targets
    if keras.backend.is_float_dtype(keras.backend.standardize_dtype(targets.dtype)):
        targets = ops.cast(targets, outputs.dtype)
    missing = len(outputs.shape) - len(targets.shape)
    if missing == 1 and outputs.shape[-1] == 1:
        return ops.expand_dims(targets, axis=-1)
    return targets
