"""cuDNN's LSTM on an NVIDIA GPU, through `keras.layers.LSTM` or torch's own operator.

Not on JAX: its operator assumes contiguous inputs, and XLA may lay them out in another
order in a compiled function (such as outputs of a loop), which gives wrong results;
`scan` is also faster.

In float32 the sigmoid and tanh of small layers are accurate to about 1e-5. The
backend's settings decide whether factors may be rounded to TensorFloat-32, which has 10
bits; by default they may.
"""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import keras

from lstm_keras.engines import Call, Inputs, Weights
from lstm_keras.engines.compaction import run_compacted


def refusal(call: Call) -> str | None:
    """Return why the engine does not support the call, or None."""
    if call.use_cudnn is False:
        return "use_cudnn=False"
    if not _HAS_GPU[keras.backend.backend()]():
        return "it needs a GPU, and the backend sees none"
    return None


def run(inputs: Inputs) -> tuple[Any, Any, list]:
    """Run over all steps; see `lstm_keras.engines`. There is never any dropout."""
    operator = run_unmasked
    if keras.backend.backend() == "torch":
        from lstm_keras.engines import aten

        operator = aten.run_unmasked
    return run_compacted(operator, inputs)


def run_unmasked(sequences: Any, states: list, weights: Weights) -> tuple[Any, list]:
    """Return every `h` and the last `[h, c]`, computed by Keras's layer."""
    with _graph_of_its_own():
        layer = keras.layers.LSTM(
            weights.recurrent_kernel.shape[0], return_sequences=True, name="lstm"
        )
    # Tensors in place of the variables that `build` would create.
    layer.cell.kernel, layer.cell.recurrent_kernel, layer.cell.bias = weights
    layer.cell.built = True
    _, hidden, states = layer.inner_loop(sequences, list(states), mask=None)
    return hidden, states


def _graph_of_its_own():
    """Let Keras's layer create its seed variable, which a tf.function must not do."""
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
