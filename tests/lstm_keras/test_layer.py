"""`lstm_keras.LSTM` is held against `keras.layers.LSTM` and the NumPy reference."""

import inspect
import json
from functools import partial

import keras
import numpy as np
import pytest
from keras import ops

import lstm_keras
from lstm_keras import LSTM, engine_scope
from tests.helpers.arguments import NOT_DEFAULT_OF_LAYER
from tests.helpers.equality import (
    BACKEND,
    BATCH,
    ENGINES,
    EVERY_ENGINE,
    FEATURES,
    HAS_CUDNN,
    MASKS,
    TIME,
    TOLERANCES,
    UNITS,
    as_mask,
    assert_all_close,
    double_precision,
    inputs_and_states,
    lstm_pair,
    normal,
    pass_through_weights,
    randomize_weights,
    reference_results,
    run_layer,
)
from tests.helpers.fresh_process import run_python
from tests.helpers.pairwise import first_of, pairwise

LAYERS = (LSTM, keras.layers.LSTM)
# `keras.ops.matmul` of float64 gives float32 on JAX and torch (keras issue 23704), so
# there both layers are equal to each other, but not as exact as the reference.
FLOAT64_OF_KERAS = "float64" if BACKEND == "tensorflow" else "float32"
holes_first = first_of("mask", sorted(MASKS, key=lambda name: name != "holes"))
ROLLED = ["loop", *ENGINES]
BOTH = [False, True]
not_on_torch = pytest.mark.skipif(
    BACKEND == "torch", reason="jit_compile on torch takes minutes in dynamo"
)
only_tensorflow = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="only TensorFlow has tf.function"
)


def assert_equal_runs(pair, dtype="float32", **call):
    """Hold outputs, and gradients of weights, inputs and states, to Keras's."""
    ours, builtin = (run_layer(layer, **call) for layer in pair)
    for actual, expected in zip(ours, builtin, strict=True):
        assert_all_close(actual, expected, dtype)


def keras_can(engine, mask, go_backwards, **_):
    """Return whether Keras's layer takes the arguments.

    On torch it cannot reverse the mask of an unrolled loop: AttributeError: 'tuple'
    object has no attribute 'shape'.
    """
    reverses = mask != "none" and go_backwards
    return not (BACKEND == "torch" and engine == "unrolled loop" and reverses)


def model_pair(make_model):
    """A model with our layer and one with Keras's, with equal random weights."""
    ours, builtin = (make_model(layer) for layer in LAYERS)
    randomize_weights(builtin)
    ours.set_weights(builtin.get_weights())
    return ours, builtin


def regression_model(layer, jit_compile=False, **arguments):
    model = keras.Sequential(
        [
            keras.Input((TIME, FEATURES)),
            layer(UNITS, **arguments),
            keras.layers.Dense(1),
        ]
    )
    compile_model(model, jit_compile)
    return model


def compile_model(model, jit_compile=False):
    model.compile(keras.optimizers.Adam(0.01), "mse", jit_compile=jit_compile)


def regression_data(size=24):
    x = normal(size, TIME, FEATURES, seed=20).astype("float32")
    return x, x.mean(axis=(1, 2))[:, np.newaxis]


def fit(model, epochs=3):
    x, y = regression_data()
    return model.fit(x, y, batch_size=8, epochs=epochs, verbose=0).history["loss"]


# Outputs, states and gradients.


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


@pairwise(keras_can, engine=["loop", "unrolled loop"], mask=MASKS, go_backwards=BOTH)
def test_outputs_states_and_gradients_of_the_loop_equal_keras_in_float64(
    engine, mask, go_backwards
):
    with double_precision():
        pair = lstm_pair(
            return_sequences=True,
            return_state=True,
            go_backwards=go_backwards,
            dtype="float64",
            use_cudnn=False,
            **EVERY_ENGINE[engine],
        )
        assert_equal_runs(pair, "float64", mask=as_mask(mask))


@holes_first
@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_outputs_states_and_gradients_of_the_loop_equal_keras_in_mixed_precision(
    dtype, mask
):
    pair = lstm_pair(
        return_sequences=True,
        return_state=True,
        dtype=dtype,
        use_cudnn=False,
        engine="loop",
    )
    assert_equal_runs(pair, dtype, mask=as_mask(mask))


@pairwise(engine=ROLLED, mask=MASKS, go_backwards=BOTH, zero_output_for_mask=BOTH)
def test_outputs_states_and_gradients_equal_the_reference(
    engine, mask, go_backwards, zero_output_for_mask
):
    mask = as_mask(mask)
    with double_precision():
        layer, _ = lstm_pair(
            return_sequences=True,
            return_state=True,
            go_backwards=go_backwards,
            zero_output_for_mask=zero_output_for_mask,
            dtype="float64",
            engine=engine,
        )
        results = run_layer(layer, mask=mask)
        expected = reference_results(layer, mask=mask)
    dtype = FLOAT64_OF_KERAS if engine == "loop" else "float64"
    for actual, exact in zip(results, expected, strict=True):
        assert_all_close(actual, exact, dtype)


@holes_first
@pytest.mark.parametrize("engine", ROLLED)
@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_stays_near_the_reference(dtype, engine, mask):
    mask = as_mask(mask)
    layer, _ = lstm_pair(
        return_sequences=True, return_state=True, dtype=dtype, engine=engine
    )
    expected = reference_results(layer, mask=mask)
    for actual, exact in zip(run_layer(layer, mask=mask), expected, strict=True):
        assert_all_close(actual, exact, tolerance=4 * TOLERANCES[dtype])


@pytest.mark.parametrize(
    "arguments",
    [
        {"activation": "relu"},
        {"activation": "softsign", "recurrent_activation": "hard_sigmoid"},
        {"activation": None},
        {"activation": None, "recurrent_activation": None},
        {"recurrent_activation": "tanh"},
        {"use_bias": False},
        {"use_bias": False, "go_backwards": True},
    ],
    ids=str,
)
def test_other_activations_and_biases_equal_keras(arguments):
    pair = lstm_pair(return_sequences=True, return_state=True, **arguments)
    assert_equal_runs(pair, mask=as_mask("holes"))


@pytest.mark.parametrize(("units", "features"), [(1, 1), (1, 3), (9, 1)])
def test_other_sizes_equal_keras(units, features):
    ours, builtin = lstm_pair(units, input_shape=(None, None, features))
    for batch, time in [(1, 1), (2, 12)]:
        x = normal(batch, time, features)
        assert_all_close(ours(x), builtin(x))


@pytest.mark.parametrize("unit_forget_bias", [True, False])
@pytest.mark.parametrize("seeded_bias", [True, False])
def test_initial_weights_equal_keras(unit_forget_bias, seeded_bias):
    def initial_weights(layer_class):
        keras.utils.set_random_seed(5)
        layer = layer_class(
            UNITS,
            unit_forget_bias=unit_forget_bias,
            bias_initializer=(
                keras.initializers.RandomNormal(seed=3) if seeded_bias else "zeros"
            ),
        )
        layer.build((BATCH, TIME, FEATURES))
        return layer.get_weights()

    ours, builtin = map(initial_weights, LAYERS)
    for actual, expected in zip(ours, builtin, strict=True):
        np.testing.assert_array_equal(actual, expected)


# States.


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


def test_a_stateful_layer_reads_batches_as_one_long_sequence():
    stateful, _ = lstm_pair(stateful=True, return_sequences=True)
    stateless, _ = lstm_pair(return_sequences=True)
    whole = normal(BATCH, 3 * TIME, FEATURES, seed=8)
    parts = [ops.convert_to_numpy(stateful(p)) for p in np.split(whole, 3, axis=1)]
    assert_all_close([np.concatenate(parts, axis=1)], stateless(whole))


def test_initial_states_may_be_numpy_arrays():
    ours, builtin = lstm_pair(return_state=True)
    x, h, c = inputs_and_states()
    assert_all_close(ours(x, initial_state=[h, c]), builtin(x, initial_state=[h, c]))
    assert_all_close(ours(x, initial_state=(h, c)), builtin(x, initial_state=[h, c]))


def test_initial_states_may_be_symbolic():
    def make_model(layer):
        x = keras.Input((None, FEATURES))
        h, c = keras.Input((UNITS,)), keras.Input((UNITS,))
        outputs = layer(UNITS, return_state=True)(x, initial_state=[h, c])
        return keras.Model([x, h, c], outputs)

    ours, builtin = model_pair(make_model)
    arrays = list(inputs_and_states())
    assert_all_close(
        ours.predict(arrays, verbose=0), builtin.predict(arrays, verbose=0)
    )


def test_an_encoder_hands_its_states_to_a_decoder_as_keras_does():
    def make_model(layer):
        source, target = keras.Input((None, FEATURES)), keras.Input((None, 2))
        _, h, c = layer(UNITS, return_state=True)(source)
        decoded = layer(UNITS, return_sequences=True)(target, initial_state=[h, c])
        model = keras.Model([source, target], keras.layers.Dense(2)(decoded))
        compile_model(model)
        return model

    ours, builtin = model_pair(make_model)
    source = normal(BATCH, TIME, FEATURES)
    target = normal(BATCH, 4, 2, seed=1)
    for model in (ours, builtin):
        for _ in range(2):
            model.train_on_batch([source, target], target)
    assert_all_close(ours.get_weights(), builtin.get_weights())


# Dropout.


@pytest.mark.parametrize("unroll", [False, True])
@first_of("rates", [(0.4, 0.3), (0.4, 0.0), (0.0, 0.4), (0.3, 1.0)])
def test_dropout_with_the_same_seed_equals_keras_in_every_call(rates, unroll):
    pair = lstm_pair(
        dropout=rates[0],
        recurrent_dropout=rates[1],
        seed=3,
        unroll=unroll,
        return_sequences=True,
        return_state=True,
    )
    ours, builtin = pair
    x = inputs_and_states()[0]
    for training in (True, True, False):
        assert_all_close(ours(x, training=training), builtin(x, training=training))
    assert_equal_runs(pair, training=True, mask=as_mask("holes"))


def linear_layer(set_weights, **arguments):
    layer = LSTM(FEATURES, activation=None, return_sequences=True, seed=1, **arguments)
    layer.build((64, TIME, FEATURES))
    set_weights(layer.cell)
    return layer


def run_on_ones(layer, **arguments):
    ones = np.ones((64, TIME, FEATURES))
    return ops.convert_to_numpy(layer(ones, **arguments))


@pytest.mark.parametrize("given", ["no states", "initial states", "stateful"])
def test_every_call_in_training_draws_new_masks(given):
    layer = linear_layer(
        pass_through_weights, dropout=0.5, stateful=given == "stateful"
    )
    zeros = np.zeros((64, FEATURES))
    states = [zeros, zeros] if given == "initial states" else None
    first, second = (
        run_on_ones(layer, initial_state=states, training=True) for _ in range(2)
    )
    assert not np.array_equal(first, second)


def test_nothing_is_dropped_in_inference():
    layer = linear_layer(pass_through_weights, dropout=0.5, recurrent_dropout=0.5)
    np.testing.assert_array_equal(run_on_ones(layer), 1)
    np.testing.assert_array_equal(run_on_ones(layer, training=False), 1)


@only_tensorflow
@first_of("jit_compile", [False, True])
def test_in_a_tf_function_dropout_equals_keras_in_every_call(jit_compile):
    import tensorflow as tf

    # XLA draws other numbers than eager TensorFlow, so both layers are compiled.
    ours, builtin = (
        tf.function(layer, jit_compile=jit_compile)
        for layer in lstm_pair(
            dropout=0.4, recurrent_dropout=0.3, seed=3, use_cudnn=False
        )
    )
    x = tf.constant(inputs_and_states()[0], tf.float32)
    first = ours(x, training=True)
    assert_all_close(first, builtin(x, training=True))
    second = ours(x, training=True)
    assert_all_close(second, builtin(x, training=True))
    assert np.abs(first - second).max() > 1e-3


# Losses and constraints.


def test_regularizer_losses_equal_keras():
    ours, builtin = lstm_pair(
        kernel_regularizer=keras.regularizers.L2(0.1),
        recurrent_regularizer=keras.regularizers.L1(0.2),
        bias_regularizer=keras.regularizers.L1L2(0.3, 0.4),
        activity_regularizer=keras.regularizers.L2(0.5),
    )
    x = inputs_and_states()[0]
    for layer in (ours, builtin):
        layer(x)
    assert len(ours.losses) == 4
    assert_all_close(ours.losses, builtin.losses)


@pytest.mark.thorough
def test_regularizers_and_constraints_act_in_training_as_in_keras():
    def make_model(layer):
        return regression_model(
            layer,
            kernel_regularizer="l2",
            recurrent_regularizer="l1",
            bias_regularizer="l2",
            activity_regularizer="l2",
            kernel_constraint=keras.constraints.MaxNorm(0.5),
            recurrent_constraint=keras.constraints.UnitNorm(),
            bias_constraint="non_neg",
        )

    ours, builtin = model_pair(make_model)
    for model in (ours, builtin):
        keras.utils.set_random_seed(1)
        fit(model, epochs=1)
    kernel, recurrent_kernel, bias = ours.layers[0].get_weights()
    assert np.linalg.norm(kernel, axis=0).max() <= 0.5 + 1e-6
    np.testing.assert_allclose(np.linalg.norm(recurrent_kernel, axis=0), 1, rtol=1e-5)
    assert bias.min() == 0
    assert_all_close(ours.get_weights(), builtin.get_weights(), tolerance=1e-4)


# In models.


def test_batch_and_time_may_be_unknown():
    def make_model(layer):
        x = keras.Input((None, FEATURES))
        masked = keras.layers.Masking()(x)
        return keras.Model(x, layer(UNITS, return_sequences=True)(masked))

    ours, builtin = model_pair(make_model)
    assert ours.output_shape == builtin.output_shape == (None, None, UNITS)
    for batch, time in [(1, 1), (2, 9), (5, 3)]:
        x = normal(batch, time, FEATURES)
        x[0, time // 2 :] = 0
        assert_all_close(ours.predict(x, verbose=0), builtin.predict(x, verbose=0))


@only_tensorflow
@first_of("jit_compile", [False, True])
@pytest.mark.parametrize("engine", EVERY_ENGINE)
def test_a_tf_function_gives_the_gradients_of_eager_keras(engine, jit_compile):
    import tensorflow as tf

    ours, builtin = lstm_pair(
        return_sequences=True, return_state=True, **EVERY_ENGINE[engine]
    )
    mask = as_mask("holes")
    function = tf.function(lambda: run_layer(ours, mask=mask), jit_compile=jit_compile)
    with engine_scope("auto"):  # or an engine refuses: the graph may be exported
        results = function()
    for actual, expected in zip(results, run_layer(builtin, mask=mask), strict=True):
        assert_all_close(actual, expected)


@only_tensorflow
def test_training_of_the_loop_on_tensorflow_equals_keras_bit_for_bit():
    def trained_weights(layer):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [keras.Input((40, 16)), layer(32), keras.layers.Dense(1)]
        )
        model.compile("adam", "mse")
        x, y = normal(192, 40, 16, seed=1), normal(192, 1, seed=2)
        model.fit(x, y, batch_size=64, epochs=2, verbose=0)
        return model.get_weights()

    ours = trained_weights(partial(LSTM, engine="loop"))
    builtin = trained_weights(keras.layers.LSTM)
    for actual, expected in zip(ours, builtin, strict=True):
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.skipif(BACKEND != "jax", reason="jax.jit belongs to JAX")
@pytest.mark.parametrize("engine", EVERY_ENGINE)
def test_jax_jit_gives_the_gradients_of_eager_keras(engine):
    import jax

    ours, builtin = lstm_pair(
        return_sequences=True, return_state=True, **EVERY_ENGINE[engine]
    )
    mask = as_mask("holes")
    results = jax.jit(lambda: run_layer(ours, mask=mask))()
    for actual, expected in zip(results, run_layer(builtin, mask=mask), strict=True):
        assert_all_close(actual, expected)


@first_of("dropout", [0.3, 0.0])
@pytest.mark.parametrize(
    "jit_compile",
    [False, pytest.param(True, marks=[not_on_torch, pytest.mark.thorough])],
)
def test_fit_with_the_same_seed_gives_the_loss_curve_of_keras(jit_compile, dropout):
    arguments = {"dropout": dropout, "recurrent_dropout": dropout / 2, "seed": 3}

    def losses(layer):
        keras.utils.set_random_seed(7)
        # With cuDNN allowed Keras's layer would turn jit_compile off on TensorFlow.
        return fit(regression_model(layer, jit_compile, use_cudnn=False, **arguments))

    # An engine would turn it off as well, and XLA draws other numbers for dropout.
    ours = losses(partial(LSTM, engine="loop") if jit_compile else LSTM)
    builtin = losses(keras.layers.LSTM)
    np.testing.assert_allclose(ours, builtin, rtol=1e-4)
    assert ours[-1] != ours[0]


@pytest.mark.parametrize("merge_mode", ["sum", "mul", "concat", "ave", None])
def test_in_bidirectional_it_equals_keras(merge_mode):
    pair = [
        keras.layers.Bidirectional(
            layer(UNITS, return_sequences=True, zero_output_for_mask=True),
            merge_mode=merge_mode,
        )
        for layer in LAYERS
    ]
    assert_wrapped_layers_equal(pair, inputs_and_states()[0], mask=as_mask("holes"))


def test_in_bidirectional_with_states_it_equals_keras():
    pair = [
        keras.layers.Bidirectional(layer(UNITS, return_state=True)) for layer in LAYERS
    ]
    x, h, c = inputs_and_states()
    assert_wrapped_layers_equal(pair, x, initial_state=[h, c, c, h])


def test_in_time_distributed_it_equals_keras():
    pair = [keras.layers.TimeDistributed(layer(UNITS)) for layer in LAYERS]
    assert_wrapped_layers_equal(pair, normal(2, 3, TIME, FEATURES))


def assert_wrapped_layers_equal(pair, x, **arguments):
    ours, builtin = pair
    for layer in pair:
        layer(x, **arguments)
    randomize_weights(builtin)
    ours.set_weights(builtin.get_weights())
    assert_all_close(ours(x, **arguments), builtin(x, **arguments))


def test_stacked_layers_on_a_masked_embedding_equal_keras():
    def make_model(layer):
        ids = keras.Input((None,), dtype="int32")
        x = keras.layers.Embedding(11, FEATURES, mask_zero=True)(ids)
        x = layer(UNITS, return_sequences=True)(x)
        x = layer(UNITS - 1)(x)
        return keras.Model(ids, keras.layers.Dense(1)(x))

    ours, builtin = model_pair(make_model)
    ids = np.array([[1, 2, 3, 0, 0], [4, 0, 5, 10, 0], [0, 0, 0, 0, 0]])
    assert_all_close(ours.predict(ids, verbose=0), builtin.predict(ids, verbose=0))


@pytest.mark.thorough
def test_in_a_subclassed_model_it_equals_keras():
    class Regressor(keras.Model):
        def __init__(self, layer):
            super().__init__()
            self.recurrent = layer(UNITS, dropout=0.2, seed=3)
            self.dense = keras.layers.Dense(1)

        def call(self, inputs, training=False):
            return self.dense(self.recurrent(inputs, training=training))

    def make_model(layer):
        model = Regressor(layer)
        compile_model(model)
        model(np.zeros((1, TIME, FEATURES)))
        return model

    ours, builtin = model_pair(make_model)
    curves = []
    for model in (ours, builtin):
        keras.utils.set_random_seed(1)
        curves.append(fit(model, epochs=2))
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-4)
    x = regression_data()[0]
    assert_all_close(
        ours.predict(x, verbose=0), builtin.predict(x, verbose=0), tolerance=1e-4
    )


# Saving.


def test_weights_have_the_names_paths_shapes_and_packing_of_keras():
    def described(layer_class):
        layer = layer_class(UNITS, name="memory")
        layer.build((BATCH, TIME, FEATURES))
        return [(w.name, w.path, tuple(w.shape)) for w in layer.weights]

    assert described(LSTM) == described(keras.layers.LSTM)


def test_weights_carry_over_in_both_directions():
    ours, builtin = lstm_pair()
    for source, target in [(builtin, ours), (ours, builtin)]:
        randomize_weights(source, seed=30)
        target.set_weights(source.get_weights())
        x = inputs_and_states()[0]
        assert_all_close(target(x), source(x))


@pytest.mark.parametrize("layers", [LAYERS, LAYERS[::-1]], ids=["to Keras", "back"])
def test_weight_files_carry_over_in_both_directions(layers, tmp_path):
    source, target = (regression_model(layer) for layer in layers)
    source.save_weights(tmp_path / "model.weights.h5")
    target.load_weights(tmp_path / "model.weights.h5")
    for actual, expected in zip(
        target.get_weights(), source.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.thorough
def test_a_saved_model_opens_in_a_fresh_process_in_safe_mode(tmp_path):
    x = keras.Input((None, FEATURES))
    y = LSTM(**{**NOT_DEFAULT_OF_LAYER, "stateful": False, "unroll": False})(x)[0]
    y = keras.layers.Bidirectional(LSTM(UNITS))(y)
    y = keras.layers.RepeatVector(2)(y)
    y = keras.layers.RNN([lstm_keras.LSTMCell(3), lstm_keras.LSTMCell(2)])(y)
    model = keras.Model(x, y)
    model.save(tmp_path / "model.keras")
    inputs = inputs_and_states()[0]
    np.save(tmp_path / "inputs.npy", inputs)
    program = (
        "import lstm_keras, keras, numpy as np\n"
        "model = keras.saving.load_model('model.keras', safe_mode=True)\n"
        "assert type(model.layers[1]) is lstm_keras.LSTM\n"
        "y = model.predict(np.load('inputs.npy'), verbose=0)\n"
        "np.save('outputs.npy', y)\n"
    )
    run_python(program, cwd=tmp_path, KERAS_BACKEND=BACKEND)
    assert_all_close(
        [np.load(tmp_path / "outputs.npy")],
        [model.predict(inputs, verbose=0)],
        tolerance=1e-3,  # on a GPU the process takes TensorFloat-32
    )


def test_a_cloned_model_is_ours_again():
    model = regression_model(LSTM, dropout=0.1, seed=3)
    clone = keras.models.clone_model(model)
    assert type(clone.layers[0]) is LSTM
    assert clone.layers[0] is not model.layers[0]
    clone.set_weights(model.get_weights())
    x = regression_data()[0]
    assert_all_close(clone.predict(x, verbose=0), model.predict(x, verbose=0))


def test_training_continues_exactly_after_saving_and_reopening(tmp_path):
    def train_on_batches(model, batches):
        x, y = regression_data()
        return [
            float(model.train_on_batch(x[b : b + 8], y[b : b + 8])) for b in batches
        ]

    model = regression_model(LSTM)
    train_on_batches(model, [0, 8, 16])
    model.save(tmp_path / "model.keras")
    expected = train_on_batches(model, [16, 0, 8])

    reopened = keras.saving.load_model(tmp_path / "model.keras")
    assert train_on_batches(reopened, [16, 0, 8]) == expected
    for actual, weights in zip(
        reopened.get_weights(), model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(actual, weights)


@first_of("layer", LAYERS)
def test_the_dropout_seeds_start_again_after_reopening(layer, tmp_path):
    # Keras saves no state of a seed generator, so with dropout a reopened model trains
    # on with other masks than the uninterrupted one. Ours does as Keras's.
    model = regression_model(layer, dropout=0.3, seed=3)
    fit(model, epochs=1)
    model.save(tmp_path / "model.keras")
    reopened = keras.saving.load_model(tmp_path / "model.keras")
    states = [
        ops.convert_to_numpy(m.layers[0].cell.seed_generator.state)
        for m in (model, reopened)
    ]
    assert states[0][1] > 0
    np.testing.assert_array_equal(states[1], [3, 0])


# Configuration and contract.


def test_the_signature_is_that_of_keras_with_the_arguments_of_rnn():
    ours = inspect.signature(LSTM).parameters
    builtin = inspect.signature(keras.layers.LSTM).parameters
    of_rnn = inspect.signature(keras.layers.RNN).parameters
    described = [(p.name, p.default) for p in ours.values()]
    # Keras takes this one through **kwargs.
    described.remove(("zero_output_for_mask", of_rnn["zero_output_for_mask"].default))
    ours_alone = [
        ("engine", "auto"),
        ("return_cell_states", False),
        ("learn_initial_state", False),
    ]
    assert described[-len(ours_alone) - 1 : -1] == ours_alone
    for argument in ours_alone:
        described.remove(argument)
    assert described == [(p.name, p.default) for p in builtin.values()]


def test_the_call_arguments_are_those_of_keras():
    ours = inspect.signature(LSTM.call).parameters.values()
    builtin = inspect.signature(keras.layers.LSTM.call).parameters.values()
    assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in builtin]


def test_every_argument_survives_its_configuration():
    arguments = inspect.signature(LSTM).parameters
    ours_alone = {"engine", "return_cell_states", "learn_initial_state"}
    assert set(NOT_DEFAULT_OF_LAYER) == set(arguments) - ours_alone - {"kwargs"}
    for name, value in NOT_DEFAULT_OF_LAYER.items():
        assert value != arguments[name].default, name

    of_layer = {"name": "memory", "trainable": False, "dtype": "float16"}
    layer = LSTM(**NOT_DEFAULT_OF_LAYER, **of_layer, engine="loop")
    config = json.loads(json.dumps(layer.get_config()))
    builtin = keras.layers.LSTM(**NOT_DEFAULT_OF_LAYER, **of_layer).get_config()
    # Keras forgets use_cudnn, and the engine is ours alone.
    ours = {"use_cudnn": False, "engine": "loop"}
    assert config == json.loads(json.dumps({**builtin, **ours}))
    assert LSTM.from_config(config).get_config() == layer.get_config()


def test_configurations_are_exchanged_with_keras():
    ours, builtin = (
        LSTM(**NOT_DEFAULT_OF_LAYER),
        keras.layers.LSTM(**NOT_DEFAULT_OF_LAYER),
    )
    assert (
        keras.layers.LSTM.from_config(ours.get_config()).get_config()
        == {**builtin.get_config(), "name": ours.name}
    )  # fmt: skip
    made = LSTM.from_config(builtin.get_config()).get_config()
    assert made == {
        **ours.get_config(), "name": builtin.name, "use_cudnn": "auto"
    }  # fmt: skip


def test_the_public_properties_are_those_of_keras():
    ours, builtin = (
        LSTM(**NOT_DEFAULT_OF_LAYER),
        keras.layers.LSTM(**NOT_DEFAULT_OF_LAYER),
    )
    of_keras = {name for name in dir(builtin) if not name.startswith("_")}
    assert of_keras <= set(dir(ours))
    properties = {
        name
        for name, value in vars(keras.layers.LSTM).items()
        if isinstance(value, property)
    }
    assert properties >= {"units", "activation", "dropout"}
    for name in properties:
        actual, expected = getattr(ours, name), getattr(builtin, name)
        assert actual == expected or actual is expected, name


@pytest.mark.parametrize("return_state", [False, True])
@pytest.mark.parametrize("return_sequences", [False, True])
def test_the_symbolic_shapes_are_those_of_keras(return_sequences, return_state):
    def shapes(layer_class):
        layer = layer_class(
            UNITS, return_sequences=return_sequences, return_state=return_state
        )
        outputs = layer(keras.Input((None, FEATURES)))
        return [tensor.shape for tensor in keras.tree.flatten(outputs)]

    assert shapes(LSTM) == shapes(keras.layers.LSTM)


@pytest.mark.parametrize("use_cudnn", ["auto", False])
def test_use_cudnn_changes_nothing(use_cudnn):
    _, builtin = lstm_pair()
    ours, _ = lstm_pair(use_cudnn=use_cudnn)
    x = inputs_and_states()[0]
    assert_all_close(ours(x), builtin(x))


# Errors.


@pytest.mark.parametrize("units", [0, -1, 2.5, True, "3", None])
def test_units_must_be_a_positive_integer(units):
    with pytest.raises(
        ValueError, match=f"expected units to be a positive integer; received {units!r}"
    ):
        LSTM(units)


@pytest.mark.parametrize("name", ["dropout", "recurrent_dropout"])
@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan"), "a"])
def test_a_dropout_must_be_a_fraction(name, rate):
    with pytest.raises(
        ValueError,
        match=rf"expected {name} to be in \[0, 1\]; received {name}={rate!r}",
    ):
        LSTM(UNITS, **{name: rate})


@pytest.mark.parametrize("use_cudnn", ["maybe", None, 2])
def test_use_cudnn_must_be_one_of_the_values_of_keras(use_cudnn):
    with pytest.raises(
        ValueError,
        match=f"expected use_cudnn to be 'auto', True or False; received {use_cudnn!r}",
    ):
        LSTM(UNITS, use_cudnn=use_cudnn)


@pytest.mark.skipif(HAS_CUDNN, reason="there is a GPU")
def test_use_cudnn_true_without_a_gpu_fails_when_called():
    layer = LSTM(UNITS, use_cudnn=True)
    with pytest.raises(
        ValueError,
        match=r"use_cudnn=True cannot run this layer: .*(needs a GPU|backend is jax)",
    ):
        layer(inputs_and_states()[0])


@pytest.mark.parametrize(
    ("shape", "found"), [((BATCH, FEATURES), 2), ((2, BATCH, TIME, FEATURES), 4)]
)
def test_inputs_must_have_three_dimensions(shape, found):
    for inputs in (np.ones(shape), keras.Input(shape[1:])):
        with pytest.raises(ValueError, match=f"expected ndim=3, found ndim={found}"):
            LSTM(UNITS)(inputs)


def test_inputs_must_have_the_features_it_was_built_with():
    layer, _ = lstm_pair()
    with pytest.raises(
        ValueError, match=r"to have value 4, but received .*\(3, 7, 6\)"
    ):
        layer(np.ones((BATCH, TIME, 6)))


def test_a_stateful_layer_needs_a_batch_size():
    with pytest.raises(
        ValueError, match=r"expected a fixed batch size.*received .*\(None, 7, 4\)"
    ):
        LSTM(UNITS, stateful=True)(keras.Input((TIME, FEATURES)))


def test_a_stateful_layer_keeps_its_batch_size():
    layer, _ = lstm_pair(stateful=True)
    with pytest.raises(
        ValueError, match=r"expected batches of the size .*, 3; received one of 2"
    ):
        layer(np.ones((2, TIME, FEATURES)))


WRONG_STATES = {
    "one tensor": (BATCH, UNITS),
    "a stack of both": (2, BATCH, UNITS),
    "a list of one": [(BATCH, UNITS)],
    "three": [(BATCH, UNITS)] * 3,
    "other units": [(BATCH, UNITS - 1)] * 2,
    "other units of c": [(BATCH, UNITS), (BATCH, UNITS - 1)],
    "another batch": [(BATCH - 1, UNITS)] * 2,
    "no batch": [(UNITS,)] * 2,
    "a rank of three": [(BATCH, UNITS, 1)] * 2,
}
every_wrong_state = pytest.mark.parametrize(
    "shapes", WRONG_STATES.values(), ids=WRONG_STATES.keys()
)


def assert_the_initial_state_is_refused(make_tensor, shapes):
    one_tensor = isinstance(shapes, tuple)
    states = make_tensor(shapes) if one_tensor else [make_tensor(s) for s in shapes]
    with pytest.raises(ValueError) as error:
        LSTM(UNITS)(make_tensor((BATCH, TIME, FEATURES)), initial_state=states)
    message = str(error.value)
    assert "expected initial_state to be [h, c], each of shape" in message
    assert f"(batch, units) = {(BATCH, UNITS)}" in message
    assert f"received shapes {[shapes] if one_tensor else shapes}" in message


@every_wrong_state
def test_an_initial_state_must_be_h_and_c_of_the_right_shape(shapes):
    assert_the_initial_state_is_refused(ops.ones, shapes)
    assert_the_initial_state_is_refused(np.ones, shapes)


@every_wrong_state
def test_a_symbolic_initial_state_must_be_h_and_c_of_the_right_shape(shapes):
    assert_the_initial_state_is_refused(
        lambda shape: keras.Input(batch_shape=shape), shapes
    )


@only_tensorflow
def test_unrolling_needs_a_known_number_of_steps():
    import tensorflow as tf

    layer = LSTM(UNITS, unroll=True)
    signature = [tf.TensorSpec((None, None, FEATURES))]
    with pytest.raises(ValueError, match="time dimension is undefined"):
        tf.function(layer, input_signature=signature).get_concrete_function()


def test_every_variable_of_a_model_has_a_path_of_its_own():
    model = keras.Sequential(
        [
            keras.Input((TIME, FEATURES)),
            lstm_keras.LSTM(3, return_sequences=True),
            lstm_keras.LSTM(3),
        ]
    )
    paths = [variable.path for variable in model.variables]
    assert len(set(paths)) == len(paths) == 8


def test_a_mask_in_a_list_is_accepted_as_by_keras():
    ours, builtin = lstm_pair()
    x, mask = inputs_and_states()[0], as_mask("holes")
    assert_all_close(ours(x, mask=[mask]), builtin(x, mask=[mask]))
