"""`lstm_keras.LSTM` is held against `keras.layers.LSTM` and the NumPy reference."""

from functools import partial

import keras
import numpy as np
import pytest
from keras import layers, ops

import lstm_keras
from lstm_keras import LSTM, engine_scope
from tests.helpers.arguments import NOT_DEFAULT_OF_LAYER
from tests.helpers.equality import (
    BACKEND,
    BATCH,
    ENGINES,
    EVERY_ENGINE,
    FEATURES,
    LAYERS,
    MASKS,
    TIME,
    TOLERANCES,
    UNITS,
    as_mask,
    assert_all_close,
    built,
    double_precision,
    equal_pair,
    inputs_and_states,
    lstm_pair,
    normal,
    randomize_weights,
    reference_results,
    run_layer,
)
from tests.helpers.fresh_process import run_python
from tests.helpers.pairwise import first_of, pairwise

BOTH = [False, True]
X = inputs_and_states()[0]
only_tensorflow = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="only TensorFlow has tf.function"
)


def assert_equal_runs(pair, **call):
    """Hold outputs, and gradients of weights, inputs and states, to Keras's."""
    assert_all_close(*(run_layer(layer, **call) for layer in pair))


def regression_model(layer, **arguments):
    inputs = keras.Input((TIME, FEATURES))
    return keras.Sequential([inputs, layer(UNITS, **arguments), layers.Dense(1)])


# Outputs, states and gradients.


def keras_can(engine, mask, go_backwards, **_):
    """Return whether Keras's layer takes the arguments.

    On torch it cannot reverse the mask of an unrolled loop: AttributeError: 'tuple'
    object has no attribute 'shape'.
    """
    reverses = mask != "none" and go_backwards
    return not (BACKEND == "torch" and engine == "unrolled loop" and reverses)


@pairwise(
    keras_can,
    return_sequences=BOTH,
    return_state=BOTH,
    go_backwards=BOTH,
    engine=EVERY_ENGINE,
    mask=MASKS,
    zero_output_for_mask=BOTH,
)
def test_outputs_states_and_gradients_equal_keras(
    return_sequences, return_state, go_backwards, engine, mask, zero_output_for_mask
):
    pair = lstm_pair(
        return_sequences=return_sequences,
        return_state=return_state,
        go_backwards=go_backwards,
        zero_output_for_mask=zero_output_for_mask,
        **EVERY_ENGINE[engine],
    )
    assert_equal_runs(pair, mask=as_mask(mask))


def loop_is_right(engine, mask, go_backwards, zero_output_for_mask, **_):
    """Return whether Keras's loop, which ours builds on, does what the options say.

    Unrolled it reverses no mask, and on JAX it ignores `zero_output_for_mask`: see
    CONTRIBUTING.md.
    """
    ignored = BACKEND == "jax" and zero_output_for_mask
    right = not ignored and (mask == "none" or not go_backwards)
    return right or engine != "unrolled loop"


@pairwise(
    loop_is_right,
    engine=EVERY_ENGINE,
    mask=MASKS,
    return_sequences=BOTH,
    go_backwards=BOTH,
    zero_output_for_mask=BOTH,
    cell_states=BOTH,
    learned=BOTH,
)
def test_outputs_states_and_gradients_equal_the_reference(
    engine,
    mask,
    return_sequences,
    go_backwards,
    zero_output_for_mask,
    cell_states,
    learned,
):
    arrays = [X] if learned else inputs_and_states()
    with double_precision():
        layer = LSTM(
            UNITS,
            return_sequences=return_sequences,
            return_state=True,
            go_backwards=go_backwards,
            zero_output_for_mask=zero_output_for_mask,
            return_cell_states=cell_states,
            learn_initial_state=learned,
            dtype="float64",
            **EVERY_ENGINE[engine],
        )
        found = run_layer(built(layer), arrays, mask=as_mask(mask))
        expected = reference_results(layer, arrays, as_mask(mask))
    # On JAX and torch Keras computes parts of float64 in float32 (keras issue 23704).
    by_keras = "loop" in engine or (BACKEND == "torch" and cell_states)
    exact = BACKEND == "tensorflow" or not by_keras
    assert_all_close(found, expected, "float64" if exact else "float32")


@pytest.mark.parametrize("engine", ["loop", *ENGINES])
@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_is_that_of_keras_and_stays_near_the_reference(dtype, engine):
    arguments = {"return_sequences": True, "return_state": True, "use_cudnn": False}
    pair = lstm_pair(dtype=dtype, engine="loop", **arguments)
    layer, mask = pair[0], as_mask("holes")
    if engine == "loop":
        found, of_keras = (run_layer(one, mask=mask) for one in pair)
        assert_all_close(found, of_keras, dtype)
    else:
        arguments["use_cudnn"] = "auto"
        layer = built(LSTM(UNITS, dtype=dtype, engine=engine, **arguments))
        found = run_layer(layer, mask=mask)
    expected = reference_results(layer, mask=mask)
    assert_all_close(found, expected, tolerance=4 * TOLERANCES[dtype])


@pytest.mark.parametrize(
    "arguments",
    [
        {"activation": "relu"},
        {"activation": "softsign", "recurrent_activation": "hard_sigmoid"},
        {"activation": None, "recurrent_activation": None},
        {"recurrent_activation": "tanh", "use_bias": False},
        {"use_bias": False, "go_backwards": True},
    ],
    ids=str,
)
def test_other_activations_and_no_bias_equal_keras(arguments):
    pair = lstm_pair(return_sequences=True, return_state=True, **arguments)
    assert_equal_runs(pair, mask=as_mask("holes"))


@first_of("sizes", [(1, 1), (1, 3), (9, 1)])
def test_other_sizes_equal_keras(sizes):
    units, features = sizes
    pair = lstm_pair(units, input_shape=(None, None, features))
    for batch, time in [(1, 1), (2, 12)]:
        assert_all_close(*(layer(normal(batch, time, features)) for layer in pair))


def test_a_stateful_layer_carries_its_states_as_keras_does():
    ours, builtin = lstm_pair(stateful=True, return_sequences=True, return_state=True)
    batches = [normal(BATCH, TIME, FEATURES, seed=seed) for seed in range(3)]
    for batch in batches:
        assert_all_close(ours(batch), builtin(batch))
        assert_all_close(ours.states, builtin.states)
    for layer in (ours, builtin):
        layer.reset_state()
        assert_all_close(layer.states, [np.zeros((BATCH, UNITS))] * 2)
    assert_all_close(ours(batches[0]), builtin(batches[0]))


# Dropout.


@first_of(
    "arguments",
    [
        {"dropout": 0.4, "recurrent_dropout": 0.3, "engine": "loop"},
        {"dropout": 0.4, "recurrent_dropout": 0.3, "unroll": True},
        {"dropout": 0.4},
        {"recurrent_dropout": 0.4},
        {"dropout": 0.3, "recurrent_dropout": 1.0},
    ],
)
def test_dropout_with_the_same_seed_equals_keras_in_every_call(arguments):
    pair = lstm_pair(seed=3, return_sequences=True, return_state=True, **arguments)
    for training in (True, False):
        assert_all_close(*(layer(X, training=training) for layer in pair))
    assert_equal_runs(pair, training=True, mask=as_mask("holes"))


@only_tensorflow
@first_of("jit_compile", [False, True])
def test_in_a_tf_function_dropout_equals_keras_in_every_call(jit_compile):
    import tensorflow as tf

    # XLA draws other numbers than eager TensorFlow, so both layers are compiled.
    pair = lstm_pair(dropout=0.4, recurrent_dropout=0.3, seed=3, use_cudnn=False)
    ours, builtin = (tf.function(layer, jit_compile=jit_compile) for layer in pair)
    x = tf.constant(X, tf.float32)
    first, second = (ours(x, training=True) for _ in range(2))
    expected = [builtin(x, training=True) for _ in range(2)]
    assert_all_close([first, second], expected)
    assert np.abs(first - second).max() > 1e-3


# Compiled, and in training.


@pytest.mark.skipif(BACKEND == "torch", reason="dynamo takes minutes")
@first_of("jit_compile", [False, True] if BACKEND == "tensorflow" else [True])
@first_of("engine", [*EVERY_ENGINE][::-1])
def test_a_compiled_function_gives_the_gradients_of_eager_keras(engine, jit_compile):
    options = {"return_sequences": True, "return_state": True, **EVERY_ENGINE[engine]}
    ours, builtin = lstm_pair(**options)
    mask = as_mask("holes")
    run = partial(run_layer, ours, mask=mask)
    if BACKEND == "jax":
        import jax

        found = jax.jit(run)()
    else:
        import tensorflow as tf

        with engine_scope("auto"):  # or an engine refuses: the graph may be exported
            found = tf.function(run, jit_compile=jit_compile)()
    assert_all_close(found, run_layer(builtin, mask=mask))


DROPPED = {"dropout": 0.3, "recurrent_dropout": 0.15, "seed": 3}
RESTRICTED = {
    "kernel_regularizer": "l2",
    "recurrent_regularizer": "l1",
    "bias_regularizer": "l2",
    "activity_regularizer": "l2",
    "kernel_constraint": keras.constraints.MaxNorm(0.5),
    "recurrent_constraint": keras.constraints.UnitNorm(),
    "bias_constraint": "non_neg",
}


@first_of("how", [({}, False), (DROPPED, False), (DROPPED, True), (RESTRICTED, True)])
def test_fit_with_the_same_seed_trains_the_loop_as_keras(how):
    arguments, jit_compile = how
    if jit_compile and BACKEND == "torch":
        pytest.skip("jit_compile on torch takes minutes in dynamo")

    def trained(layer):
        keras.utils.set_random_seed(7)
        # With cuDNN allowed Keras's layer would turn jit_compile off on TensorFlow.
        layer = layer(32, use_cudnn=False, **arguments)
        model = keras.Sequential([keras.Input((TIME, 16)), layer, layers.Dense(1)])
        model.compile("adam", "mse", jit_compile=jit_compile)
        x, y = normal(192, TIME, 16, seed=1), normal(192, 1, seed=2)
        history = model.fit(x, y, batch_size=64, epochs=2, verbose=0).history
        return [np.array(history["loss"]), *model.get_weights()]

    ours, builtin = trained(partial(LSTM, engine="loop")), trained(layers.LSTM)
    if BACKEND == "tensorflow" and not jit_compile and not arguments:  # bit for bit
        for actual, expected in zip(ours, builtin, strict=True):
            np.testing.assert_array_equal(actual, expected)
    assert_all_close(ours, builtin, tolerance=1e-4)


def test_regularizer_losses_equal_keras():
    pair = lstm_pair(
        kernel_regularizer=keras.regularizers.L2(0.1),
        recurrent_regularizer=keras.regularizers.L1(0.2),
        bias_regularizer=keras.regularizers.L1L2(0.3, 0.4),
        activity_regularizer=keras.regularizers.L2(0.5),
    )
    for layer in pair:
        layer(X)
    assert len(pair[0].losses) == 4
    assert_all_close(*(layer.losses for layer in pair))


# In wrappers and models.


def test_in_wrappers_it_equals_keras():
    both, over_time = layers.Bidirectional, layers.TimeDistributed
    zeroed = {"return_sequences": True, "zero_output_for_mask": True}
    masked = {"mask": as_mask("holes")}
    states = {"initial_state": [normal(BATCH, UNITS, seed=n) for n in range(4)]}
    for make, shape, call in [
        (lambda layer: both(layer(UNITS, **zeroed)), X.shape, masked),
        (lambda layer: both(layer(UNITS, return_state=True)), X.shape, states),
        (lambda layer: over_time(layer(UNITS)), (2, *X.shape), {}),
    ]:
        pair = equal_pair(make, input_shape=shape)
        assert_all_close(*(layer(normal(*shape), **call) for layer in pair))


def test_stacked_layers_on_a_masked_embedding_equal_keras_for_any_batch_and_time():
    def make(layer):
        ids = keras.Input((None,), dtype="int32")
        x = layers.Embedding(11, FEATURES, mask_zero=True)(ids)
        x = layer(UNITS, return_sequences=True)(x)
        return keras.Model(ids, layer(UNITS - 1, return_sequences=True)(x))

    ours, builtin = equal_pair(make)
    few = np.array([[1, 2, 3, 0, 0], [4, 0, 5, 10, 0], [0, 0, 0, 0, 0]])
    for ids in (few, few[:1, :1], np.arange(33 * 9).reshape(33, 9) % 11):
        assert_all_close(ours.predict(ids, verbose=0), builtin(ids))
    assert ours.output_shape == builtin.output_shape == (None, None, UNITS - 1)


def test_an_encoder_hands_its_states_to_a_decoder_as_keras_does():
    def make(layer):
        source, target = keras.Input((None, FEATURES)), keras.Input((None, 2))
        _, *states = layer(UNITS, return_state=True)(source)
        decoded = layer(UNITS, return_sequences=True)(target, initial_state=states)
        return keras.Model([source, target], decoded)

    arrays = [X, normal(BATCH, 4, 2, seed=1)]
    assert_all_close(*(model(arrays) for model in equal_pair(make)))


# Saving.


@pytest.mark.parametrize("pair", [LAYERS, LAYERS[::-1]], ids=["to Keras", "back"])
def test_weight_files_carry_over_in_both_directions(pair, tmp_path):
    source, target = map(regression_model, pair)
    randomize_weights(source)
    source.save_weights(tmp_path / "model.weights.h5")
    target.load_weights(tmp_path / "model.weights.h5")
    assert_all_close(target.get_weights(), source.get_weights())
    assert_all_close(target(X), source(X))


@pytest.mark.thorough
def test_a_saved_model_opens_in_a_fresh_process_in_safe_mode(tmp_path):
    x = keras.Input((None, FEATURES))
    y = LSTM(**{**NOT_DEFAULT_OF_LAYER, "stateful": False, "unroll": False})(x)[0]
    y = layers.Bidirectional(LSTM(UNITS))(y)
    y = layers.RepeatVector(2)(y)
    y = layers.RNN([lstm_keras.LSTMCell(3), lstm_keras.LSTMCell(2)])(y)
    model = keras.Model(x, y)
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "inputs.npy", X)
    program = (
        "import lstm_keras, keras, numpy as np\n"
        "model = keras.saving.load_model('model.keras', safe_mode=True)\n"
        "assert type(model.layers[1]) is lstm_keras.LSTM\n"
        "y = model.predict(np.load('inputs.npy'), verbose=0)\n"
        "np.save('outputs.npy', y)\n"
    )
    run_python(program, cwd=tmp_path, KERAS_BACKEND=BACKEND)
    outputs = np.load(tmp_path / "outputs.npy")
    # On a GPU the process takes TensorFloat-32.
    assert_all_close(outputs, model.predict(X, verbose=0), tolerance=1e-3)


@pytest.mark.thorough
def test_training_continues_exactly_after_saving_and_reopening(tmp_path):
    x = normal(24, TIME, FEATURES).astype("float32")
    y = x.mean(axis=(1, 2))[:, np.newaxis]

    def train(model, batches):
        return [float(model.train_on_batch(x[b::3], y[b::3])) for b in batches]

    model = regression_model(LSTM)
    model.compile("adam", "mse")
    train(model, [0, 1, 2])
    model.save(tmp_path / "model.keras")
    expected = train(model, [2, 0, 1])
    reopened = keras.saving.load_model(tmp_path / "model.keras")
    assert train(reopened, [2, 0, 1]) == expected
    for actual, right in zip(reopened.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(actual, right)


@first_of("layer", LAYERS)
def test_the_dropout_seeds_start_again_after_reopening(layer, tmp_path):
    # Keras saves no state of a seed generator, so with dropout a reopened model trains
    # on with other masks than the uninterrupted one. Ours does as Keras's.
    model = regression_model(layer, dropout=0.3, seed=3)
    model(X, training=True)
    model.save(tmp_path / "model.keras")
    reopened = keras.saving.load_model(tmp_path / "model.keras")
    before, after = (
        ops.convert_to_numpy(one.layers[0].cell.seed_generator.state)
        for one in (model, reopened)
    )
    assert before[1] > 0
    np.testing.assert_array_equal(after, [3, 0])
