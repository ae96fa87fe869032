"""Engines compute a whole sequence at once, one file each; `choose` picks one.

The plain loop over `LSTMCell` defines the results; an engine computes the same results
faster. Every engine's file has the same function `run`: it takes `Inputs` and returns
every `h`, `(batch, time, units)` or None; every `c`, likewise; and the last `[h, c]`.
"""

import contextlib
import contextvars
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
from keras import ops

# The backends on which each engine runs, the preferred one first.
BACKENDS = {
    "cudnn": ("tensorflow", "torch"),
    "xla": ("tensorflow",),
    "aten": ("torch",),
    "scan": ("jax",),
}
LOOP = "loop"
NAMES = ("auto", LOOP, *BACKENDS)

# The engine that `engine_scope` sets for every layer; None outside of any scope.
_SCOPE: contextvars.ContextVar[str | None] = contextvars.ContextVar(
    "engine_scope", default=None
)


class Weights(NamedTuple):
    """The weights of a cell.

    Attributes:
        kernel: `W`, `(features, 4 * units)`.
        recurrent_kernel: `U`, `(units, 4 * units)`.
        bias: `b`, `(4 * units,)`.
    """

    kernel: Any
    recurrent_kernel: Any
    bias: Any


class Inputs(NamedTuple):
    """The arguments of an engine.

    Attributes:
        sequences: `(batch, time, features)`.
        mask: Boolean `(batch, time)`, or None. A masked step leaves both states
            unchanged, and its outputs are these states. The values of `sequences` at
            such a step, NaN included, affect neither results nor gradients.
        states: `[h, c]`, each `(batch, units)`.
        weights: Packed as in `LSTMCell`.
        dropout: None, or `(batch, 4, features + units)`: the dropout factors of `x_t`
            and `h_{t-1}`, concatenated, for each of the four parts of `z`.
        return_sequences: Whether to return every `h`.
        return_cells: Whether to return every `c`.
        training: Whether the gradient will probably be needed; it exists in any case.
    """

    sequences: Any
    mask: Any
    states: list
    weights: Weights
    dropout: Any = None
    return_sequences: bool = False
    return_cells: bool = False
    training: bool = False


@dataclass(frozen=True)
class Call:
    """The properties of a layer's call that decide which engines support it.

    Attributes:
        plain_cell: Whether the cell is `LSTMCell` itself, not a subclass.
        activation: The cell's activation.
        recurrent_activation: Its gates' activation.
        recurrent_dropout: Whether this call drops hidden states.
        unroll: Whether the layer asks for an unrolled loop.
        use_cudnn: `"auto"`, True or False.
    """

    plain_cell: bool
    activation: Callable
    recurrent_activation: Callable
    recurrent_dropout: bool
    unroll: bool
    use_cudnn: bool | str


@dataclass(frozen=True)
class Choice:
    """The engine that a call uses.

    Attributes:
        engine: Name of the engine, or `"loop"`.
        passed_over: For every other engine, why it is not used.
    """

    engine: str
    passed_over: dict[str, str]

    def __str__(self) -> str:
        """One line for each engine."""
        return "\n".join(
            [self.engine, *(f"not {n}: {why}" for n, why in self.passed_over.items())]
        )


@contextlib.contextmanager
def engine_scope(engine: str) -> Iterator[None]:
    """Set the engine of every `lstm_keras.LSTM` inside the `with` block.

    A layer chooses its engine when it is called; in a compiled function, when that is
    traced. The scope holds for the current thread.

    On TensorFlow, engines cannot be saved to a file, and a graph that is built outside
    of Keras's `fit`, `evaluate` and `predict` might be exported. There every layer uses
    the loop, so `model.export`, `tf.saved_model.save` and tf2onnx write files that run
    anywhere. In your own `tf.function` that is not exported, a training step for
    instance, `engine_scope("auto")` lets layers use their engines:

        with lstm_keras.engine_scope("auto"):
            train_step(x, y)  # the first call, which traces the tf.function

    Args:
        engine: The engine of every layer, overriding its own `engine`; or `"auto"`: the
            layer's own, even in graphs that might be exported.

    Raises:
        ValueError: There is no such engine.
    """
    check_name(engine)
    token = _SCOPE.set(engine)
    try:
        yield
    finally:
        _SCOPE.reset(token)


@contextlib.contextmanager
def in_process() -> Iterator[None]:
    """Declare that graphs built inside the `with` block are not exported."""
    with engine_scope(_SCOPE.get() or "auto"):
        yield


def check_name(engine: str) -> None:
    """Raise a ValueError if there is no engine of this name."""
    if engine not in NAMES:
        raise ValueError(f"expected engine to be one of {NAMES}; received {engine!r}")


def choose(engine: str, call: Call) -> Choice:
    """Choose the engine for a call.

    Args:
        engine: A name, or `"auto"`: the first engine that supports the call, or else
            the loop.
        call: The call.

    Raises:
        ValueError: The engine that was asked for by name does not support the call.
    """
    asked, scope = f"engine={engine!r}", _SCOPE.get()
    if scope not in (None, "auto"):
        engine, asked = scope, f"engine_scope({scope!r})"
    elif call.use_cudnn is True:
        if engine not in ("auto", "cudnn"):
            raise ValueError(
                "expected use_cudnn='auto' or False with an engine other than 'cudnn'; "
                f"received use_cudnn=True with {asked}"
            )
        engine, asked = "cudnn", "use_cudnn=True"
    return _chosen(engine, asked, {name: _refusal(name, call) for name in BACKENDS})


def choose_for_cell(
    engine: str, cell: Any, features: int | None, unroll: bool, training: bool
) -> Choice:
    """Choose how `lstm_keras.RNN` runs a cell: by the engine `"xla"`, or in the loop.

    Args:
        engine: See `choose`.
        cell: The cell.
        features: Size of the last axis of its inputs; None if it is not built.
        unroll: Whether the layer asks for an unrolled loop.
        training: Whether the call is in training.

    Raises:
        ValueError: The engine that was asked for by name does not support the cell.
    """
    asked, scope = f"engine={engine!r}", _SCOPE.get()
    if scope not in (None, "auto"):
        engine, asked = scope, f"engine_scope({scope!r})"
    backend, why = keras.backend.backend(), None
    if backend != "tensorflow":
        why = f"it needs tensorflow; the backend is {backend}"
    elif unroll:
        why = "unroll=True asks for the unrolled loop"
    else:
        why = _module("cells").refusal(cell, features, training)
    return _chosen(engine, asked, {"xla": why})


def run_cell(*arguments: Any) -> tuple[Any, list]:
    """Run a cell by the engine `"xla"`; see `lstm_keras.engines.cells.run`."""
    return _module("cells").run(*arguments)


def _chosen(engine, asked, refusals):
    """Return the `Choice`, given why each engine does not support the call, or None."""
    scope = _SCOPE.get()
    able = [name for name, why in refusals.items() if why is None]
    if engine == "auto":
        taken, others = next(iter(able), LOOP), "another engine is preferred"
    elif engine in (*able, LOOP):
        taken, others = engine, f"{asked} was asked for"
    else:
        why = refusals.get(engine, "it runs lstm_keras.LSTM alone")
        raise ValueError(f"{asked} cannot run this layer: {why}")
    if taken != LOOP and scope is None and _may_leave_the_process():
        taken, others = LOOP, "this graph may be exported: see lstm_keras.engine_scope"
    passed_over = {
        name: refusals.get(name) or others
        for name in (*refusals, LOOP)
        if name != taken
    }
    return Choice(taken, passed_over)


def _refusal(name: str, call: Call) -> str | None:
    backend = keras.backend.backend()
    if backend not in BACKENDS[name]:
        return f"it needs {' or '.join(BACKENDS[name])}; the backend is {backend}"
    if not call.plain_cell:
        return "the cell is not lstm_keras.LSTMCell itself"
    activations = call.activation, call.recurrent_activation
    if activations != (keras.activations.tanh, keras.activations.sigmoid):
        names = [getattr(function, "__name__", function) for function in activations]
        return (
            "it supports only Keras's activations tanh and sigmoid; these are "
            f"{names[0]} and {names[1]}"
        )
    if call.unroll:
        return "unroll=True asks for the unrolled loop"
    if name in ("cudnn", "aten"):
        if call.recurrent_dropout:
            return "it does not support recurrent_dropout in training"
        return _module(name).refusal(call)
    return None


def _may_leave_the_process() -> bool:
    """Whether TensorFlow builds a graph outside of Keras's fit, evaluate and predict.

    These run their steps by `tf.distribute.Strategy.run`, so a replica context other
    than the default one is active; exporters trace the model without one. A SavedModel
    that contains XLA needs XLA where it runs, and tf2onnx would write an invalid file.
    """
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    if tf.executing_eagerly():
        return False
    with tf.Graph().as_default():  # a new graph is in no replica
        outside = tf.distribute.get_replica_context()
    return tf.distribute.get_replica_context() in (None, outside)


def _module(name: str) -> Any:
    return importlib.import_module(f"lstm_keras.engines.{name}")


def run(
    engine: str,
    sequences: Any,
    mask: Any,
    states: list,
    weights: Weights,
    dropout: Any = None,
    return_sequences: bool = False,
    return_cells: bool = False,
    training: bool = False,
) -> tuple[Any, Any, list]:
    """Run an engine on `Inputs`; see the module for the results.

    Half precision is computed in float32, except by cuDNN.
    """
    dtype = keras.backend.standardize_dtype(sequences.dtype)
    inner = "float32" if engine != "cudnn" and dtype.endswith("float16") else dtype

    def cast(tensor, to):
        return None if tensor is None else ops.cast(tensor, to)

    inputs = Inputs(
        ops.cast(sequences, inner),
        mask,
        [ops.cast(state, inner) for state in states],
        Weights(*(ops.cast(weight, inner) for weight in weights)),
        cast(dropout, inner),
        return_sequences,
        return_cells,
        training,
    )
    hidden, cells, states = _module(engine).run(inputs)
    return (
        cast(hidden, dtype),
        cast(cells, dtype),
        [ops.cast(state, dtype) for state in states],
    )
