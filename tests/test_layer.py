"""`lstm_keras.LSTM` is held against `keras.layers.LSTM` and the NumPy reference."""

import contextlib

import keras
import numpy as np
import pytest
from equality import (
    BACKEND,
    double_precision,
    assert_all_close,
    inputs_and_states,
    lstm_pair,
    outputs_and_gradients,
)

MASKS = {
    "none": None,
    "right": ["1111111", "1111000", "1000000"],
    "left": ["1111111", "0001111", "0000001"],
    "holes": ["0110101", "1001010", "0010110"],
    "a fully masked row": ["1111111", "0000000", "1001110"],
}
every_mask = pytest.mark.parametrize("mask", MASKS)


def as_mask(name):
    rows = MASKS[name]
    if rows is None:
        return None
    return np.array([[step == "1" for step in row] for row in rows])


def results(layer, mask=None, training=False, arrays=None):
    def call(x, h, c):
        return layer(x, initial_state=[h, c], mask=mask, training=training)

    return outputs_and_gradients(layer, call, arrays or inputs_and_states())


def skip_where_keras_fails(mask, unroll, go_backwards):
    if BACKEND == "torch" and mask is not None and unroll and go_backwards:
        pytest.skip(
            "on torch keras.layers.RNN fails with unroll, go_backwards and a mask "
            "(AttributeError: it asks a tuple of tensors for its shape)"
        )


@pytest.mark.parametrize("zero_output_for_mask", [False, True])
@every_mask
@pytest.mark.parametrize("unroll", [False, True])
@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("return_state", [False, True])
@pytest.mark.parametrize("return_sequences", [False, True])
def test_outputs_states_and_gradients_equal_kerass(
    return_sequences, return_state, go_backwards, unroll, mask, zero_output_for_mask
):
    mask = as_mask(mask)
    skip_where_keras_fails(mask, unroll, go_backwards)
    ours, builtin = lstm_pair(
        return_sequences=return_sequences,
        return_state=return_state,
        go_backwards=go_backwards,
        unroll=unroll,
        zero_output_for_mask=zero_output_for_mask,
    )
    assert_all_close(results(ours, mask), results(builtin, mask))
