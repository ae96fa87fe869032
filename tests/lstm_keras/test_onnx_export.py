"""ONNX files of models with our layer give the model's numbers in onnxruntime."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import lstm_keras
from tests.helpers.equality import BACKEND, FEATURES, UNITS, normal
from tests.helpers.pairwise import first_of

pytestmark = pytest.mark.skipif(BACKEND == "jax", reason="Keras goes by TensorFlow")
pytest.importorskip("onnx")
pytest.importorskip(
    {"tensorflow": "tf2onnx", "torch": "onnxscript"}.get(BACKEND, "onnx")
)
onnxruntime = pytest.importorskip("onnxruntime")

SIZES = [(1, 1), (3, 7), (2, 50)]  # batch, time; Keras traces 1, 1


def assert_exported(model, batches, path, by_hand=False):
    """Export, run on every batch, and compare with the model."""

    def expected(arrays):
        inputs = [ops.convert_to_tensor(array) for array in arrays]
        outputs = model(inputs if len(inputs) > 1 else inputs[0])
        return [ops.convert_to_numpy(t) for t in keras.tree.flatten(outputs)]

    outputs = [expected(arrays) for arrays in batches]  # Keras exports what was called
    if by_hand:
        convert_by_tf2onnx(model, path)
    else:
        model.export(path, format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(path)
    names = [one.name for one in session.get_inputs()]
    for arrays, right in zip(batches, outputs, strict=True):
        found = session.run(None, dict(zip(names, arrays, strict=True)))
        for one, other in zip(found, right, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


def convert_by_tf2onnx(model, path):
    import tensorflow as tf
    import tf2onnx

    signature = [tf.TensorSpec((None, None), tf.int32, name="ids")]
    function = tf.function(lambda ids: model(ids), input_signature=signature)
    tf2onnx.convert.from_function(function, input_signature=signature, output_path=path)


def test_a_step_model_whose_states_are_inputs(tmp_path):
    x, h, c = (keras.Input(shape) for shape in ((None, FEATURES), (UNITS,), (UNITS,)))
    outputs = lstm_keras.LSTM(UNITS, return_state=True)(x, initial_state=[h, c])
    batches = [
        [
            normal(*shape).astype("float32")
            for shape in [(batch, time, FEATURES), (batch, UNITS), (batch, UNITS)]
        ]
        for batch, time in SIZES
    ]
    model = keras.Model([x, h, c], outputs)
    assert_exported(model, batches, str(tmp_path / "step.onnx"))


@first_of("how", [("pre", False), ("post", True), "by hand"])
def test_a_masked_classifier(how, tmp_path):
    by_hand = how == "by hand"
    if by_hand and BACKEND != "tensorflow":
        pytest.skip("tf2onnx is of TensorFlow")
    padding, sequences = ("post", False) if by_hand else how
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
    assert_exported(model, batches, str(tmp_path / "masked.onnx"), by_hand)
