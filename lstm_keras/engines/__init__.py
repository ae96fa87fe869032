"""Ways through a whole sequence: a file for each engine, and `choose` takes one.

The plain loop over `LSTMCell` is the truth; an engine gives the same results faster.
Each engine's file has the same one function:

    run(sequences, mask, states, kernel, recurrent_kernel, bias, return_sequences)

It takes sequences `(batch, time, features)`, a boolean mask `(batch, time)` or None,
states `[h, c]` `(batch, units)`, and the weights as `LSTMCell` packs them. It returns
every `h`, `(batch, time, units)` or None if not `return_sequences`, and the last
`[h, c]`. A masked step leaves both states as they are, and they are also what it
returns.
"""

import functools
import importlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Call:
    """What is asked of an engine: all that decides whether it can.

    Attributes:
        plain_cell: Whether the cell is `LSTMCell` itself, not a subclass.
        activation: The cell's activation.
        recurrent_activation: Its gates' activation.
        recurrent_dropout: Whether states are dropped in this call.
        unroll: Whether the loop over time is to be unrolled.
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
    """Which way a call takes.

    Attributes:
        engine: Name of the engine, or `"loop"`.
        passed_over: For each other way, why it is not taken.
    """

    engine: str
    passed_over: dict[str, str]

    def __str__(self):
        """A line for each way."""
        return "\n".join(
            [self.engine, *(f"not {n}: {why}" for n, why in self.passed_over.items())]
        )


def choose(engine: str, call: Call) -> Choice:
    """Choose a way for a call.

    Args:
        engine: A name, or `"auto"`: the first that can, or else the loop.
        call: What is asked.

    Raises:
        ValueError: The engine that was asked for by name can't do it.
    """
    asked = f"engine={engine!r}"
    if call.use_cudnn is True:
        if engine not in ("auto", "cudnn"):
            raise ValueError(
                "expected use_cudnn='auto' or False with an engine other than 'cudnn'; "
                f"received use_cudnn=True with {asked}"
            )
        engine, asked = "cudnn", "use_cudnn=True"
    refusals = {name: _refusal(name, call) for name in BACKENDS}
    if engine == "auto" and _exporting_from_tensorflow():
        refusals = dict.fromkeys(BACKENDS, "an exported model has to run without XLA")
    able = [name for name, why in refusals.items() if why is None]
    if engine == "auto":
        taken, others = next(iter(able), LOOP), "an engine before it can do the same"
    elif engine in (*able, LOOP):
        taken, others = engine, f"{asked} was asked for"
    else:
        raise ValueError(
            f"expected a call that {asked} can do; received one that it can't, because "
            f"{refusals[engine]}"
        )
    passed_over = {
        name: refusals.get(name) or others
        for name in (*BACKENDS, LOOP)
        if name != taken
    }
    return Choice(taken, passed_over)


def _refusal(name: str, call: Call) -> str | None:
    backend = keras.backend.backend()
    if backend not in BACKENDS[name]:
        return f"it runs on {' and '.join(BACKENDS[name])}, and this is {backend}"
    if not call.plain_cell:
        return "the cell is not lstm_keras.LSTMCell itself"
    activations = call.activation, call.recurrent_activation
    if activations != (keras.activations.tanh, keras.activations.sigmoid):
        names = [getattr(function, "__name__", function) for function in activations]
        return (
            "it knows Keras's activations tanh and sigmoid only, and these are "
            f"{names[0]} and {names[1]}"
        )
    if call.recurrent_dropout:
        return "it can't drop the hidden state (recurrent_dropout, in training)"
    if call.unroll:
        return "unroll=True asks for the unrolled loop"
    if name in ("cudnn", "aten"):
        return _module(name).refusal(call)
    return None


def _exporting_from_tensorflow() -> bool:
    """Whether a model is being exported: Keras tells a layer by nothing but the stack.

    SavedModels with XLA in them need it where they run, and tf2onnx can't read them.
    """
    if keras.backend.backend() != "tensorflow":
        return False
    frame = sys._getframe()
    while frame and frame.f_code not in _exporters():
        frame = frame.f_back
    return frame is not None


@functools.cache
def _exporters() -> frozenset:
    """The code of the public functions of Keras that export."""
    archive = type(keras.export.ExportArchive())  # Keras makes one of a subclass
    functions = (
        keras.Model.export,
        archive.add_endpoint,
        archive.track_and_add_endpoint,
        archive.write_out,
    )
    return frozenset(inspect.unwrap(function).__code__ for function in functions)


def _module(name: str):
    return importlib.import_module(f"lstm_keras.engines.{name}")


def run(
    engine: str,
    sequences,
    mask,
    states,
    kernel,
    recurrent_kernel,
    bias,
    return_sequences,
):
    """Let an engine run; arguments and results as described at the top of this file.

    Half precision is computed in float32, except by cuDNN.
    """
    dtype = keras.backend.standardize_dtype(sequences.dtype)
    inner = "float32" if engine != "cudnn" and dtype.endswith("float16") else dtype
    hidden, states = _module(engine).run(
        ops.cast(sequences, inner),
        mask,
        [ops.cast(state, inner) for state in states],
        ops.cast(kernel, inner),
        ops.cast(recurrent_kernel, inner),
        ops.cast(bias, inner),
        return_sequences,
    )
    if return_sequences:
        hidden = ops.cast(hidden, dtype)
    return hidden, [ops.cast(state, dtype) for state in states]
