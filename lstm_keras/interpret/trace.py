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
from lstm_keras.interpret.hooks import (
    LSTM_CELLS,
    ByLayer,
    Call,
    as_arrays,
    build,
    intercepted,
    layers_within,
    recurrent_layers,
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


def trace_gates(
    model: keras.Layer,
    inputs: Any,
    initial_state: Sequence[Any] | None = None,
    mask: Any = None,
    *,
    batch_size: int = 32,
) -> ByLayer[LayerTrace]:
    """Return gates and states of every LSTM in a model, at every step.

    The LSTMs are `lstm_keras.LSTM`, `keras.layers.LSTM` and `keras.layers.RNN` around a
    cell of either, alone, stacked, or inside of `Bidirectional`, `TimeDistributed` and
    other models. The model itself computes the hidden states, in inference; the gates
    follow from them for all steps at once by the equations of `LSTMCell`. Inside of
    `TimeDistributed` the batch is `batch * frames`.

    Args:
        model: A model or layer; one without weights is built for the inputs. The states
            of a stateful layer are left as they were.
        inputs: Arrays or tensors, or a list or dictionary of them, as the model takes
            them; the first axis is the batch. Of a dataset give one batch at a time.
        initial_state: `[h, c]`, each `(batch, units)` or `(1, units)`, for a model with
            one LSTM; otherwise the model's own.
        mask: Boolean `(batch, time)`, for a model or layer that is given one.
        batch_size: Examples at a time, what a stateful layer was built with if there is
            one. The arrays of all are returned; `stream_gates` keeps one batch only.

    Returns:
        A `LayerTrace` for each pass of an LSTM, in the order of computation, by
        position or by the layer's path: `trace[0].f`, `trace["lstm"].f`.

    Raises:
        ValueError: The model has no LSTM (the message lists its layers); or one of the
            arguments does not fit it.
    """
    lstms, data = _checked(model, inputs, initial_state, mask, batch_size)
    stream = _batches(model, lstms, data, batch_size)
    return _joined(stream, batch_size, _rows(data))


def stream_gates(
    model: keras.Layer,
    inputs: Any,
    initial_state: Sequence[Any] | None = None,
    mask: Any = None,
    *,
    batch_size: int = 32,
) -> Iterator[ByLayer[LayerTrace]]:
    """Yield the trace of one batch after the other: see `trace_gates`."""
    lstms, data = _checked(model, inputs, initial_state, mask, batch_size)
    return _batches(model, lstms, data, batch_size)


def _checked(model, inputs, initial_state, mask, batch_size) -> tuple[dict, dict]:
    """Return the LSTMs of the model by path, and the other arguments as arrays."""
    data = _data(inputs, initial_state, mask, batch_size)
    build(model, data["inputs"], batch_size)
    lstms = recurrent_layers(model, LSTM_CELLS)
    if initial_state is not None:
        _check_initial_state(lstms, data["initial_state"])
    return lstms, data


def gates(cell: keras.Layer, x: Any, h: Any) -> equations.Gates:
    """Return the gates and the candidate of an LSTM cell, in inference.

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
    return equations.gates(z, cell.activation, cell.recurrent_activation)


class _Tracer(keras.Model):
    """Calls a model, and returns what its LSTMs did instead of its output.

    A Keras model itself, so that `predict_on_batch` compiles it on every backend. It
    does not keep the traced model alive, and is given its variables' values, so that
    none of them changes.
    """

    def __init__(self, traced: keras.Layer):
        super().__init__(name="tracer", dtype="float32", autocast=False)
        self.traced = weakref.ref(traced)
        every = [traced, *(layer for _, layer in layers_within(traced))]
        self.supports_jit = all(layer.supports_jit for layer in every)
        self.built = True

    def call(self, data):
        """Return what `_run` found, in the order of computation, and the new states."""
        traced, found = self.traced(), []
        lstms = recurrent_layers(traced, LSTM_CELLS)
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


# Of each model the compiled tracer, and what it was compiled for. Not the lock of
# `replaced`: TensorFlow's MirroredStrategy calls a model in a thread of its own.
_TRACERS: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
_TRACERS_LOCK = threading.RLock()


def _tracer(model: keras.Layer) -> _Tracer:
    """Return the model's tracer, another one after a change to the model's layers."""
    layers = [("", model), *layers_within(model)]
    compiled_for = [
        # A layer may be given an activation. The layers of a model are in the list.
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
    except NotImplementedError:  # a layer of one's own need not have one
        return ""


def _variables(model: keras.Layer) -> tuple[list, list]:
    """Return a model's variables, and the states that its stateful layers carry over.

    For Keras the latter are no variables of the model.
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


def _run(call: Call) -> tuple[Any, dict[str, Any]]:
    """Return the pass's result, and all but the cell states by name.

    The latter are in the order of reading.
    """
    layer, mask = call.layer, call.mask
    states = [ops.cast(state, call.sequences.dtype) for state in call.initial_state]
    result = call.loop(states, return_sequences=True, zero_output_for_mask=False)
    # With `return_cell_states` of our layer, c is behind h.
    x, h = call.sequences, result[1][..., : layer.cell.units]
    x, h = _not_half(x), _not_half(h)
    h0, c0 = map(_not_half, states)
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
    found = gates(layer.cell, x, h_before)._asdict() | {"h": h, "h0": h0, "c0": c0}
    return result, found if mask is None else found | {"mask": mask}


def _not_half(tensor):
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


def _joined(stream: Iterator, batch_size: int, rows: int) -> ByLayer[LayerTrace]:
    """Return the traces of all batches as one, in arrays that are made once."""
    if rows <= batch_size:
        (whole,) = stream
        return whole
    joined: dict[str, LayerTrace] = {}
    start: dict[str, int] = {}
    for trace in stream:
        for name, part in trace.items():
            if name not in joined:
                # Inside of TimeDistributed each example has several rows.
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


def _data(inputs, initial_state, mask, batch_size: int) -> dict[str, Any]:
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


def _check_initial_state(lstms: dict, states: list) -> None:
    if len(lstms) != 1:
        raise ValueError(
            "expected a model with one LSTM to start at initial_state; received one "
            f"with {list(lstms)}"
        )
    (units,) = (layer.cell.units for layer in lstms.values())
    shapes = [state.shape for state in states]
    if [shape[1:] for shape in shapes] != [(units,)] * 2:
        raise ValueError(
            "expected initial_state to be [h, c], each of shape (batch, units) = "
            f"(batch, {units}) or (1, {units}); received shapes {shapes}"
        )
