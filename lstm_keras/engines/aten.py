"""PyTorch's own LSTM operator: all steps in one call, on any device.

With a GPU the operator calls cuDNN. On a CPU, denormal numbers (gradients vanish into
them over some hundred steps) slow it down several times;
`torch.set_flush_denormal(True)` flushes them to zero, for the whole program.
"""

from typing import Any

import torch

from lstm_keras.engines import Call, Inputs, Weights
from lstm_keras.engines.compaction import run_compacted


def refusal(call: Call) -> str | None:
    """Return why the engine does not support the call, or None."""
    if call.use_cudnn is False and torch.cuda.is_available():
        return "use_cudnn=False, and on a GPU the operator calls cuDNN"
    return None


def run(inputs: Inputs) -> tuple[Any, Any, list]:
    """Run over all steps; see `lstm_keras.engines`. There is never any dropout."""
    return run_compacted(run_unmasked, inputs)


def run_unmasked(sequences: Any, states: list, weights: Weights) -> tuple[Any, list]:
    """Return every `h` and the last `[h, c]`."""
    # torch packs the gates in the same order, with the kernels transposed, and adds a
    # second bias.
    kernel, recurrent_kernel, bias = weights
    parameters = [kernel.T, recurrent_kernel.T, bias, torch.zeros_like(bias)]
    hidden, h, c = _operator(
        sequences,
        [state[None].contiguous() for state in states],
        [parameter.contiguous() for parameter in parameters],
    )
    return hidden, [h[0], c[0]]


# torch.compile fails on the operator's gradient if the sequences need none. It does not
# compile torch.nn.LSTM either.
@torch.compiler.disable
def _operator(sequences, states, parameters):
    return torch.lstm(
        sequences,
        states,
        parameters,
        has_biases=True,
        num_layers=1,
        dropout=0.0,
        train=torch.is_grad_enabled(),
        bidirectional=False,
        batch_first=True,
    )
