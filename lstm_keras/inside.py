"""Find the layers inside of a model, and step in where they compute."""

import contextlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import keras
from keras import ops

from lstm_keras.cell import LSTMCell

# Cells with the equations of `LSTMCell`; a subclass may have changed them.
LSTM_CELLS = (LSTMCell, keras.layers.LSTMCell)


@dataclass(frozen=True)
class Call:
    """One pass of a recurrent layer over its sequences, as the layer was asked for it.

    Attributes:
        name: The layer's path; from its second call on with the number, as `lstm#2`.
        layer: The layer, a `keras.layers.RNN`.
        sequences: `(batch, time, features)`.
        initial_state: A list of `(batch, units)`.
        mask: Boolean `(batch, time)`, or None.
        loop: Goes over the sequences as the layer does, from an initial state. Returns
            the last output, every output if `layer.return_sequences`, and the last
            states.
    """

    name: str
    layer: keras.layers.RNN
    sequences: object
    initial_state: list
    mask: object
    loop: Callable


def layers_within(layer: keras.Layer, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield path and layer of all layers inside of a model or a layer.

    Args:
        layer: The model or layer.
        path: Its own path; a layer's path is the names on the way, joined by "/".
    """
    for child in _children(layer):
        inner_path = f"{path}/{child.name}" if path else child.name
        yield inner_path, child
        yield from layers_within(child, inner_path)


def recurrent_layers(model: keras.Layer, cells: tuple[type, ...]) -> dict:
    """Return by path a model's recurrent layers whose cell is one of `cells`.

    Raises:
        ValueError: It is not built, or has none; the message lists its layers.
    """
    if not isinstance(model, keras.Layer):
        raise ValueError(
            f"expected a Keras model or layer; received {type(model).__name__}"
        )
    if not model.built:
        raise ValueError(
            f"expected a built model or layer; received {model.name!r}, which has no "
            "weights yet (call it once, or start a Sequential with keras.Input)"
        )
    own_path = "" if isinstance(model, keras.Model) else model.name
    every = {own_path: model} if own_path else {}
    for path, layer in layers_within(model, own_path):
        if all(layer is not other for other in every.values()):
            while path in every:  # as subclassed models may call two layers
                path += "_"
            every[path] = layer
    found = {
        path: layer
        for path, layer in every.items()
        if isinstance(layer, keras.layers.RNN) and type(layer.cell) in cells
    }
    if not found:
        names = " or ".join(dict.fromkeys(cell.__name__ for cell in cells))
        listed = ", ".join(
            f"{p} ({type(layer).__name__})" for p, layer in every.items()
        )
        raise ValueError(
            f"expected a model with a recurrent layer whose cell is {names}; received "
            f"{model.name!r} with the layers {listed or 'none'}"
        )
    return found


@contextlib.contextmanager
def intercepted(model: keras.Layer, layers: dict, on_call: Callable) -> Iterator[None]:
    """Inside of the `with` block let `on_call` run the layers' passes.

    Args:
        model: The model.
        layers: Some of its recurrent layers by path (see `recurrent_layers`).
        on_call: Takes a `Call` and returns what its `loop` returns.
    """
    with contextlib.ExitStack() as stack:
        for path, layer in layers.items():
            inner_loop = _interceptor(path, layer, on_call)
            stack.enter_context(replaced(layer, inner_loop=inner_loop))
        for layer in [model, *(layer for _, layer in layers_within(model))]:
            if isinstance(layer, keras.layers.TimeDistributed):
                call = _time_as_batch(layer)
                stack.enter_context(replaced(layer, call=call))
            if isinstance(layer, keras.layers.Bidirectional):
                # Or Keras may compute both directions in one operator of its own.
                for one in (layer.forward_layer, layer.backward_layer):
                    if isinstance(one, (keras.layers.LSTM, keras.layers.GRU)):
                        stack.enter_context(replaced(one, use_cudnn=False))
        yield


@contextlib.contextmanager
def replaced(layer, **attributes) -> Iterator[None]:
    """Inside of the `with` block let a layer have other values for its attributes."""
    own = {name: vars(layer)[name] for name in attributes if name in vars(layer)}
    for name, value in attributes.items():
        setattr(layer, name, value)
    try:
        yield
    finally:
        for name in attributes:
            if name in own:
                setattr(layer, name, own[name])
            else:
                delattr(layer, name)


def _children(layer: keras.Layer) -> list:
    if isinstance(layer, keras.layers.Bidirectional):
        return [layer.forward_layer, layer.backward_layer]
    if isinstance(layer, keras.Model):
        return layer.layers
    if isinstance(layer, keras.layers.RNN):
        return []
    values = keras.tree.flatten(list(vars(layer).values()))
    return [value for value in values if isinstance(value, keras.Layer)]


def _interceptor(path: str, layer, on_call: Callable) -> Callable:
    """Return an `inner_loop` for the layer that asks `on_call`."""
    own, count = layer.inner_loop, 0

    def inner_loop(sequences, initial_state, mask, training=False):
        nonlocal count
        count += 1
        if keras.tree.is_nested(mask):
            mask = mask[0]
        call = Call(
            path if count == 1 else f"{path}#{count}",
            layer,
            sequences,
            keras.tree.flatten(initial_state),
            None if mask is None else ops.cast(mask, "bool"),
            lambda states: own(sequences, states, mask, training=training),
        )
        return on_call(call)

    return inner_loop


def _time_as_batch(distributed: keras.layers.TimeDistributed) -> Callable:
    """Return a `call` for the layer that makes one call of the inner layer.

    Keras makes one for each step, or one with symbols instead of numbers.
    """

    def call(inputs, training=None, mask=None):
        batch, time = ops.shape(inputs)[:2]

        def flat(tensor):
            return ops.reshape(tensor, (batch * time, *ops.shape(tensor)[2:]))

        takes_mask = "mask" in inspect.signature(distributed.layer.call).parameters
        masks = {"mask": flat(mask)} if takes_mask and mask is not None else {}
        outputs = distributed.layer(flat(inputs), **masks)
        return ops.reshape(outputs, (batch, time, *ops.shape(outputs)[1:]))

    return call
