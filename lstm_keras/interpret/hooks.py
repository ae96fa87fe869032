"""Find the layers inside a model, and intercept their computation."""

import contextlib
import inspect
import operator
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import keras
import numpy as np
from keras import ops

from lstm_keras.call_shapes import as_boolean_mask, check_sequences
from lstm_keras.cell import LSTMCell

# Cells with the equations of `LSTMCell`; a subclass may have changed them.
LSTM_CELLS = (LSTMCell, keras.layers.LSTMCell)

# One thread at a time intercepts models, which may share layers.
LOCK = threading.RLock()

Found = TypeVar("Found")


class ByLayer(Mapping[str, Found]):
    """A result for each pass of a recurrent layer, in the order of computation.

    Indexed by position, `found[0]`, or by the layer's path, such as `"lstm"` or
    `"bidirectional/forward_lstm"`; the path of a layer's second pass is `"lstm#2"`.

    Args:
        passes: The layer's path and the result of each pass.
    """

    def __init__(self, passes: Iterable[tuple[str, Found]]):
        self._by_path: dict[str, Found] = {}
        counts: dict[str, int] = {}
        for path, found in passes:
            counts[path] = count = counts.get(path, 0) + 1
            self._by_path[path if count == 1 else f"{path}#{count}"] = found

    def __getitem__(self, key: str | int) -> Found:
        if not isinstance(key, str):
            position = operator.index(key)
            if not -len(self) <= position < len(self):
                raise IndexError(f"expected one of {len(self)} passes; received {key}")
            return list(self._by_path.values())[position]
        if key not in self._by_path:
            raise KeyError(f"expected one of {list(self)}; received {key!r}")
        return self._by_path[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_path)

    def __len__(self) -> int:
        return len(self._by_path)

    def __repr__(self) -> str:
        return f"ByLayer({list(self)})"


@dataclass(frozen=True)
class Pass:
    """One pass of a recurrent layer over its sequences.

    Attributes:
        path: The layer's path.
        layer: The layer.
        sequences: `(batch, time, features)`.
        initial_state: A list of `(batch, units)`.
        mask: Boolean `(batch, time)`, or None.
        loop: Runs over the sequences from an initial state as the layer does, or as it
            would with other attributes: `loop(states, return_sequences=True)`. Returns
            the last output, every output if `return_sequences`, and the last states.
    """

    path: str
    layer: keras.layers.RNN
    sequences: Any
    initial_state: list
    mask: Any
    loop: Callable


def layers_within(
    layer: keras.Layer, path: str = ""
) -> Iterator[tuple[str, keras.Layer]]:
    """Yield path and layer of all layers inside a model or a layer, each once.

    Args:
        layer: The model or layer.
        path: Its own path. A layer's path is its parents' names and its own, joined by
            "/".
    """
    seen = {id(layer)}

    def inside(layer, path):
        for child in _children(layer):
            if id(child) not in seen:
                seen.add(id(child))
                inner_path = f"{path}/{child.name}" if path else child.name
                yield inner_path, child
                yield from inside(child, inner_path)

    yield from inside(layer, path)


def build(model: keras.Layer, inputs: Any, batch_size: int) -> None:
    """Build a model or layer that has no weights yet, as a call with inputs would.

    Args:
        model: The model or layer; built ones are left unchanged.
        inputs: Arrays or tensors whose first axis is the batch.
        batch_size: Examples at a time, which stateful layers need to know.

    Raises:
        ValueError: It is not a Keras model or layer.
    """
    if not isinstance(model, keras.Layer):
        raise ValueError(
            f"expected a Keras model or layer; received {type(model).__name__}"
        )
    every = [model, *(layer for _, layer in layers_within(model))]
    recurrent = [layer for layer in every if isinstance(layer, keras.layers.RNN)]
    if all(layer.built for layer in (model, *recurrent)):
        return
    stateful = any(getattr(layer, "stateful", False) for layer in every)

    def symbol(array):
        rows = min(len(array), batch_size) if stateful else None
        is_text = getattr(array.dtype, "kind", None) in ("U", "S", "O")
        dtype = "string" if is_text else keras.backend.standardize_dtype(array.dtype)
        return keras.KerasTensor((rows, *array.shape[1:]), dtype)

    model(keras.tree.map_structure(symbol, inputs))


def recurrent_layers(
    model: keras.Layer, cells: tuple[type, ...]
) -> dict[str, keras.layers.RNN]:
    """Return a built model's recurrent layers whose cell is one of `cells`, by path.

    Raises:
        ValueError: There are none; the message lists the model's layers.
    """
    own_path = "" if isinstance(model, keras.Model) else model.name
    every = {own_path: model} if own_path else {}
    for path, layer in layers_within(model, own_path):
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


def as_arrays(data: Any) -> Any:
    """Return arrays or tensors, or a dictionary or list of them, as NumPy arrays.

    Raises:
        ValueError: There is something else in it, a dataset for instance.
    """
    leaves = keras.tree.flatten(data)
    for leaf in leaves:
        check_sequences(leaf)
        is_number_or_text = isinstance(leaf, (int, float, str, bytes))
        if not is_number_or_text and not hasattr(leaf, "__array__"):
            raise ValueError(
                "expected arrays or tensors whose first axis is the batch; received "
                f"{type(leaf).__name__} (if it is a dataset, give its batches one by "
                "one)"
            )
    if not all(np.ndim(leaf) for leaf in leaves):
        return np.asarray(data)  # a nested list of numbers
    return keras.tree.map_structure(ops.convert_to_numpy, data)


# Why methods of the user's layers are replaced temporarily: Keras's own mechanism,
# `keras.models.clone_model` with a `call_function`, refuses Sequential and subclassed
# models, does not reach layers inside other layers (Bidirectional, TimeDistributed,
# inner models), and leaves new nodes on the layers. A hook in `lstm_keras.LSTM` would
# be a second mechanism, for that layer alone.
@contextlib.contextmanager
def intercepted(
    model: keras.Layer, layers: dict[str, keras.layers.RNN], on_call: Callable
) -> Iterator[None]:
    """Let `on_call` run the passes of some layers inside the `with` block.

    Args:
        model: The model.
        layers: Some of its recurrent layers by path (see `recurrent_layers`).
        on_call: Takes a `Pass` and returns the results of its `loop`.
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
                # Otherwise Keras may compute both directions in one operator.
                for one in (layer.forward_layer, layer.backward_layer):
                    if isinstance(one, (keras.layers.LSTM, keras.layers.GRU)):
                        stack.enter_context(replaced(one, use_cudnn=False))
        yield


@contextlib.contextmanager
def replaced(layer: keras.Layer, **attributes: Any) -> Iterator[None]:
    """Replace attributes of a layer inside the `with` block.

    Only one thread at a time can do so. Other threads that use the model meanwhile call
    the layer's own functions, not the replacements.
    """
    with LOCK:
        own = {name: vars(layer)[name] for name in attributes if name in vars(layer)}
        for name, value in attributes.items():
            if callable(value):
                value = _in_this_thread(value, getattr(layer, name))
            setattr(layer, name, value)
        try:
            yield
        finally:
            for name in attributes:
                if name in own:
                    setattr(layer, name, own[name])
                else:
                    delattr(layer, name)


def _in_this_thread(function: Callable, elsewhere: Callable) -> Callable:
    """Return a function that calls `function` in this thread, `elsewhere` in others."""
    thread = threading.get_ident()

    def chosen(*args, **kwargs):
        here = threading.get_ident() == thread
        return (function if here else elsewhere)(*args, **kwargs)

    return chosen


def _altered(layer: keras.Layer, **attributes: Any) -> keras.Layer:
    """Return a shallow copy of a layer, sharing its weights, with other attributes.

    (`copy.copy` of a Keras layer creates new weights.)
    """
    copied = object.__new__(type(layer))
    vars(copied).update(vars(layer), **attributes)
    return copied


def _children(layer: keras.Layer) -> list[keras.Layer]:
    if isinstance(layer, keras.layers.Bidirectional):
        return [layer.forward_layer, layer.backward_layer]
    if isinstance(layer, keras.Model):
        return layer.layers
    if isinstance(layer, keras.layers.RNN):
        return []
    values = keras.tree.flatten(list(vars(layer).values()))
    return [value for value in values if isinstance(value, keras.Layer)]


def _interceptor(path: str, layer: keras.layers.RNN, on_call: Callable) -> Callable:
    """Return an `inner_loop` for the layer that calls `on_call`."""

    def inner_loop(sequences, initial_state, mask, training=False):
        mask = as_boolean_mask(mask)
        if not keras.backend.is_float_dtype(sequences.dtype):
            sequences = ops.cast(sequences, layer.compute_dtype)

        def loop(states, **attributes):
            one = _altered(layer, **attributes)
            return type(layer).inner_loop(one, sequences, states, mask, training)

        states = keras.tree.flatten(initial_state)
        return on_call(Pass(path, layer, sequences, states, mask, loop))

    return inner_loop


def _time_as_batch(distributed: keras.layers.TimeDistributed) -> Callable:
    """Return a `call` for the layer that calls the inner layer once.

    Keras calls it once for each step, or with symbolic tensors.
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
