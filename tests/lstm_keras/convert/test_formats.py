"""Files that Keras and torch write of a model with our layer, against the model.

What holds, experiments/README.md says: SavedModel on TensorFlow and JAX, TorchScript by
a trace on torch, each for batches and lengths other than the traced ones.
"""

import keras
import numpy as np
import pytest
from keras import layers, ops

import lstm_keras
from tests.helpers.equality import BACKEND, FEATURES, UNITS, randomize_weights

SIZES = [(1, 1), (3, 7), (2, 50), (5, 2)]  # batch, time


def saved_model(model, path):
    """The model as a function, read from a SavedModel."""
    tf = pytest.importorskip("tensorflow")
    model.export(path, format="tf_saved_model", verbose=False)
    loaded = tf.saved_model.load(path)
    return lambda ids: loaded.serve(ids).numpy()


def torch_script(model, path):
    """The model as a function, read from a file of TorchScript."""
    import torch

    with torch.no_grad(), pytest.warns(torch.jit.TracerWarning):  # Keras's checks
        traced = torch.jit.trace(model, torch.ones(3, 7, dtype=torch.int32))
    traced.save(path)
    loaded = torch.jit.load(path)
    return lambda ids: loaded(torch.tensor(ids)).detach().numpy()


@pytest.mark.thorough
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("both", [True, False])
def test_other_sizes_than_the_traced_one(both, masked, tmp_path):
    lstm = lstm_keras.LSTM(UNITS, return_sequences=both)
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            layers.Embedding(20, FEATURES, mask_zero=masked),
            layers.Bidirectional(lstm) if both else lstm,
            layers.Dense(2),
        ]
    )
    randomize_weights(model)
    read_back = torch_script if BACKEND == "torch" else saved_model
    function = read_back(model, str(tmp_path / "model"))
    for batch, time in SIZES:
        ids = np.random.default_rng(time).integers(0, 20, (batch, time))
        ids[:, 0] = 1
        ids = ids.astype("int32")
        expected = ops.convert_to_numpy(ops.stop_gradient(model(ids)))
        np.testing.assert_allclose(function(ids), expected, rtol=0, atol=1e-5)
