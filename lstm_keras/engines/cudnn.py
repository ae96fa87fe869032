"""cuDNN's LSTM on an NVIDIA GPU: by `keras.layers.LSTM`, or by torch's own operator.

Not on JAX. Its operator takes inputs for contiguous that XLA, in a compiled function,
has laid out in another order (as it does with those that come from a loop), and gives
wrong numbers; and `scan` is faster.

In float32 the sigmoid and tanh of small layers are exact to about 1e-5. The backend's
settings decide whether it may round factors to TensorFloat-32, which has 10 bits; by
default it may.
"""

import functools

import keras

from lstm_keras.engines.compaction import run_compacted


def refusal(call):
    """Return why the call can't be done, or None."""
    if call.use_cudnn is False:
        return "use_cudnn=False"
    if not _HAS_GPU[keras.backend.backend()]():
        return "it needs a GPU, and the backend sees none"
    return None


def run(sequences, mask, states, kernel, recurrent_kernel, bias, return_sequences):
    """Run over all steps; see `lstm_keras.engines`."""
    weights = kernel, recurrent_kernel, bias
    if keras.backend.backend() == "torch":
        from lstm_keras.engines import aten

        return aten.run(sequences, mask, states, *weights, return_sequences)
    return run_compacted(_run, sequences, mask, states, *weights, return_sequences)


def _run(sequences, states, kernel, recurrent_kernel, bias, return_sequences):
    units = recurrent_kernel.shape[0]
    layer = keras.layers.LSTM(units, return_sequences=return_sequences, name="lstm")
    # Tensors in the places of the variables that `build` would make.
    layer.cell.kernel = kernel
    layer.cell.recurrent_kernel = recurrent_kernel
    layer.cell.bias = bias
    layer.cell.built = True
    _, hidden, states = layer.inner_loop(sequences, list(states), mask=None)
    return hidden if return_sequences else None, states


def _tensorflow_has_gpu():
    import tensorflow as tf

    return bool(tf.config.get_visible_devices("GPU"))


@functools.cache
def _torch_has_gpu():
    import torch

    return torch.cuda.is_available() and torch.backends.cudnn.is_available()


_HAS_GPU = {"tensorflow": _tensorflow_has_gpu, "torch": _torch_has_gpu}
