"""Gradients on any backend, and their flow back through time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from lstm_keras import equations
from lstm_keras.engines import in_process
from lstm_keras.interpret.hooks import (
    LSTM_CELLS,
    ByLayer,
    Pass,
    as_arrays,
    build,
    intercepted,
    recurrent_layers,
)
from lstm_keras.interpret.trace import gates

STATE_CELLS = (*LSTM_CELLS, keras.layers.GRUCell, keras.layers.SimpleRNNCell)


@dataclass(frozen=True)
class LayerFlow:
    """How much the loss depends on the states of one recurrent layer.

    The norms are those of each example's own gradient, in the order of the input's
    time. The norm at a masked step is 0, since it only repeats a state.

    Attributes:
        h: `|dL/dh_t|`, the Euclidean norm over the units, `(batch, time)`.
        c: `|dL/dc_t|`, likewise, through `h_t` and through later steps; None for a
            layer without a cell state.
        backwards: Whether the layer goes backwards.
    """

    h: np.ndarray
    c: np.ndarray | None = None
    backwards: bool = False


def gradient_flow(
    model: keras.Model,
    inputs: Any,
    targets: Any,
    loss: Callable | str | None = None,
) -> ByLayer[LayerFlow]:
    """Return how the gradient of the loss flows back through each recurrent layer.

    These are the total derivatives by the states of every step, computed by adding a
    zero to each state and differentiating by it. The layers are Keras's SimpleRNN, GRU
    and LSTM and `lstm_keras.LSTM`, also inside wrappers and other models. The model
    runs without dropout, and none of its variables changes.

    A norm that falls toward earlier steps is the vanishing gradient (Bengio, Simard &
    Frasconi, "Learning Long-Term Dependencies with Gradient Descent is Difficult",
    IEEE Transactions on Neural Networks 5(2), 1994); one that rises, the exploding one.

    Args:
        model: A Keras model; one without weights is built for the inputs.
        inputs: Arrays or tensors, or a list or dictionary of them, as the model expects
            them; the first axis is the batch. Pass a dataset batch by batch.
        targets: The targets of the loss.
        loss: A Keras loss, or its name, which ignore masked outputs; or a function of
            targets and outputs whose result is averaged. By default that of
            `model.compile`, as in training.

    Returns:
        A `LayerFlow` for each pass of such a layer, in the order of computation, by
        position or by the layer's path: `flow[0].h`, `flow["lstm"].h`.

    Raises:
        ValueError: The model has no such layer, or no loss; or the inputs or targets
            are not arrays.
    """
    inputs, targets = (
        keras.tree.map_structure(ops.convert_to_tensor, as_arrays(data))
        for data in (inputs, targets)
    )
    build(model, inputs, len(keras.tree.flatten(inputs)[0]))
    layers = recurrent_layers(model, STATE_CELLS)
    loss = _loss(model, loss)
    passes, zeros, outputs = _zero_states(model, layers, inputs)
    _make_loss_variables(model, lambda: loss(targets, outputs))

    def total_loss(*zeros):
        of_passes = iter(zeros)
        with intercepted(model, layers, lambda call: _adding(call, next(of_passes))):
            outputs = model(inputs, training=False)
        return loss(targets, outputs)

    return ByLayer(
        (path, _layer_flow(layers[path], gradient))
        for path, gradient in zip(passes, gradients(total_loss, zeros), strict=True)
    )


def _make_loss_variables(model: keras.Model, loss: Callable) -> None:
    """Let Keras create a compiled loss's variables, which it does at the first call.

    That call also updates the variables of metrics, which are then restored.
    """
    before = {
        id(v): ops.convert_to_numpy(v) for v in getattr(model, "metrics_variables", ())
    }
    loss()
    for variable in getattr(model, "metrics_variables", ()):
        variable.assign(before.get(id(variable), np.zeros(variable.shape)))


def _layer_flow(layer: keras.layers.RNN, gradient: np.ndarray) -> LayerFlow:
    """Return the flow, given the gradient by the concatenated states of every step."""
    # In float64: squares of float32 below 1e-23 underflow, as old gradients would.
    parts = np.split(
        gradient.astype("float64"), gradient.shape[-1] // layer.cell.units, axis=-1
    )
    h, *c = (np.linalg.norm(part, axis=-1) for part in parts)
    return LayerFlow(h, c[0] if c else None, layer.go_backwards)


def gradients(function: Callable, arrays: Sequence[Any]) -> list[np.ndarray]:
    """Return the gradients of a function by its arguments, on the current backend.

    Args:
        function: Takes a tensor for each array and returns a scalar. Its assignments to
            variables are discarded. It is compiled on TensorFlow and JAX.
        arrays: Arrays or tensors of any shapes, the point at which to differentiate.
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
        with in_process(), tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        return tape.gradient(
            value, tensors, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )

    # Not `compiled(*tensors)`: TensorFlow would warn of repeated retracing.
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
    """A cell that adds the part of its input beyond the features to its new states.

    Its output and single state are all states of the inner cell, concatenated.
    """

    def __init__(self, cell: keras.Layer, state_size: int):
        self.cell = cell
        self.state_size = state_size

    def call(self, inputs, states):
        (state,) = states
        features = inputs.shape[-1] - self.state_size
        x, added = ops.split(inputs, [features], axis=-1)
        if type(self.cell) in LSTM_CELLS:
            state = self._lstm_step(x, state, added)
        else:
            state = self.cell(x, states)[0] + added
        return state, [state]

    __call__ = call

    def _lstm_step(self, x, state, added):
        h, c = ops.split(state, 2, axis=-1)
        to_h, to_c = ops.split(added, 2, axis=-1)
        found = gates(self.cell, x, h)
        # Added to c before h is computed from it, so it enters with i * g.
        found = found._replace(i=1, g=found.i * found.g + to_c)
        h, c = equations.states(found, c, self.cell.activation)
        return ops.concatenate([h + to_h, c], axis=-1)


def _adding(call: Pass, added: Any) -> tuple:
    """Run a pass with `added`, the zeros to differentiate by, added to its states."""
    layer, sequences = call.layer, call.sequences
    if call.mask is not None:
        # Otherwise NaN at a masked step would reach the gradients, as 0 * NaN.
        sequences = ops.where(call.mask[..., None], sequences, 0)
    loop = keras.layers.RNN(
        _AddingCell(layer.cell, added.shape[-1]),
        return_sequences=layer.return_sequences,
        go_backwards=layer.go_backwards,
        unroll=layer.unroll,
        zero_output_for_mask=layer.zero_output_for_mask,
        name="loop",  # an automatic name would change those of later layers
    )
    last, every, (state,) = loop.inner_loop(
        ops.concatenate([sequences, added], axis=-1),
        [ops.concatenate(call.initial_state, axis=-1)],
        call.mask,
    )
    if not getattr(layer, "return_cell_states", False):
        units = layer.cell.units
        last, every = last[..., :units], every[..., :units]
    return last, every, ops.split(state, len(call.initial_state), axis=-1)


def _zero_states(model: keras.Model, layers: dict, inputs: Any) -> tuple:
    """Return the layer's path and zeros for each pass, and the model's outputs.

    The zeros are for all states of all steps, `(batch, time, states * units)`.
    """
    passes, zeros = [], []

    def on_call(call):
        batch, time = ops.shape(call.sequences)[:2]
        size = len(call.initial_state) * call.layer.cell.units
        dtype = keras.backend.standardize_dtype(call.sequences.dtype)
        passes.append(call.path)
        zeros.append(ops.zeros((int(batch), int(time), size), dtype))
        return call.loop(call.initial_state)

    with keras.StatelessScope(), intercepted(model, layers, on_call):
        outputs = model(inputs, training=False)
    return passes, zeros, outputs


def _loss(model, loss) -> Callable:
    """Return a function from targets and outputs to the sum of the examples' losses."""
    if loss is None and getattr(model, "loss", None) is None:
        raise ValueError(
            f"expected a loss, or a compiled model; received neither for {model.name!r}"
        )
    if loss is None:

        def mean(targets, outputs):
            return model.compute_loss(y=targets, y_pred=outputs, training=False)

    elif isinstance(loss, str):
        mean = _NamedLoss(loss)
    elif isinstance(loss, keras.losses.Loss):
        mean = loss
    else:

        def mean(targets, outputs):
            return ops.mean(loss(_matched(targets, outputs), outputs))

    given = model.loss if loss is None else loss

    def total(targets, outputs):
        # The sum, so that each example's gradient is that of its own loss.
        summed = getattr(given, "reduction", None) == "sum"
        rows = 1 if summed else ops.shape(keras.tree.flatten(outputs)[0])[0]
        return rows * mean(targets, outputs)

    return total


class _NamedLoss(keras.losses.Loss):
    """A loss function of Keras as a `Loss`, which supports masks."""

    def __init__(self, name: str):
        super().__init__(name=name)
        self.function = keras.losses.get(name)

    def call(self, y_true, y_pred):
        return self.function(_matched(y_true, y_pred), y_pred)


def _matched(targets, outputs):
    """Return the targets in the dtype and the number of axes of the outputs."""
    if keras.tree.is_nested(targets) or keras.tree.is_nested(outputs):
        return targets
    if keras.backend.is_float_dtype(keras.backend.standardize_dtype(targets.dtype)):
        targets = ops.cast(targets, outputs.dtype)
    missing = len(outputs.shape) - len(targets.shape)
    if missing == 1 and outputs.shape[-1] == 1:
        return ops.expand_dims(targets, axis=-1)
    return targets
