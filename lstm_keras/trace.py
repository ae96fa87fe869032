"""The gates and states of any Keras LSTM, step by step."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from lstm_keras.inside import (
    LSTM_CELLS,
    Call,
    intercepted,
    layers_within,
    recurrent_layers,
    replaced,
)


@dataclass(frozen=True)
class LayerTrace:
    """What one LSTM computed, as NumPy arrays `(batch, time, units)`.

    All are in the order of the input's time, also those of a layer that reads
    backwards: there the step before `t` is `t + 1`.

    Attributes:
        i: Input gate.
        f: Forget gate.
        g: Candidate.
        o: Output gate.
        c: Cell state after the step.
        h: Hidden state after the step.
        mask: Boolean `(batch, time)`, the mask that the layer saw: at a False step
            both states stay as they were, whatever the gates say.
        h0: Hidden state before the first step that was read, `(batch, units)`.
        c0: Likewise the cell state.
        backwards: Whether the layer reads from the end.
    """

    i: np.ndarray
    f: np.ndarray
    g: np.ndarray
    o: np.ndarray
    c: np.ndarray
    h: np.ndarray
    mask: np.ndarray
    h0: np.ndarray
    c0: np.ndarray
    backwards: bool

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all arrays by name, as `numpy.savez` takes them."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name != "backwards"
        }


class Trace(Mapping):
    """A `LayerTrace` for each pass of an LSTM, in the order of computation.

    Indexed by the layer's path, such as `"lstm"` or `"bidirectional/forward_lstm"`
    (from a layer's second pass on `"lstm#2"`), or by position. With one LSTM its
    arrays are the trace's own: `trace.f`.
    """

    def __init__(self, layers: Mapping[str, LayerTrace]):
        self._layers = dict(layers)

    def __getitem__(self, key: str | int) -> LayerTrace:
        if isinstance(key, int):
            return list(self._layers.values())[key]
        if key not in self._layers:
            raise KeyError(f"expected one of {list(self._layers)}; received {key!r}")
        return self._layers[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def __getattr__(self, name: str):
        if name.startswith("_"):  # copies ask before there are layers
            raise AttributeError(name)
        if len(self._layers) != 1:
            raise AttributeError(
                f"expected trace[layer].{name} with a layer of {list(self)}; "
                f"received trace.{name}"
            )
        return getattr(self[0], name)

    def __repr__(self) -> str:
        shapes = {name: layer.h.shape for name, layer in self.items()}
        return f"Trace(batch, time, units: {shapes})"


def trace_gates(
    model, inputs, initial_state=None, mask=None, *, batch_size: int = 32
) -> Trace:
    """Return gates and states of every LSTM in a model, at every step.

    The LSTMs are `lstm_keras.LSTM`, `keras.layers.LSTM` and `keras.layers.RNN` around a
    cell of either, alone, stacked, or inside of `Bidirectional`, `TimeDistributed` and
    other models. The model itself computes the hidden states, in inference; the gates
    follow from them for all steps at once by the equations of `LSTMCell`. Inside of
    `TimeDistributed` the batch is `batch * frames`.

    Args:
        model: A built model or layer. The states of a stateful layer are left as they
            were.
        inputs: What `model.predict` takes: arrays whose first axis is the batch.
        initial_state: `[h, c]`, each `(batch, units)`, for a model with one LSTM;
            otherwise the model's own.
        mask: Boolean `(batch, time)`, for a model or layer that is given one.
        batch_size: Examples at a time, what a stateful layer was built with if there is
            one. The arrays of all are returned; `stream_gates` keeps one batch only.

    Raises:
        ValueError: The model is not built or has no LSTM (the message lists its
            layers); or one of the arguments does not fit it.
    """
    tracer, data = _checked(model, inputs, initial_state, mask, batch_size)
    stream, rows = _batches(tracer, data, batch_size), _rows(data)
    if rows <= batch_size:
        (whole,) = stream
        return whole
    return _joined(stream, batch_size, rows)


def stream_gates(
    model, inputs, initial_state=None, mask=None, *, batch_size: int = 32
) -> Iterator[Trace]:
    """Yield the trace of one batch after the other: see `trace_gates`."""
    return _batches(
        *_checked(model, inputs, initial_state, mask, batch_size), batch_size
    )


def _checked(model, inputs, initial_state, mask, batch_size) -> tuple:
    """Return the model's tracer and its data, checked."""
    data = {"inputs": as_arrays(inputs)}
    if initial_state is not None:
        data["initial_state"] = [as_arrays(state) for state in initial_state]
    if mask is not None:
        data["mask"] = np.asarray(mask, bool)
    tracer = _tracer(model)
    _check(tracer.lstms, data, batch_size)
    return tracer, data


def gates(cell, x, h):
    """Return `i, f, g, o` of a cell by the equations of `LSTMCell`.

    Args:
        cell: An LSTM cell, ours or Keras's.
        x: Its input at a step, `(batch, features)`; or at every step,
            `(batch, time, features)`.
        h: The hidden state before it, `(batch, units)`; or before every one.
    """
    z = ops.matmul(x, ops.cast(cell.kernel, x.dtype))
    z = z + ops.matmul(h, ops.cast(cell.recurrent_kernel, x.dtype))
    if cell.bias is not None:
        z = z + ops.cast(cell.bias, x.dtype)
    z_i, z_f, z_g, z_o = ops.split(z, 4, axis=-1)
    i = cell.recurrent_activation(z_i)
    f = cell.recurrent_activation(z_f)
    g = cell.activation(z_g)
    o = cell.recurrent_activation(z_o)
    return i, f, g, o


def as_arrays(inputs):
    """Return inputs, or a dictionary or list of several, as NumPy arrays."""
    if not all(np.ndim(leaf) for leaf in keras.tree.flatten(inputs)):
        return np.asarray(inputs)  # a nested list of numbers
    return keras.tree.map_structure(ops.convert_to_numpy, inputs)


class _Tracer(keras.Model):
    """Calls a model, and returns what its LSTMs did instead of its output.

    A Keras model itself, so that `predict_on_batch` compiles it on every backend.
    """

    def __init__(self, traced, lstms: dict):
        super().__init__(name="tracer", autocast=False)
        self.lstms = lstms
        self.traced = traced
        every = [traced, *(layer for _, layer in layers_within(traced))]
        stateful = [x for x in every if isinstance(x, keras.layers.RNN) and x.stateful]
        # Tracked, for Keras loses them on JAX.
        self.carried = list({id(v): v for x in stateful for v in x.states}.values())
        self.built = True

    def call(self, data):
        found = {}

        def on_call(call):
            if "initial_state" in data:
                call = dataclasses.replace(call, initial_state=data["initial_state"])
            # The number keeps the order, for JAX returns dictionaries sorted.
            result, found[f"{len(found):06}:{call.name}"] = _run(call)
            return result

        masks = {"mask": data["mask"]} if "mask" in data else {}
        with intercepted(self.traced, self.lstms, on_call):
            self.traced(data["inputs"], training=False, **masks)
        return found


def _tracer(model) -> _Tracer:
    """Return the model's tracer. Those of the last few models stay compiled."""
    lstms = tuple(recurrent_layers(model, LSTM_CELLS).items())
    return _tracer_of(model, lstms, _settings_within(model))


@functools.lru_cache(maxsize=8)
def _tracer_of(model, lstms: tuple, settings: tuple) -> _Tracer:
    return _Tracer(model, dict(lstms))


def _settings_within(model) -> tuple[str, ...]:
    """Return what a compiled tracer depends on: a layer may be given an activation."""
    layers = [model, *(layer for _, layer in layers_within(model))]
    return tuple(
        repr(layer.get_config())
        for layer in layers
        if not isinstance(layer, keras.Model)
    )


def _run(call: Call) -> tuple:
    """Return the pass's result, and all but the cell states by name.

    The latter are in the order of reading.
    """
    layer, mask = call.layer, call.mask
    states = [ops.cast(state, call.sequences.dtype) for state in call.initial_state]
    with replaced(layer, return_sequences=True, zero_output_for_mask=False):
        result = call.loop(states)
    x, h = _not_half(call.sequences), _not_half(result[1])
    # Copies: torch changes the states of a stateful layer in place.
    h0, c0 = (ops.copy(_not_half(state)) for state in states)
    if layer.go_backwards:
        x = ops.flip(x, axis=1)
        mask = None if mask is None else ops.flip(mask, axis=1)
    if mask is not None:
        # Until the first step that counts, most backends put out zeros.
        begun = ops.cumsum(ops.cast(mask, "int32"), axis=1) > 0
        h = ops.where(begun[..., None], h, h0[:, None])
        if layer.zero_output_for_mask:
            result = call.loop(states)
    h_before = ops.concatenate([h0[:, None], h[:, :-1]], axis=1)
    i, f, g, o = gates(layer.cell, x, h_before)
    found = {"i": i, "f": f, "g": g, "o": o, "h": h, "h0": h0, "c0": c0}
    return result, found if mask is None else found | {"mask": mask}


def _not_half(tensor):
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    return ops.cast(tensor, "float32") if dtype.endswith("float16") else tensor


def _batches(tracer: _Tracer, data: dict, batch_size: int) -> Iterator[Trace]:
    layers = tracer.lstms
    kept = [np.array(ops.convert_to_numpy(state)) for state in tracer.carried]
    try:
        for start in range(0, _rows(data), batch_size):
            batch = keras.tree.map_structure(
                lambda array, start=start: array[start : start + batch_size], data
            )
            found = tracer.predict_on_batch(batch)
            yield Trace(
                {
                    name: _layer_trace(layers[name.partition("#")[0]], arrays)
                    for (_, _, name), arrays in (
                        (key.partition(":"), found[key]) for key in sorted(found)
                    )
                }
            )
    finally:
        for state, value in zip(tracer.carried, kept, strict=True):
            state.assign(value)


def _layer_trace(layer, found: dict) -> LayerTrace:
    """Return the trace from what `_run` found: the cell states, the input's order."""
    kept, added = found["f"], found["i"] * found["g"]
    mask = found.get("mask")
    if mask is None:
        mask = np.ones(kept.shape[:2], bool)
    else:
        kept = np.where(mask[..., None], kept, 1)
        added = np.where(mask[..., None], added, 0)
    c = np.empty_like(kept)
    last = found["c0"]
    for t in range(c.shape[1]):
        last = c[:, t] = kept[:, t] * last + added[:, t]
    sequences = {"c": c, "mask": mask, **{name: found[name] for name in "ifgoh"}}
    if layer.go_backwards:
        sequences = {name: array[:, ::-1] for name, array in sequences.items()}
    return LayerTrace(
        **sequences,
        h0=found["h0"],
        c0=found["c0"],
        backwards=layer.go_backwards,
    )


def _joined(stream: Iterator[Trace], batch_size: int, rows: int) -> Trace:
    """Return the traces of all batches as one, in arrays that are made once."""
    whole, backwards, start = {}, {}, {}
    for part in stream:
        for name, layer in part.items():
            arrays = layer.arrays()
            if name not in whole:
                # Inside of TimeDistributed each example has several rows.
                whole[name] = {
                    key: np.empty((len(a) * rows // batch_size, *a.shape[1:]), a.dtype)
                    for key, a in arrays.items()
                }
                backwards[name], start[name] = layer.backwards, 0
            end = start[name] + len(layer.h)
            for key, array in arrays.items():
                whole[name][key][start[name] : end] = array
            start[name] = end
    return Trace(
        {
            name: LayerTrace(**arrays, backwards=backwards[name])
            for name, arrays in whole.items()
        }
    )


def _rows(data: dict) -> int:
    return len(keras.tree.flatten(data)[0])


def _check(lstms: dict, data: dict, batch_size: int) -> None:
    if batch_size < 1:
        raise ValueError(f"expected batch_size >= 1; received {batch_size}")
    shapes = [array.shape for array in keras.tree.flatten(data)]
    rows = {shape[:1] for shape in shapes}
    if len(rows) != 1 or rows <= {(), (0,)}:
        raise ValueError(
            "expected arrays with the same number of examples, at least one; received "
            f"the shapes {shapes}"
        )
    if "mask" in data and data["mask"].ndim != 2:
        raise ValueError(
            "expected a mask of shape (batch, time); received shape "
            f"{data['mask'].shape}"
        )
    if "initial_state" in data:
        _check_initial_state(lstms, data["initial_state"])


def _check_initial_state(lstms: dict, states: list) -> None:
    if len(lstms) != 1:
        raise ValueError(
            "expected a model with one LSTM to start at initial_state; received one "
            f"with {list(lstms)}"
        )
    (layer,) = lstms.values()
    shapes = [np.shape(state) for state in states]
    if [shape[1:] for shape in shapes] != [(layer.cell.units,)] * 2:
        raise ValueError(
            "expected initial_state to be [h, c], each of shape (batch, units) = "
            f"(batch, {layer.cell.units}); received shapes {shapes}"
        )
