"""What a layer is called with: masks, initial states, batches, ragged tensors.

Oracles: the layer itself on clean or shortened inputs, the NumPy reference, and one
long sequence for a stateful layer.
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
    assert_all_close,
    inputs_and_states,
    normal,
    outputs_and_gradients,
    randomize_weights,
    to_numpy,
)
from tests.helpers.pairwise import first_of, pairwise

every_engine = pytest.mark.parametrize("engine", ["loop", *ENGINES])
only_tensorflow = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="only TensorFlow has graphs of unknown sizes"
)


def built(**arguments):
    layer = LSTM(UNITS, **arguments)
    layer.build((BATCH, TIME, FEATURES))
    randomize_weights(layer)
    return layer


# Masks.

WRONG_MASKS = {
    "one step": (BATCH, 1),
    "one row": (1, TIME),
    "too long": (BATCH, TIME + 1),
    "too short": (BATCH, TIME - 1),
    "transposed": (TIME, BATCH),
    "flat": (BATCH * TIME,),
    "a mask for each feature": (BATCH, TIME, FEATURES),
}
every_wrong_mask = pytest.mark.parametrize(
    "shape", WRONG_MASKS.values(), ids=WRONG_MASKS.keys()
)


@every_engine
@every_wrong_mask
def test_a_mask_of_another_shape_is_refused(shape, engine):
    x = inputs_and_states()[0]
    with pytest.raises(ValueError) as error:
        built(engine=engine)(x, mask=np.ones(shape, bool))
    message = f"expected a mask (batch, time) = {(BATCH, TIME)}; received one of shape"
    assert f"{message} {shape}" in str(error.value)


@every_wrong_mask
def test_a_symbolic_mask_of_another_shape_is_refused(shape):
    x = keras.Input(batch_shape=(BATCH, TIME, FEATURES))
    mask = keras.Input(batch_shape=shape, dtype="bool")
    with pytest.raises(ValueError, match=r"expected a mask \(batch, time\)"):
        LSTM(UNITS)(x, mask=mask)


@only_tensorflow
@every_engine
@first_of("shape", [(2, 1), (1, 6), (2, 5), (6, 2)])
def test_a_mask_whose_shape_is_known_at_run_time_only_is_refused_then(shape, engine):
    import tensorflow as tf

    layer = built(engine=engine)
    signature = [
        tf.TensorSpec((None, None, FEATURES)),
        tf.TensorSpec((None, None), tf.bool),
    ]
    function = tf.function(lambda x, m: layer(x, mask=m), input_signature=signature)
    x = normal(2, 6, FEATURES).astype("float32")
    right = np.ones((2, 6), bool)
    with engine_scope("auto"):  # while it is traced: engines refuse to be exported
        assert_all_close([function(x, right)], [layer(x, mask=right)])
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected a mask"):
        function(x, np.ones(shape, bool))


@only_tensorflow
@every_engine
@first_of("shape", [(2, 1), (1, 6), (2, 5)])
def test_xla_refuses_a_mask_of_another_size(shape, engine):
    import tensorflow as tf

    layer = built(engine=engine)
    signature = [
        tf.TensorSpec((None, None, FEATURES)),
        tf.TensorSpec((None, None), tf.bool),
    ]
    function = tf.function(
        lambda x, m: layer(x, mask=m), input_signature=signature, jit_compile=True
    )
    x = normal(2, 6, FEATURES).astype("float32")
    with engine_scope("auto"), pytest.raises(tf.errors.InvalidArgumentError):
        function(x, np.ones(shape, bool))


@every_engine
def test_a_mask_may_be_rows_of_python_numbers(engine):
    layer, x = built(engine=engine), inputs_and_states()[0]
    mask = normal(BATCH, TIME, seed=5) > 0
    assert_all_close([layer(x, mask=mask.tolist())], [layer(x, mask=mask)])


@every_engine
def test_a_mask_with_an_axis_for_features_is_accepted_as_by_keras(engine):
    layer, x = built(engine=engine), inputs_and_states()[0]
    mask = normal(BATCH, TIME, seed=5) > 0
    assert_all_close([layer(x, mask=mask[..., None])], [layer(x, mask=mask)])


@pairwise(
    padding=[np.nan, np.inf, -1e30],
    dropout=[0.0, 0.3],
    go_backwards=[False, True],
    engine=["loop", *ENGINES],
)
def test_masked_inputs_influence_neither_results_nor_gradients(
    padding, dropout, go_backwards, engine
):
    mask = np.array([[1, 1, 1, 0, 0, 0, 0], [0, 1, 0, 1, 1, 0, 1], [0] * 7], bool)
    x, h, c = inputs_and_states()
    layer = built(
        engine=engine,
        return_sequences=True,
        return_state=True,
        go_backwards=go_backwards,
        dropout=dropout,
        seed=3,
    )

    def run(fill):
        # A generator of dropout masks goes on; this one starts again.
        layer.cell.seed_generator.state.assign([3, 0])
        filled = np.where(mask[..., None], x, fill)
        return outputs_and_gradients(
            layer,
            lambda x, h, c: layer(x, initial_state=[h, c], mask=mask, training=True),
            [filled, h, c],
        )

    for actual, expected in zip(run(padding), run(0.0), strict=True):
        assert all(np.isfinite(array).all() for array in to_numpy(actual))
        assert_all_close(actual, expected)


@every_engine
def test_one_training_step_on_masked_nan_leaves_finite_weights(engine):
    x, y = inputs_and_states()[0], np.ones((BATCH, 1))
    mask = np.arange(TIME) < [[3], [TIME], [1]]

    def weights_after(fill):
        inputs, masks = keras.Input((TIME, FEATURES)), keras.Input((TIME,), dtype=bool)
        hidden = LSTM(UNITS, engine=engine)(inputs, mask=masks)
        model = keras.Model([inputs, masks], keras.layers.Dense(1)(hidden))
        randomize_weights(model)
        model.compile("sgd", "mse")
        model.train_on_batch([np.where(mask[..., None], x, fill), mask], y)
        return model.get_weights()

    assert_all_close(weights_after(np.nan), weights_after(0.0))


def test_the_mask_of_lengths_is_that_of_shortened_sequences():
    layer, x = built(), inputs_and_states()[0]
    lengths = [3, TIME, 1]
    masked = layer(x, mask=length_mask(lengths, maxlen=TIME))
    alone = [
        to_numpy(layer(x[row : row + 1, :length]))[0]
        for row, length in enumerate(lengths)
    ]
    assert_all_close([masked], [np.concatenate(alone)])


@only_tensorflow
def test_a_ragged_tensor_is_refused_with_what_to_do_instead():
    import tensorflow as tf

    rows = [normal(length, FEATURES) for length in (3, TIME, 1)]
    ragged = tf.RaggedTensor.from_row_lengths(
        tf.constant(np.concatenate(rows), tf.float32), [3, TIME, 1]
    )
    layer = built()
    with pytest.raises(ValueError, match=r"x\.to_tensor\(\) and mask=lstm_keras\.prep"):
        layer(ragged)
    # What the message says.
    assert layer(ragged.to_tensor(), mask=length_mask(ragged.row_lengths())).shape[0]


# Initial states.


@every_engine
def test_an_initial_state_of_one_row_is_broadcast(engine):
    layer = built(engine=engine, return_state=True)
    x, h, c = inputs_and_states()
    one = [h[:1], c[:1]]
    repeated = [np.repeat(state, BATCH, axis=0) for state in one]

    def run(states):
        return outputs_and_gradients(
            layer, lambda x, h, c: layer(x, initial_state=[h, c]), [x, *states]
        )

    (outputs, gradients), (expected, expected_gradients) = run(one), run(repeated)
    assert_all_close(outputs, expected)
    *of_weights, dh, dc = to_numpy(expected_gradients)
    sums = [state.sum(axis=0, keepdims=True) for state in (dh, dc)]
    assert_all_close(gradients, [*of_weights, *sums])


@pytest.mark.parametrize(
    "states", [{"h": 1, "c": 2}, [None, None], [[1], [2]]], ids=str
)
def test_anything_but_an_initial_state_is_refused(states):
    with pytest.raises(ValueError, match=r"expected initial_state to be \[h, c\]"):
        built()(inputs_and_states()[0], initial_state=states)


@only_tensorflow
def test_an_initial_state_of_a_batch_size_known_at_run_time_is_broadcast():
    import tensorflow as tf

    layer = built()
    x, h, c = (a.astype("float32") for a in inputs_and_states())
    signature = [
        tf.TensorSpec((None, None, FEATURES)),
        *[tf.TensorSpec((1, UNITS))] * 2,
    ]
    function = tf.function(
        lambda x, h, c: layer(x, initial_state=[h, c]), input_signature=signature
    )
    repeated = [np.repeat(state[:1], BATCH, axis=0) for state in (h, c)]
    assert_all_close([function(x, h[:1], c[:1])], [layer(x, initial_state=repeated)])


# States that are carried over.


def stateful_model(sequential, time, stateful=True):
    """A model of one layer; the two that differ in `stateful` have equal weights."""
    shape = (BATCH if stateful else None, time, FEATURES)
    layer = LSTM(UNITS, return_sequences=True, stateful=stateful)
    dense = keras.layers.Dense(2)
    if sequential:
        model = keras.Sequential([keras.Input(batch_shape=shape), layer, dense])
    else:
        x = keras.Input(batch_shape=shape)
        model = keras.Model(x, dense(layer(x)))
    randomize_weights(model)
    model.compile("sgd", "mse")
    return model, layer


@first_of("sequential", [True, False])
def test_states_are_carried_through_predict_and_evaluate(sequential):
    x, y = normal(BATCH, 2 * TIME, FEATURES), normal(BATCH, 2 * TIME, 2, seed=1)
    whole, _ = stateful_model(sequential, 2 * TIME, stateful=False)
    model, layer = stateful_model(sequential, TIME)
    parts = [x[:, :TIME], x[:, TIME:]]

    def predictions():
        found = [model.predict(part, batch_size=BATCH, verbose=0) for part in parts]
        return [np.concatenate(found, axis=1)]

    expected = [whole.predict(x, verbose=0)]
    assert_all_close(predictions(), expected)
    layer.reset_state()
    assert_all_close(predictions(), expected)

    layer.reset_state()
    losses = [
        model.evaluate(part, target, batch_size=BATCH, verbose=0)
        for part, target in zip(parts, [y[:, :TIME], y[:, TIME:]], strict=True)
    ]
    np.testing.assert_allclose(
        np.mean(losses), whole.evaluate(x, y, verbose=0), rtol=1e-5
    )


@pytest.mark.parametrize("sequential", [True, False])
def test_states_are_carried_through_fit(sequential):
    model, layer = stateful_model(sequential, TIME)
    model.optimizer.learning_rate = 0.0  # so that the weights stay
    x, y = normal(2 * BATCH, TIME, FEATURES), np.zeros((2 * BATCH, TIME, 2))
    model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)
    # The second batch goes on where the first one ended.
    both = np.concatenate([x[:BATCH], x[BATCH:]], axis=1)
    forward = lstm_forward(both, *layer.get_weights())
    assert_all_close(layer.states, [forward.h_last, forward.c_last])
    layer.reset_state()
    assert_all_close(layer.states, [np.zeros((BATCH, UNITS))] * 2)


def test_carried_states_are_variables_but_not_weights():
    model, layer = stateful_model(True, TIME)
    assert len(layer.weights) == 3
    assert {id(state) for state in layer.states} <= {id(v) for v in model.variables}
    paths = [variable.path for variable in model.variables]
    assert len(set(paths)) == len(paths)


@only_tensorflow
@every_engine
def test_a_last_smaller_batch_of_a_stateful_model_is_refused_by_its_size(engine):
    import tensorflow as tf

    with engine_scope(engine):
        model, _ = stateful_model(True, TIME)
        x, y = normal(BATCH + 1, TIME, FEATURES), np.zeros((BATCH + 1, TIME, 2))
        with pytest.raises(
            (ValueError, tf.errors.InvalidArgumentError),
            match="expected batches of the size that the stateful layer was built with",
        ):
            model.fit(x, y, batch_size=BATCH, verbose=0)


@only_tensorflow
def test_xla_refuses_a_last_smaller_batch_of_a_stateful_model():
    import tensorflow as tf

    layer = LSTM(UNITS, stateful=True, activation="relu")
    model = keras.Sequential([keras.Input(batch_shape=(BATCH, TIME, FEATURES)), layer])
    model.compile("sgd", "mse", jit_compile=True)
    x = normal(BATCH + 1, TIME, FEATURES)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        model.predict(x, batch_size=BATCH, verbose=0)


def test_masks_and_states_are_checked_before_the_weights_are_used():
    layer = LSTM(UNITS, stateful=True)
    layer.build((BATCH, TIME, FEATURES))
    with pytest.raises(ValueError, match=f", {BATCH}; received one of {BATCH + 1}"):
        layer(ops.ones((BATCH + 1, TIME, FEATURES)))
