"""Masks and cell states by compaction, against the reference in NumPy float64."""

import keras
import numpy as np
import pytest
from keras import ops

from lstm_keras.engines import Inputs, Weights, compaction, cudnn
from lstm_keras.reference import lstm_forward
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

OPERATORS = ["keras", *(["torch"] if BACKEND == "torch" else [])]
MASKS = {
    "none": None,
    "all true": np.ones((BATCH, TIME), bool),
    "post": np.arange(TIME) < [[3], [7], [1]],
    "pre": np.arange(TIME) >= [[3], [0], [6]],
    "gaps, none true": np.array([[1, 0, 1, 0, 0, 1, 1], [0, 1, 0, 0, 1, 0, 0], [0] * 7])
    == 1,
}

every_operator = pytest.mark.parametrize("operator", OPERATORS)
every_mask = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)


def compacted(operator, mask, x, h, c, *weights, cells=True, sequences=True):
    """`run_compacted` of one of the operators: Keras's layer, or torch's own."""
    if operator == "torch":
        from lstm_keras.engines import aten

        run = aten.run_unmasked
    else:
        run = cudnn.run_unmasked
    mask = None if mask is None else ops.convert_to_tensor(mask)
    options = {"return_sequences": sequences, "return_cells": cells}
    return compaction.run_compacted(
        run, Inputs(x, mask, [h, c], Weights(*weights), **options)
    )


def arguments():
    """x, h, c and the weights."""
    shapes = (FEATURES, 4 * UNITS), (UNITS, 4 * UNITS), (4 * UNITS,)
    weights = [0.7 * normal(*shape, seed=10 + n) for n, shape in enumerate(shapes)]
    return [*inputs_and_states(), *weights]


def expected_outputs(mask, x, h, c, *weights):
    forward = lstm_forward(x, *weights, h, c, mask)
    return [forward.h, forward.c, forward.h_last, forward.c_last]


def expected_gradients(mask, arrays, by=1e-6):
    """Central differences of `random_weighted_sum`, in float64."""

    def loss():
        outputs = expected_outputs(mask, *arrays)
        return sum(np.sum(o * loss_weights(o.shape, n)) for n, o in enumerate(outputs))

    gradients = []
    for array in arrays:
        gradients.append(np.zeros_like(array))
        for place in np.ndindex(*array.shape):
            value = array[place]
            array[place] = value + by
            more = loss()
            array[place] = value - by
            less = loss()
            array[place] = value
            gradients[-1][place] = (more - less) / (2 * by)
    return gradients


@every_operator
@every_mask
@pytest.mark.parametrize("padding", [0.0, np.inf, np.nan])
def test_outputs_and_gradients_equal_the_reference_with_any_mask(
    operator, mask, padding
):
    arrays = arguments()
    expected = expected_outputs(mask, *arrays), expected_gradients(mask, arrays)
    if mask is not None:
        arrays[0][~mask] = padding
    found = outputs_and_gradients(
        keras.layers.Layer(),  # without weights: they are among the arrays
        lambda *tensors: compacted(operator, mask, *tensors),
        arrays,
    )
    for one, other in zip(found, expected, strict=True):
        assert_all_close(one, other)


@every_operator
@every_mask
def test_without_sequences_the_last_states_are_the_same(operator, mask):
    arrays = arguments()
    tensors = [ops.convert_to_tensor(array, "float32") for array in arrays]
    hidden, cells, states = compacted(
        operator, mask, *tensors, sequences=False, cells=False
    )
    assert hidden is None
    assert cells is None
    assert_all_close(states, expected_outputs(mask, *arrays)[2:])


@pytest.mark.skipif(BACKEND != "tensorflow", reason="only TensorFlow has such graphs")
@every_mask
def test_a_graph_may_have_unknown_batch_and_time(mask):
    import tensorflow as tf

    x, h, c, *weights = arrays = arguments()
    expected = expected_outputs(mask, *arrays)
    mask = np.ones((BATCH, TIME), bool) if mask is None else mask
    h, c, *weights = (tf.constant(one, tf.float32) for one in (h, c, *weights))

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None, FEATURES)),
            tf.TensorSpec((None, None), tf.bool),
        ]
    )
    def run(x, mask):
        options = {"return_sequences": True, "return_cells": True}
        inputs = Inputs(x, mask, [h, c], Weights(*weights), **options)
        return compaction.run_compacted(cudnn.run_unmasked, inputs)

    assert_all_close(run(tf.constant(x, tf.float32), tf.constant(mask)), expected)
