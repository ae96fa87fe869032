"""Masks and cell states by compaction, against the reference in NumPy float64."""

import keras
import numpy as np
import pytest
from keras import ops

from lstm_keras.engines import Inputs, Weights, compaction, cudnn
from lstm_keras.reference import lstm_backward, lstm_forward
from tests.helpers.equality import (
    BACKEND,
    BATCH,
    FEATURES,
    TIME,
    UNITS,
    assert_all_close,
    inputs_and_states,
    loss_weights,
    normal,
    outputs_and_gradients,
)

MASKS = {
    "none": None,
    "all true": np.ones((BATCH, TIME), bool),
    "post": np.arange(TIME) < [[3], [7], [1]],
    "pre": np.arange(TIME) >= [[3], [0], [6]],
    "gaps, none true": np.array([[1, 0, 1, 0, 0, 1, 1], [0, 1, 0, 0, 1, 0, 0], [0] * 7])
    == 1,
}
every_mask = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
every_operator = pytest.mark.parametrize(
    "operator", ["keras", *(["torch"] if BACKEND == "torch" else [])]
)


def compacted(operator, mask, x, h, c, *weights, both=True):
    """`run_compacted` of one of the operators: Keras's layer, or torch's own."""
    if operator == "torch":
        from lstm_keras.engines import aten

        run = aten.run_unmasked
    else:
        run = cudnn.run_unmasked
    mask = None if mask is None else ops.convert_to_tensor(mask)
    options = {"return_sequences": both, "return_cells": both}
    inputs = Inputs(x, mask, [h, c], Weights(*weights), **options)
    return compaction.run_compacted(run, inputs)


def arguments():
    """x, h, c and the weights."""
    shapes = (FEATURES, 4 * UNITS), (UNITS, 4 * UNITS), (4 * UNITS,)
    weights = [0.7 * normal(*shape, seed=10 + n) for n, shape in enumerate(shapes)]
    return [*inputs_and_states(), *weights]


def reference(mask, x, h, c, *weights):
    """The reference's run, and its outputs."""
    forward = lstm_forward(x, *weights, h, c, mask)
    return forward, [forward.h, forward.c, forward.h_last, forward.c_last]


@every_operator
@every_mask
def test_outputs_and_gradients_equal_the_reference_with_any_mask(operator, mask):
    arrays = arguments()
    forward, outputs = reference(mask, *arrays)
    dh, dc, dh_last, dc_last = (
        loss_weights(one.shape, number) for number, one in enumerate(outputs)
    )
    gradients = lstm_backward(forward, dh, dh_last, dc_last, dc)
    if mask is not None:
        arrays[0][~mask] = np.nan
    found = outputs_and_gradients(
        keras.layers.Layer(),  # without weights: they are among the arrays
        lambda *tensors: compacted(operator, mask, *tensors),
        arrays,
    )
    assert_all_close(found, [outputs, [*gradients]])


@every_operator
@every_mask
def test_without_sequences_the_last_states_are_the_same(operator, mask):
    arrays = arguments()
    tensors = [ops.convert_to_tensor(array, "float32") for array in arrays]
    hidden, cells, states = compacted(operator, mask, *tensors, both=False)
    assert hidden is cells is None
    assert_all_close(states, reference(mask, *arrays)[1][2:])


@pytest.mark.skipif(BACKEND != "tensorflow", reason="only TensorFlow has such graphs")
@pytest.mark.parametrize("name", ["post", "gaps, none true"])
def test_a_graph_may_have_unknown_batch_and_time(name):
    import tensorflow as tf

    x, *others = arguments()
    others, mask = [tf.constant(one, tf.float32) for one in others], MASKS[name]
    specs = [tf.TensorSpec((None, None, FEATURES)), tf.TensorSpec((None, None), bool)]
    run = tf.function(
        lambda x, mask: compacted("keras", mask, x, *others), input_signature=specs
    )
    found = run(tf.constant(x, tf.float32), tf.constant(mask))
    assert_all_close(found, reference(mask, *arguments())[1])
