"""Pooling and order of a recurrent layer's outputs.

Oracles: NumPy row by row, and the backward half of Keras's Bidirectional.
"""

import keras
import numpy as np
import pytest
from keras import layers, ops

import lstm_keras
from lstm_keras.pooling import InputOrder, MaskedMaxPooling1D
from tests.helpers.models import MASK

X = np.random.default_rng(0).normal(size=(*MASK.shape, 3)).astype("float32") - 3


@pytest.mark.parametrize("mask", [MASK, None])
def test_the_maximum_is_over_the_unmasked_steps(mask):
    found = ops.convert_to_numpy(MaskedMaxPooling1D()(X, mask=mask))
    rows = MASK if mask is not None else np.ones_like(MASK)
    expected = [
        x[on].max(0) if on.any() else 0 * x[0] for x, on in zip(X, rows, strict=True)
    ]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", [lstm_keras.LSTM, layers.LSTM])
def test_outputs_in_the_order_of_the_inputs_are_those_of_the_other_direction(kind):
    both = layers.Bidirectional(kind(4, return_sequences=True), merge_mode=None)
    _, expected = both(X, mask=MASK)
    inputs = keras.Input(X.shape[1:])
    backwards = kind(4, return_sequences=True, go_backwards=True)
    outputs = InputOrder()(backwards(layers.Masking(-9.0)(inputs)))
    model = keras.Model(inputs, [outputs, layers.GlobalAveragePooling1D()(outputs)])
    backwards.set_weights(both.backward_layer.get_weights())
    found, mean = model(np.where(MASK[:, :, None], X, -9))
    found, expected = map(ops.convert_to_numpy, (found, expected))
    np.testing.assert_allclose(found[MASK], expected[MASK], atol=1e-6)
    # The mean knows the mask, and so which outputs are real.
    some = MASK.any(1)
    means = [
        row[on].mean(0) for row, on in zip(expected[some], MASK[some], strict=True)
    ]
    np.testing.assert_allclose(ops.convert_to_numpy(mean)[some], means, atol=1e-6)


def test_a_saved_model_is_read_back(tmp_path):
    inputs = keras.Input((None, 3))
    hidden = InputOrder()(lstm_keras.LSTM(2, return_sequences=True)(inputs))
    model = keras.Model(inputs, MaskedMaxPooling1D()(hidden))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.output_shape == (None, 2)
    np.testing.assert_array_equal(*(ops.convert_to_numpy(m(X)) for m in (model, again)))
