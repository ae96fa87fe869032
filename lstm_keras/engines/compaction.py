"""Any mask, for an engine that knows none.

A masked step changes nothing, so what counts is the order of the other steps: they are
moved to the front, and the outputs are read from where their steps went. Behind them
stand steps in which `c` must not change. There an extra feature, 1 where masked and 0
elsewhere, shuts the input gate and opens the forget gate: sigmoid is 0 and 1 then to
the last bit, so values and gradients are exact.
"""

import keras
from keras import ops

# sigmoid(-SHUT) is 0 and sigmoid(SHUT) is 1, from float16 to float64.
SHUT = 1e4


def run_compacted(
    run, sequences, mask, states, kernel, recurrent_kernel, bias, return_sequences
):
    """Call an engine's `run` that takes no mask so that it obeys one.

    Args:
        run: Takes all the other arguments of `engines`' `run`, without `mask`.
        sequences: See `engines`, as the rest.
        mask: Boolean `(batch, time)`, or None.
        states: `[h, c]`.
        kernel: `W`.
        recurrent_kernel: `U`.
        bias: `b`.
        return_sequences: Whether every `h` is wanted.

    Returns:
        Every `h` or None, and the last `[h, c]`.
    """
    if mask is None:
        return run(sequences, states, kernel, recurrent_kernel, bias, return_sequences)
    time, units = ops.shape(sequences)[1], recurrent_kernel.shape[0]
    unmasked_first = ops.argsort(
        ops.where(mask, 0, time) + ops.arange(time, dtype="int32"), axis=1
    )
    moved = ops.take_along_axis(sequences, unmasked_first[..., None], axis=1)
    lengths = ops.sum(ops.cast(mask, "int32"), axis=1, keepdims=True)
    behind = ops.arange(time, dtype="int32") >= lengths
    # Zero, or what stands there, however large or NaN, might open the gate again.
    moved = ops.where(behind[..., None], 0, moved)
    moved = ops.concatenate([moved, ops.cast(behind, moved.dtype)[..., None]], axis=-1)
    hold = ops.convert_to_tensor(
        [[-SHUT] * units + [SHUT] * units + [0.0] * (2 * units)],
        dtype=keras.backend.standardize_dtype(kernel.dtype),
    )
    kernel = ops.concatenate([kernel, hold], axis=0)
    hidden, (_, c) = run(moved, states, kernel, recurrent_kernel, bias, True)
    # Before the first unmasked step it is h as it was at the start.
    hidden = ops.concatenate([states[0][:, None], hidden], axis=1)
    h = ops.take_along_axis(hidden, lengths[..., None], axis=1)[:, 0]
    if not return_sequences:
        return None, [h, c]
    steps_before = ops.cumsum(ops.cast(mask, "int32"), axis=1)
    return ops.take_along_axis(hidden, steps_before[..., None], axis=1), [h, c]
