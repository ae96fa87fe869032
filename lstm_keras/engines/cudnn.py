"""cuDNN's LSTM on an NVIDIA GPU: by `keras.layers.LSTM`, or by torch's own operator.

Not on JAX. Its operator takes inputs for contiguous that XLA, in a compiled function,
has laid out in another order (as it does with those that come from a loop), and gives
wrong numbers; and `scan` is faster.

In float32 the sigmoid and tanh of small layers are exact to about 1e-5. The backend's
settings decide whether it may round factors to TensorFloat-32, which has 10 bits; by
default it may.
"""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import keras

from lstm_keras.engines import Call, Weights
from lstm_keras.engines.compaction import run_compacted


def refusal(call: Call) -> str | None:
    """Return why the call can't be done, or None."""
    if call.use_cudnn is False:
        return "use_cudnn=False"
    if not _HAS_GPU[keras.backend.backend()]():
        return "it needs a GPU, and the backend sees none"
    return None


def run(
    sequences: Any,
    mask: Any,
    states: list,
    weights: Weights,
    dropout: Any = None,
    return_sequences: bool = False,
    return_cells: bool = False,
    training: bool = False,
) -> tuple[Any, Any, list]:
    """Run over all steps; see `lstm_keras.engines`. There is never any dropout."""
    operator = run_unmasked
    if keras.backend.backend() == "torch":
        from lstm_keras.engines import aten

        operator = aten.run_unmasked
    return run_compacted(
        operator, sequences, mask, states, weights, return_sequences, return_cells
    )


def run_unmasked(sequences: Any, states: list, weights: Weights) -> tuple[Any, list]:
    """Return every `h` and the last `[h, c]`, by Keras's layer."""
    with _graph_of_its_own():
        layer = keras.layers.LSTM(
            weights.recurrent_kernel.shape[0], return_sequences=True, name="lstm"
        )
    # Tensors in the places of the variables that `build` would make.
    layer.cell.kernel, layer.cell.recurrent_kernel, layer.cell.bias = weights
    layer.cell.built = True
    _, hidden, states = layer.inner_loop(sequences, list(states), mask=None)
    return hidden, states


def _graph_of_its_own():
    """Let Keras's layer make the variable of its dropout, which no tf.function may."""
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    import tensorflow as tf

    return tf.Graph().as_default()


def _tensorflow_has_gpu():
    import tensorflow as tf

    return bool(tf.config.get_visible_devices("GPU"))


@functools.cache
def _torch_has_gpu():
    import torch

    return torch.cuda.is_available() and torch.backends.cudnn.is_available()


_HAS_GPU: dict[str, Callable[[], bool]] = {
    "tensorflow": _tensorflow_has_gpu,
    "torch": _torch_has_gpu,
}
