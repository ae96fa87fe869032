"""The gates and states of any Keras LSTM, step by step."""

import dataclasses
import threading
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from lstm_keras import equations
from lstm_keras.call_shapes import check_initial_state
from lstm_keras.cell import LSTMCell
from lstm_keras.interpret.hooks import (
    LSTM_CELLS,
    ByLayer,
    Pass,
    as_arrays,
    build,
    intercepted,
    layers_within,
    recurrent_layers,
)
from lstm_keras.layer import JoinedStates


@dataclass(frozen=True)
class LayerTrace:
    """The gates and states of one LSTM, as NumPy arrays `(batch, time, units)`.

    All are in the order of the input's time, even for a layer that goes backwards,
    where the step before `t` is `t + 1`.

    Attributes:
        i: Input gate.
        f: Forget gate.
        g: Candidate.
        o: Output gate.
        c: Cell state after the step.
        h: Hidden state after the step.
        mask: Boolean `(batch, time)`, the layer's mask: a False step leaves both states
            unchanged, whatever the gates are.
        h0: Hidden state before the first processed step, `(batch, units)`.
        c0: Cell state before that step, `(batch, units)`.
        backwards: Whether the layer goes backwards.
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


def trace_gates(
    model: keras.Layer,
    inputs: Any,
    initial_state: Sequence[Any] | None = None,
    mask: Any = None,
    *,
    batch_size: int = 32,
) -> ByLayer[LayerTrace]:
    """Return gates and states of every LSTM in a model, at every step.

    The LSTMs are `lstm_keras.LSTM`, `keras.layers.LSTM` and recurrent layers around a
    cell of either, around one of `lstm_keras.variants`, or around your own subclass of
    `LSTMCell` that says `pure = True`; a gate that a cell lacks is 1. They may be
    alone, stacked, or inside `Bidirectional`, `TimeDistributed` and other models. The
    model itself computes the hidden states, in inference; the gates follow from them
    for all steps at once by the equations of the cell. Inside `TimeDistributed` the
    batch is `batch * frames`.

    Args:
        model: A model or layer; one without weights is built for the inputs. The states
            of stateful layers do not change.
        inputs: Arrays or tensors, or a list or dictionary of them, as the model expects
            them; the first axis is the batch. Pass a dataset batch by batch.
        initial_state: `[h, c]`, each `(batch, units)` or `(1, units)`, for a model with
            one LSTM; by default the model's own.
        mask: Boolean `(batch, time)`, for a model or layer whose call takes one.
        batch_size: Examples at a time; for stateful layers the size they were built
            with. The results of all examples are held in memory; `stream_gates` holds
            those of one batch.

    Returns:
        A `LayerTrace` for each pass of an LSTM, in the order of computation, by
        position or by the layer's path: `trace[0].f`, `trace["lstm"].f`.

    Raises:
        ValueError: The model has no LSTM (the message lists its layers), or one of the
            arguments does not match it.
    """
    lstms, data = _checked(model, inputs, initial_state, mask, batch_size)
    stream = _batches(model, lstms, data, batch_size)
    return _concatenated(stream, batch_size, _rows(data))


def stream_gates(
    model: keras.Layer,
    inputs: Any,
    initial_state: Sequence[Any] | None = None,
    mask: Any = None,
    *,
    batch_size: int = 32,
) -> Iterator[ByLayer[LayerTrace]]:
    """Yield the traces batch by batch; see `trace_gates`."""
    lstms, data = _checked(model, inputs, initial_state, mask, batch_size)
    return _batches(model, lstms, data, batch_size)


def _checked(model, inputs, initial_state, mask, batch_size) -> tuple[dict, dict]:
    """Return the LSTMs of the model by path, and the other arguments as arrays."""
    data = _as_data(inputs, initial_state, mask, batch_size)
    build(model, data["inputs"], batch_size)
    lstms = recurrent_layers(model, _cells(model))
    if initial_state is not None:
        if len(lstms) != 1:
            raise ValueError(
                "expected a model with one LSTM to start at initial_state; received "
                f"one with {list(lstms)}"
            )
        (layer,) = lstms.values()
        if type(layer.cell) in LSTM_CELLS:  # another may have other states
            check_initial_state(data["initial_state"], _rows(data), layer.cell.units)
    return lstms, data


def _cells(model: keras.Layer) -> tuple:
    """Return the classes of cells whose gates are known: two, and the model's own."""
    every = [model, *(layer for _, layer in layers_within(model))]
    cells = [one.cell for one in every if isinstance(one, keras.layers.RNN)]
    own = [
        type(cell)
        for cell in cells
        if isinstance(cell, LSTMCell) and vars(type(cell)).get("pure")
    ]
    return tuple(dict.fromkeys([*LSTM_CELLS, *own]))


def gates(cell: keras.Layer, x: Any, h: Any) -> equations.Gates:
    """Return the gates and the candidate of an LSTM cell, in inference.

    Args:
        cell: An LSTM cell, ours or Keras's.
        x: The input of a step, `(batch, features)`, or of all, `(batch, time,
            features)`.
        h: The hidden state before the step, `(batch, units)`, or before each.
    """
    z = ops.matmul(x, ops.cast(cell.kernel, x.dtype))
    z = z + ops.matmul(h, ops.cast(cell.recurrent_kernel, x.dtype))
    if cell.bias is not None:
        z = z + ops.cast(cell.bias, x.dtype)
    return equations.gates(z, cell.activation, cell.recurrent_activation)


class _Tracer(keras.Model):
    """A model that calls another and returns the traces of its LSTMs.

    It is a Keras model, so that `predict_on_batch` compiles it on every backend. It
    holds only a weak reference to the traced model, and is passed the values of its
    variables, so that none of them changes.
    """

    def __init__(self, traced: keras.Layer):
        super().__init__(name="tracer", dtype="float32", autocast=False)
        self.traced = weakref.ref(traced)
        every = [traced, *(layer for _, layer in layers_within(traced))]
        self.supports_jit = all(layer.supports_jit for layer in every)
        self.built = True

    def call(self, data):
        """Return the results of `_run` in the order of computation, and new states."""
        traced, found = self.traced(), []
        lstms = recurrent_layers(traced, _cells(traced))
        numbers = {path: number for number, path in enumerate(lstms)}

        def on_call(call):
            if "initial_state" in data:
                call = dataclasses.replace(call, initial_state=data["initial_state"])
            result, arrays = _run(call)
            number = ops.convert_to_tensor(numbers[call.path], "int32")
            found.append({"layer": number, **arrays})
            return result

        variables, states = _variables(traced)
        values = [*data["variables"], *data["states"]]
        given = zip([*variables, *states], values, strict=True)
        masks = {"mask": data["mask"]} if "mask" in data else {}
        with keras.StatelessScope(given) as scope, intercepted(traced, lstms, on_call):
            traced(data["inputs"], training=False, **masks)
        return {
            "passes": found,
            "states": [scope.get_current_value(state) for state in states],
        }


# The compiled tracer of each model, and the layers it was compiled for. Not the lock of
# `replaced`: TensorFlow's MirroredStrategy calls a model in another thread.
_TRACERS: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
_TRACERS_LOCK = threading.RLock()


def _tracer(model: keras.Layer) -> _Tracer:
    """Return the model's tracer; a new one if the model's layers have changed."""
    layers = [("", model), *layers_within(model)]
    compiled_for = [
        # Attributes of a layer may be changed. A model's layers are in the list.
        (path, weakref.ref(layer), isinstance(layer, keras.Model) or _config(layer))
        for path, layer in layers
    ]
    known_for, tracer = _TRACERS.get(model, (None, None))
    if known_for != compiled_for:
        tracer = _Tracer(model)
        _TRACERS[model] = compiled_for, tracer
    return tracer


def _config(layer: keras.Layer) -> str:
    try:
        return repr(layer.get_config())
    except NotImplementedError:  # a custom layer need not have one
        return ""


def _variables(model: keras.Layer) -> tuple[list, list]:
    """Return a model's variables, and the states of its stateful layers.

    Keras does not list the latter among the variables.
    """
    every = [model, *(layer for _, layer in layers_within(model))]
    stateful = [x for x in every if isinstance(x, keras.layers.RNN) and x.stateful]
    states = {
        id(state): state
        for layer in stateful
        for state in keras.tree.flatten(layer.states)
    }
    others = {id(v): v for v in model.variables if id(v) not in states}
    return list(others.values()), list(states.values())


def _run(call: Pass) -> tuple[Any, dict[str, Any]]:
    """Return a pass's result, and all but its cell states by name.

    The latter are in the order of processing.
    """
    layer, mask = call.layer, call.mask
    if type(layer.cell) not in LSTM_CELLS:
        return _run_variant(call)
    states = [ops.cast(state, call.sequences.dtype) for state in call.initial_state]
    result = call.loop(states, return_sequences=True, zero_output_for_mask=False)
    # With `return_cell_states` of our layer, c follows h.
    x, h = call.sequences, result[1][..., : layer.cell.units]
    x, h, h0, c0 = map(_at_least_float32, (x, h, *states))
    if layer.go_backwards:
        x = ops.flip(x, axis=1)
        mask = None if mask is None else ops.flip(mask, axis=1)
    if mask is not None:
        # Before the first unmasked step, most backends output zeros.
        begun = ops.cumsum(ops.cast(mask, "int32"), axis=1) > 0
        h = ops.where(begun[..., None], h, h0[:, None])
        if layer.zero_output_for_mask:
            result = call.loop(states)
    h_before = ops.concatenate([h0[:, None], h[:, :-1]], axis=1)
    found = gates(layer.cell, x, h_before)._asdict() | {"h": h, "h0": h0, "c0": c0}
    return result, found if mask is None else found | {"mask": mask}


def _run_variant(call: Pass) -> tuple[Any, dict[str, Any]]:
    """Return what `_run` does, and the cell states, of a cell with a `step`."""
    layer, cell, mask = call.layer, call.layer.cell, call.mask
    start = [ops.cast(state, call.sequences.dtype) for state in call.initial_state]
    joined = JoinedStates(cell, training=False)
    x, first = call.sequences, ops.concatenate(start, axis=-1)
    if layer.go_backwards:
        x = ops.flip(x, axis=1)
        mask = None if mask is None else ops.flip(mask, axis=1)
    if mask is not None:
        x = ops.where(mask[..., None], x, 0)
    loop = keras.layers.RNN(joined, return_sequences=True, unroll=layer.unroll)
    _, every, _ = loop.inner_loop(x, [first], mask)
    if mask is not None:
        # Before the first unmasked step, most backends output zeros.
        begun = ops.cumsum(ops.cast(mask, "int32"), axis=1) > 0
        every = ops.where(begun[..., None], every, first[:, None])
    before = ops.concatenate([first[:, None], every[:, :-1]], axis=1)
    rows = ops.shape(x)[:2]
    # All steps as one batch: a pure cell computes each row by itself.
    flat_x, before = (ops.reshape(one, (-1, one.shape[-1])) for one in (x, before))
    states = joined.split(before)
    found, _ = cell.step(cell.pre_activations(flat_x, states[0]), states)
    arrays = {
        name: ops.reshape(value, (*rows, cell.units))
        for name, value in found._asdict().items()
    }
    h, c, *_ = joined.split(every)
    arrays |= {"h": h, "c": c, "h0": start[0], "c0": start[1]}
    arrays = {name: _at_least_float32(value) for name, value in arrays.items()}
    return call.loop(start), arrays if mask is None else arrays | {"mask": mask}


def _at_least_float32(tensor):
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    return ops.cast(tensor, "float32") if dtype.endswith("float16") else tensor


def _batches(
    model: keras.Layer, lstms: dict, data: dict, batch_size: int
) -> Iterator[ByLayer[LayerTrace]]:
    layers = list(lstms.items())
    variables, states = _variables(model)
    carried = [state.value for state in states]
    with _TRACERS_LOCK:
        tracer = _tracer(model)
    for start in range(0, _rows(data), batch_size):
        batch = keras.tree.map_structure(
            lambda array, start=start: array[start : start + batch_size], data
        )
        batch["variables"] = [variable.value for variable in variables]
        batch["states"] = carried
        with _TRACERS_LOCK:
            found = tracer.predict_on_batch(batch)
        carried = found["states"]
        passes = [(*layers[arrays.pop("layer")], arrays) for arrays in found["passes"]]
        yield ByLayer(
            (path, _layer_trace(layer, arrays)) for path, layer, arrays in passes
        )


def _layer_trace(layer, found: dict) -> LayerTrace:
    """Return the trace, given the results of `_run`: adds c, restores the order."""
    mask = found.get("mask")
    c = _cell_states(found, mask) if "c" not in found else found["c"]
    if mask is None:
        mask = np.ones(c.shape[:2], bool)
    sequences = {"c": c, "mask": mask, **{name: found[name] for name in "ifgoh"}}
    if layer.go_backwards:
        sequences = {name: array[:, ::-1] for name, array in sequences.items()}
    return LayerTrace(
        **sequences,
        h0=found["h0"],
        c0=found["c0"],
        backwards=layer.go_backwards,
    )


def _cell_states(found: dict, mask: np.ndarray | None) -> np.ndarray:
    """Return every c, from the gates of an LSTM."""
    forget, added = found["f"], found["i"] * found["g"]
    if mask is not None:
        forget = np.where(mask[..., None], forget, 1)
        added = np.where(mask[..., None], added, 0)
    c = np.empty_like(forget)
    last = found["c0"]
    for t in range(c.shape[1]):
        last = c[:, t] = forget[:, t] * last + added[:, t]
    return c


def _concatenated(stream: Iterator, batch_size: int, rows: int) -> ByLayer[LayerTrace]:
    """Return the traces of all batches as one, in preallocated arrays."""
    if rows <= batch_size:
        (whole,) = stream
        return whole
    joined: dict[str, LayerTrace] = {}
    start: dict[str, int] = {}
    for trace in stream:
        for name, part in trace.items():
            if name not in joined:
                # Inside TimeDistributed each example has several rows.
                arrays = {
                    field: np.empty(
                        (len(a) * rows // batch_size, *a.shape[1:]), a.dtype
                    )
                    for field, a in part.arrays().items()
                }
                joined[name] = dataclasses.replace(part, **arrays)
            begin = start.get(name, 0)
            start[name] = begin + len(part.h)
            for field, array in joined[name].arrays().items():
                array[begin : start[name]] = getattr(part, field)
    return ByLayer(joined.items())


def _rows(data: dict) -> int:
    return len(keras.tree.flatten(data["inputs"])[0])


def _as_data(inputs, initial_state, mask, batch_size: int) -> dict[str, Any]:
    """Return the arguments as arrays of the same number of examples."""
    if batch_size < 1:
        raise ValueError(f"expected batch_size >= 1; received {batch_size}")
    data = {"inputs": as_arrays(inputs)}
    if mask is not None:
        data["mask"] = as_arrays(mask).astype(bool)
    _check_rows(data)
    if initial_state is not None:
        data["initial_state"] = [
            state.repeat(_rows(data), axis=0) if state.shape[:1] == (1,) else state
            for state in map(as_arrays, initial_state)
        ]
        _check_rows(data)
    if mask is not None and data["mask"].ndim != 2:
        raise ValueError(
            "expected a mask of shape (batch, time); received shape "
            f"{data['mask'].shape}"
        )
    return data


def _check_rows(data: dict) -> None:
    shapes = [array.shape for array in keras.tree.flatten(data)]
    rows = {shape[:1] for shape in shapes}
    if len(rows) != 1 or rows <= {(), (0,)}:
        raise ValueError(
            "expected arrays with the same number of examples, at least one; received "
            f"the shapes {shapes}"
        )
