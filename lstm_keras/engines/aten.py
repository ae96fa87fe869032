"""PyTorch's own LSTM operator: all steps in one call, on any device.

With a GPU the operator calls cuDNN. Numbers that fade below the smallest normal float
(gradients over some hundred steps do) slow a CPU down several times;
`torch.set_flush_denormal(True)` turns them into zeros, for the whole program.
"""

import torch

from lstm_keras.engines.compaction import run_compacted


def run(sequences, mask, states, kernel, recurrent_kernel, bias, return_sequences):
    """Run over all steps; see `lstm_keras.engines`."""
    weights = kernel, recurrent_kernel, bias
    return run_compacted(_run, sequences, mask, states, *weights, return_sequences)


def _run(sequences, states, kernel, recurrent_kernel, bias, return_sequences):
    # torch packs the gates in the same order, with the kernels transposed, and adds a
    # second bias.
    parameters = [kernel.T, recurrent_kernel.T, bias, torch.zeros_like(bias)]
    hidden, h, c = torch.lstm(
        sequences,
        [state[None].contiguous() for state in states],
        [parameter.contiguous() for parameter in parameters],
        has_biases=True,
        num_layers=1,
        dropout=0.0,
        train=torch.is_grad_enabled(),
        bidirectional=False,
        batch_first=True,
    )
    return hidden if return_sequences else None, [h[0], c[0]]
