"""ONNX files of models with our layer give the model's numbers in onnxruntime."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import lstm_keras
from tests.helpers.equality import BACKEND, FEATURES, UNITS, normal

pytestmark = pytest.mark.skipif(BACKEND == "jax", reason="Keras goes by TensorFlow")
pytest.importorskip("onnx")
pytest.importorskip(
    {"tensorflow": "tf2onnx", "torch": "onnxscript"}.get(BACKEND, "onnx")
)
onnxruntime = pytest.importorskip("onnxruntime")

SIZES = [(1, 1), (3, 7), (2, 50)]  # batch, time; Keras traces 1, 1


def assert_exported(model, batches, path):
    """Export, run on every batch, and compare with the model."""

    def expected(arrays):
        inputs = [ops.convert_to_tensor(array) for array in arrays]
        outputs = model(inputs if len(inputs) > 1 else inputs[0])
        return [ops.convert_to_numpy(t) for t in keras.tree.flatten(outputs)]

    outputs = [expected(arrays) for arrays in batches]  # Keras exports what was called
    model.export(path, format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(path)
    names = [one.name for one in session.get_inputs()]
    for arrays, right in zip(batches, outputs, strict=True):
        found = session.run(None, dict(zip(names, arrays, strict=True)))
        for one, other in zip(found, right, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_step_model_whose_states_are_inputs(tmp_path):
    x, h, c = (keras.Input(shape) for shape in ((None, FEATURES), (UNITS,), (UNITS,)))
    outputs = lstm_keras.LSTM(UNITS, return_state=True)(x, initial_state=[h, c])
    batches = [
        [
            normal(*shape, seed=seed).astype("float32")
            for seed, shape in enumerate(
                [(batch, time, FEATURES), (batch, UNITS), (batch, UNITS)]
            )
        ]
        for batch, time in SIZES
    ]
    assert_exported(
        keras.Model([x, h, c], outputs), batches, str(tmp_path / "step.onnx")
    )


@pytest.mark.parametrize("padding", ["pre", "post"])
@pytest.mark.parametrize("sequences", [False, True])
def test_a_masked_classifier(padding, sequences, tmp_path):
    lstm = lstm_keras.LSTM(UNITS, return_sequences=sequences)
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            layers.Embedding(20, FEATURES, mask_zero=True),
            layers.Bidirectional(lstm) if sequences else lstm,
            layers.Dense(2),
        ]
    )
    rng = np.random.default_rng(0)
    batches = []
    for batch, time in SIZES:
        ids = rng.integers(1, 20, (batch, time)).astype("int32")
        ids[np.arange(time) >= rng.integers(1, time + 1, (batch, 1))] = 0
        batches.append([ids if padding == "post" else ids[:, ::-1].copy()])
    assert_exported(model, batches, str(tmp_path / "masked.onnx"))


@pytest.mark.skipif(BACKEND != "tensorflow", reason="tf2onnx is of TensorFlow")
def test_tf2onnx_converts_a_function_of_a_model(tmp_path):
    import tensorflow as tf
    import tf2onnx

    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            layers.Embedding(20, 6, mask_zero=True),
            lstm_keras.LSTM(UNITS),
            layers.Dense(1),
        ]
    )
    ids = np.random.default_rng(0).integers(0, 20, (3, 9)).astype("int32")
    signature = [tf.TensorSpec((None, None), tf.int32, name="ids")]
    function = tf.function(lambda ids: model(ids), input_signature=signature)
    path = str(tmp_path / "model.onnx")
    tf2onnx.convert.from_function(function, input_signature=signature, output_path=path)
    (found,) = onnxruntime.InferenceSession(path).run(None, {"ids": ids})
    np.testing.assert_allclose(found, model.predict(ids, verbose=0), atol=1e-6)
