"""What a layer is called with: masks, initial states, batches, ragged tensors.

Oracles: the layer itself on clean or repeated inputs, and the NumPy reference.
"""

import keras
import numpy as np
import pytest
from keras import ops

from lstm_keras import LSTM, engine_scope
from lstm_keras.preprocessing.vocabulary import length_mask
from lstm_keras.reference import lstm_forward
from tests.helpers.equality import (
    BACKEND,
    BATCH,
    ENGINES,
    FEATURES,
    TIME,
    UNITS,
    as_mask,
    assert_all_close,
    built,
    inputs_and_states,
    normal,
    randomize_weights,
    run_layer,
    to_numpy,
)
from tests.helpers.pairwise import first_of, pairwise

LOOP_AND_ENGINES = ["loop", *ENGINES]
X, H, C = (array.astype("float32") for array in inputs_and_states())
only_tensorflow = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="only TensorFlow has graphs of unknown sizes"
)


# Masks.


@pytest.mark.parametrize(
    "shape",
    [
        (BATCH, 1),
        (1, TIME),
        (BATCH, TIME + 1),
        (BATCH, TIME - 1),
        (TIME, BATCH),
        (BATCH * TIME,),
        (BATCH, TIME, FEATURES),
    ],
    ids=str,
)
def test_a_mask_of_another_shape_is_refused(shape):
    message = rf"expected a mask \(batch, time\) = \({BATCH}, {TIME}\); received one of"
    for engine in LOOP_AND_ENGINES:
        with pytest.raises(ValueError, match=message) as error:
            LSTM(UNITS, engine=engine)(X, mask=np.ones(shape, bool))
        assert f"received one of shape {shape}" in str(error.value)
    symbolic = keras.Input(batch_shape=shape, dtype="bool")
    with pytest.raises(ValueError, match=message):
        LSTM(UNITS)(keras.Input(batch_shape=X.shape), mask=symbolic)


@only_tensorflow
@first_of("engine", LOOP_AND_ENGINES)
@first_of("shape", [(2, 1), (1, 6), (2, 5), (6, 2)])
def test_a_mask_whose_shape_is_known_at_run_time_only_is_refused_then(shape, engine):
    import tensorflow as tf

    layer = built(LSTM(UNITS, engine=engine))
    signature = [
        tf.TensorSpec((None, None, FEATURES)),
        tf.TensorSpec((None, None), bool),
    ]
    x, right, wrong = np.ones((2, 6, 4)), np.ones((2, 6), bool), np.ones(shape, bool)
    for jit_compile in (False, True):
        function = tf.function(
            lambda x, m: layer(x, mask=m),
            input_signature=signature,
            jit_compile=jit_compile,
        )
        with engine_scope("auto"):  # while it is traced: engines refuse to be exported
            assert_all_close(function(x, right), layer(x, mask=right))
        # XLA drops the check, but can't reshape to another number of elements.
        if not (jit_compile and wrong.size == right.size):
            message = None if jit_compile else "expected a mask"
            with pytest.raises(tf.errors.InvalidArgumentError, match=message):
                function(x, wrong)


@pytest.mark.parametrize(
    "form", [np.ndarray.tolist, lambda mask: mask[..., None], lambda mask: [mask]]
)
def test_a_mask_may_be_rows_in_a_list_or_with_an_axis_for_features(form):
    mask = as_mask("holes")
    for engine in LOOP_AND_ENGINES:
        layer = built(LSTM(UNITS, engine=engine))
        assert_all_close(layer(X, mask=form(mask)), layer(X, mask=mask))


@pairwise(
    padding=[np.nan, np.inf],
    dropout=[0.0, 0.3],
    go_backwards=[False, True],
    engine=LOOP_AND_ENGINES,
)
def test_masked_inputs_influence_neither_results_nor_gradients(
    padding, dropout, go_backwards, engine
):
    mask = np.array([[1, 1, 1, 0, 0, 0, 0], [0, 1, 0, 1, 1, 0, 1], [0] * 7], bool)
    layer = LSTM(
        UNITS,
        engine=engine,
        return_sequences=True,
        return_state=True,
        go_backwards=go_backwards,
        dropout=dropout,
        seed=3,
    )
    built(layer)

    def run(fill):
        # A generator of dropout masks goes on; this one starts again.
        layer.cell.seed_generator.state.assign([3, 0])
        filled = np.where(mask[..., None], X, fill)
        return run_layer(layer, [filled, H, C], mask=mask, training=True)

    found = run(padding)
    assert all(np.isfinite(array).all() for array in to_numpy(found))
    assert_all_close(found, run(0.0))


@pytest.mark.thorough
@pytest.mark.parametrize("engine", LOOP_AND_ENGINES)
def test_one_training_step_on_masked_nan_leaves_finite_weights(engine):
    mask = np.arange(TIME) < [[3], [TIME], [1]]

    def weights_after(fill):
        inputs, masks = keras.Input((TIME, FEATURES)), keras.Input((TIME,), dtype=bool)
        hidden = LSTM(UNITS, engine=engine)(inputs, mask=masks)
        model = keras.Model([inputs, masks], keras.layers.Dense(1)(hidden))
        randomize_weights(model)
        model.compile("sgd", "mse")
        x = np.where(mask[..., None], X, fill)
        model.train_on_batch([x, mask], np.ones((BATCH, 1)))
        return model.get_weights()

    assert_all_close(weights_after(np.nan), weights_after(0.0))


@only_tensorflow
def test_a_ragged_tensor_is_refused_with_what_to_do_instead():
    import tensorflow as tf

    values = tf.constant(normal(11, FEATURES), tf.float32)
    ragged = tf.RaggedTensor.from_row_lengths(values, [3, 7, 1])
    layer = built(LSTM(UNITS))
    with pytest.raises(ValueError, match=r"x\.to_tensor\(\) and mask=lstm_keras\.prep"):
        layer(ragged)
    # What the message says.
    found = layer(ragged.to_tensor(), mask=length_mask(ragged.row_lengths()))
    rows = [lstm_forward(row[None], *layer.get_weights()).h_last for row in ragged]
    assert_all_close(found, np.concatenate(rows))


# Initial states.


def test_an_initial_state_of_one_row_is_broadcast():
    layer = built(LSTM(UNITS, return_state=True))
    outputs, gradients = run_layer(layer, [X, H[:1], C[:1]])
    repeated = [np.repeat(state[:1], BATCH, axis=0) for state in (H, C)]
    expected, expected_gradients = run_layer(layer, [X, *repeated])
    *of_weights, dh, dc = to_numpy(expected_gradients)
    sums = [state.sum(axis=0, keepdims=True) for state in (dh, dc)]
    assert_all_close([outputs, gradients], [expected, [*of_weights, *sums]])


@only_tensorflow
def test_an_initial_state_of_a_batch_size_known_at_run_time_is_broadcast():
    import tensorflow as tf

    layer = built(LSTM(UNITS))
    row = tf.TensorSpec((1, UNITS))
    function = tf.function(
        lambda x, h, c: layer(x, initial_state=(h, c)),
        input_signature=[tf.TensorSpec((None, None, FEATURES)), row, row],
    )
    repeated = [np.repeat(state[:1], BATCH, axis=0) for state in (H, C)]
    assert_all_close(function(X, H[:1], C[:1]), layer(X, initial_state=repeated))


@pytest.mark.parametrize(
    "states", [{"h": 1, "c": 2}, [None, None], [[1], [2]]], ids=str
)
def test_anything_but_an_initial_state_is_refused(states):
    with pytest.raises(ValueError, match=r"expected initial_state to be \[h, c\]"):
        LSTM(UNITS)(X, initial_state=states)


@pytest.mark.parametrize(
    "shapes",
    [
        (BATCH, UNITS),
        (2, BATCH, UNITS),
        [(BATCH, UNITS)],
        [(BATCH, UNITS)] * 3,
        [(BATCH, UNITS - 1)] * 2,
        [(BATCH, UNITS), (BATCH, UNITS - 1)],
        [(BATCH - 1, UNITS)] * 2,
        [(UNITS,)] * 2,
        [(BATCH, UNITS, 1)] * 2,
    ],
    ids=str,
)
def test_an_initial_state_must_be_h_and_c_of_the_right_shape(shapes):
    one_tensor = isinstance(shapes, tuple)
    for make in (np.ones, ops.ones, lambda shape: keras.Input(batch_shape=shape)):
        states = make(shapes) if one_tensor else [make(shape) for shape in shapes]
        with pytest.raises(ValueError) as error:
            LSTM(UNITS)(make(X.shape), initial_state=states)
        message = str(error.value)
        assert "expected initial_state to be [h, c], each of shape" in message
        assert f"(batch, units) = {(BATCH, UNITS)}" in message
        assert f"received shapes {[shapes] if one_tensor else shapes}" in message


# States that are carried over.


@first_of("sequential", [True, False])
def test_states_are_carried_through_predict_evaluate_and_fit(sequential):
    layer = LSTM(UNITS, return_sequences=True, stateful=True)
    inputs = keras.Input(batch_shape=X.shape)
    if sequential:
        model = keras.Sequential([inputs, layer])
    else:
        model = keras.Model(inputs, layer(inputs))
    randomize_weights(model)
    model.compile(keras.optimizers.SGD(0.0), "mse")  # so that the weights stay
    x = normal(BATCH, 2 * TIME, FEATURES)
    forward = lstm_forward(x, *layer.get_weights())
    batches = np.concatenate(np.split(x, 2, axis=1))
    expected = np.concatenate(np.split(forward.h, 2, axis=1))
    y = normal(*expected.shape, seed=1)
    for _ in range(2):
        assert_all_close(model.predict(batches, BATCH, verbose=0), expected)
        assert_all_close(layer.states, [forward.h_last, forward.c_last])
        layer.reset_state()
        assert_all_close(layer.states, [np.zeros((BATCH, UNITS))] * 2)
    losses = [model.evaluate(batches, y, BATCH, verbose=0)]
    layer.reset_state()
    losses += model.fit(batches, y, BATCH, shuffle=False, verbose=0).history["loss"]
    np.testing.assert_allclose(losses, np.mean((expected - y) ** 2), rtol=1e-5)
    assert_all_close(layer.states, [forward.h_last, forward.c_last])


def test_carried_states_are_variables_but_not_weights():
    model = keras.Sequential(
        [
            keras.Input(batch_shape=X.shape),
            LSTM(3, return_sequences=True, stateful=True),
            LSTM(3, stateful=True),
        ]
    )
    assert len(model.weights) == 6
    states = [state for layer in model.layers for state in layer.states]
    assert {id(state) for state in states} <= {id(v) for v in model.variables}
    paths = [variable.path for variable in model.variables]
    assert len(set(paths)) == len(paths)


STATEFUL_BATCH = "expected batches of the size that the stateful layer was built with"


@only_tensorflow
@first_of("engine", [*ENGINES, "loop", "loop by XLA"])
def test_a_last_smaller_batch_of_a_stateful_model_is_refused(engine):
    import tensorflow as tf

    engine, _, jit_compile = engine.partition(" by XLA")
    layer = LSTM(UNITS, stateful=True, engine=engine)
    model = keras.Sequential([keras.Input(batch_shape=X.shape), layer])
    model.compile("sgd", "mse", jit_compile=bool(jit_compile))
    message = None if jit_compile else STATEFUL_BATCH  # XLA drops it
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=message):
        model.predict(normal(BATCH + 1, TIME, FEATURES), batch_size=BATCH, verbose=0)


def test_a_stateful_layer_needs_a_batch_size_and_keeps_it():
    layer = LSTM(UNITS, stateful=True)
    with pytest.raises(
        ValueError, match=r"fixed batch size.*received .*\(None, 7, 4\)"
    ):
        layer(keras.Input((TIME, FEATURES)))
    layer.build(X.shape)
    for batch in (BATCH - 1, BATCH + 1):
        message = f"{STATEFUL_BATCH}, {BATCH}; received one of {batch}"
        with pytest.raises(ValueError, match=message):
            layer(ops.ones((batch, TIME, FEATURES)))


@only_tensorflow
def test_unrolling_needs_a_known_number_of_steps():
    import tensorflow as tf

    function = tf.function(
        LSTM(UNITS, unroll=True),
        input_signature=[tf.TensorSpec((None, None, FEATURES))],
    )
    with pytest.raises(ValueError, match="time dimension is undefined"):
        function.get_concrete_function()
