"""Every engine is held against the loop and the NumPy reference, and must survive use.

The equality matrix of test_layer.py runs over the engines as well.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

import lstm_keras
from lstm_keras import LSTM, engine_scope, engines
from lstm_keras.engines import cudnn
from lstm_keras.reference import lstm_forward
from tests.helpers.equality import (
    BACKEND,
    ENGINES,
    FEATURES,
    HAS_CUDNN,
    TIME,
    UNITS,
    assert_all_close,
    double_precision,
    inputs_and_states,
    normal,
    randomize_weights,
    reference_results,
    run_layer,
    to_numpy,
)
from tests.helpers.examples import examples
from tests.helpers.fresh_process import run_python
from tests.helpers.pairwise import first_of

every_engine = pytest.mark.parametrize("engine", ENGINES)
only_tensorflow = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="how TensorFlow compiles"
)
ON_GPU = "cpu" not in str(ops.zeros(()).device).lower()
with_cudnn = pytest.mark.skipif(not HAS_CUDNN, reason="there is no cuDNN")
without_cudnn = pytest.mark.skipif(HAS_CUDNN, reason="there is cuDNN")
not_on_jax = pytest.mark.skipif(BACKEND == "jax", reason="cudnn is not for JAX")
linux = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="reads /proc/self/status"
)


def layer_pair(engine, units=UNITS, features=FEATURES, **arguments):
    """The same layer on an engine and in the loop, with equal random weights."""
    pair = [LSTM(units, engine=name, **arguments) for name in (engine, "loop")]
    for layer in pair:
        layer.build((None, None, features))
    randomize_weights(pair[0])
    pair[1].set_weights(pair[0].get_weights())
    return pair


def model_pair(engine, make_model):
    """A model on an engine and one on the loop, with equal weights."""
    pair = [make_model(name) for name in (engine, "loop")]
    pair[1].set_weights(pair[0].get_weights())
    return pair


def classifier(engine, mask_zero=True, **arguments):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            keras.layers.Embedding(20, 6, mask_zero=mask_zero),
            LSTM(8, engine=engine, **arguments),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
    return model


def padded_ids(rows, time, seed=0):
    """Left-padded ids, and labels that the order of the words decides."""
    generator = np.random.default_rng(seed)
    ids = generator.integers(1, 20, (rows, time)).astype("int32")
    for row, length in enumerate(generator.integers(1, time + 1, rows)):
        ids[row, : time - length] = 0
    return ids, (ids[:, -1] > ids[:, -2]).astype("float32")[:, np.newaxis]


# The choice.


def test_auto_chooses_the_first_engine_that_can_run_the_layer():
    choice = LSTM(UNITS).explain_engine()
    taken, *others = ENGINES
    assert choice.engine == taken
    assert set(choice.passed_over) == {*engines.BACKENDS, "loop"} - {taken}
    for name in (*others, "loop"):
        assert choice.passed_over[name] == "another engine is preferred"
    for name, backends in engines.BACKENDS.items():
        if BACKEND not in backends:
            assert f"the backend is {BACKEND}" in choice.passed_over[name]
    assert str(choice).startswith(f"{taken}\nnot ")


@without_cudnn
@not_on_jax
def test_without_a_gpu_cudnn_is_passed_over():
    choice = LSTM(UNITS).explain_engine()
    reason = "it needs a GPU, and the backend sees none"
    assert choice.passed_over["cudnn"] == reason


class OtherCell(lstm_keras.LSTMCell):
    """A subclass may compute something else."""


def layer_with_another_cell():
    layer = LSTM(UNITS)
    layer.cell = OtherCell(UNITS)
    return layer


def my_tanh(x):
    return ops.tanh(x)


@pytest.mark.parametrize(
    ("make", "asked", "reason"),
    [
        (lambda: LSTM(3, activation="relu"), {}, "these are relu and sigmoid"),
        (lambda: LSTM(3, activation=None), {}, "these are linear and sigmoid"),
        (lambda: LSTM(3, activation=my_tanh), {}, "these are my_tanh and sigmoid"),
        (
            lambda: LSTM(3, recurrent_activation="hard_sigmoid"),
            {},
            "these are tanh and hard_sigmoid",
        ),
        (lambda: LSTM(3, unroll=True), {}, "unroll=True asks for the unrolled loop"),
        (layer_with_another_cell, {}, "not lstm_keras.LSTMCell itself"),
    ],
)
def test_the_loop_runs_what_no_engine_can_and_the_reason_is_given(make, asked, reason):
    choice = make().explain_engine(**asked)
    assert choice.engine == "loop"
    assert all(reason in choice.passed_over[engine] for engine in ENGINES)


@pytest.mark.skipif(BACKEND != "torch", reason="an operator that drops no state")
def test_with_recurrent_dropout_aten_runs_inference_only():
    layer = LSTM(UNITS, recurrent_dropout=0.1)
    assert layer.explain_engine(training=False).engine == ENGINES[0]
    choice = layer.explain_engine(training=True)
    assert choice.engine == "loop"
    assert "does not support recurrent_dropout" in choice.passed_over["aten"]
    with pytest.raises(ValueError, match="engine='aten' cannot run this layer"):
        LSTM(UNITS, recurrent_dropout=0.1, engine="aten")


@every_engine
def test_an_engine_chosen_by_name_that_cannot_run_the_layer_is_an_error(engine):
    for arguments, reason in [
        ({"activation": "relu"}, "tanh and sigmoid; these are relu"),
        ({"unroll": True}, "unroll=True"),
    ]:
        message = f"engine='{engine}' cannot run this layer: .*{reason}"
        with pytest.raises(ValueError, match=message):
            LSTM(UNITS, engine=engine, **arguments)


@pytest.mark.parametrize(
    "engine", [name for name, on in engines.BACKENDS.items() if BACKEND not in on]
)
def test_an_engine_of_another_backend_is_an_error(engine):
    with pytest.raises(ValueError, match=f"the backend is {BACKEND}"):
        LSTM(UNITS, engine=engine)


@without_cudnn
@not_on_jax
def test_cudnn_by_name_needs_a_gpu():
    with pytest.raises(ValueError, match="needs a GPU"):
        LSTM(UNITS, engine="cudnn")


@pytest.mark.parametrize("engine", ["fast", None, 1, "XLA"])
def test_an_engine_must_have_one_of_the_names(engine):
    with pytest.raises(
        ValueError, match=f"expected engine to be one of .*; received {engine!r}"
    ):
        LSTM(UNITS, engine=engine)


@pytest.mark.parametrize("engine", sorted({*ENGINES} - {"cudnn"}))
def test_use_cudnn_and_another_engine_exclude_each_other(engine):
    layer = LSTM(UNITS, use_cudnn=True)
    layer.engine = engine
    with pytest.raises(ValueError, match=f"use_cudnn=True with engine='{engine}'"):
        layer.explain_engine()


@only_tensorflow
def test_a_model_with_an_engine_is_not_one_xla_program():
    assert not LSTM(UNITS).supports_jit
    assert LSTM(UNITS, engine="loop").supports_jit
    assert not LSTM(UNITS, recurrent_dropout=0.1).supports_jit


@every_engine
def test_the_engine_is_saved_with_the_layer_if_it_was_chosen(engine):
    assert "engine" not in LSTM(UNITS).get_config()
    for name in (engine, "loop"):
        config = LSTM(UNITS, engine=name).get_config()
        assert LSTM.from_config(config).engine == name


# The numbers.


@every_engine
@first_of("masked", [True, False])
def test_gradients_of_200_steps_are_those_of_the_reference(engine, masked):
    batch, time = 4, 200
    x = normal(batch, time, FEATURES, seed=1)
    h0, c0 = normal(batch, UNITS, seed=2), normal(batch, UNITS, seed=3)
    mask = normal(batch, time, seed=5) > -1 if masked else None
    layer, _ = layer_pair(engine, return_sequences=True, return_state=True)
    assert_equals_the_reference(layer, [x, h0, c0], mask)


def assert_equals_the_reference(layer, arrays, mask):
    found = run_layer(layer, arrays, mask=mask)
    expected = reference_results(layer, arrays, mask)
    for actual, right in zip(found, expected, strict=True):
        assert_all_close(actual, right)


@st.composite
def configurations(draw):
    """A layer's arguments, its inputs, and how it is called."""
    # Few sizes, since each is compiled; down to one of each.
    rows, time = draw(st.sampled_from([(1, 1), (1, 19), (2, 6), (9, 2), (9, 19)]))
    units, features = draw(st.sampled_from([(1, 1), (1, 4), (3, 1)]))
    arguments = {
        "return_sequences": draw(st.booleans()),
        "return_state": draw(st.booleans()),
        "go_backwards": draw(st.booleans()),
        "use_bias": draw(st.booleans()),
        "zero_output_for_mask": draw(st.booleans()),
        "return_cell_states": draw(st.booleans()),
        "learn_initial_state": draw(st.booleans()),
        "dropout": draw(st.sampled_from([0.0, 0.0, 0.4])),
        "seed": 3,
    }
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = generator.normal(size=(rows, time, features))
    states = generator.normal(size=(2, rows, units))
    call = {"training": draw(st.booleans())}
    if draw(st.booleans()):
        share = draw(st.sampled_from([0.0, 0.2, 0.8, 1.0]))
        call["mask"] = generator.random((rows, time)) < share
    return units, features, arguments, [x, *states], call, draw(st.booleans())


@every_engine
# JAX compiles every step of every example anew, which takes minutes.
@examples(thorough=150 if BACKEND == "jax" else 500)
@given(configuration=configurations())
def test_an_engine_agrees_with_the_loop(engine, configuration):
    units, features, arguments, arrays, call, with_states = configuration

    def run(layer):
        # A state that is given leaves the learned one without a gradient.
        given = with_states and not layer.learn_initial_state
        used = arrays if given else arrays[:1]
        return [*map(joined, run_layer(layer, used, **call))]

    # In float64, so that few correct digits in a gradient hide nothing. (Joined, since
    # one may be tiny beside the others.) On JAX and torch the loop's products are in
    # float32.
    tolerance = 1e-9 if BACKEND == "tensorflow" else 1e-4
    with double_precision():
        pair = layer_pair(engine, units, features, dtype="float64", **arguments)
        for actual, expected in zip(*map(run, pair), strict=True):
            assert_all_close([actual], [expected], tolerance=tolerance)


def joined(tensors):
    return np.concatenate([array.ravel() for array in to_numpy(tensors)])


@pytest.mark.thorough
@every_engine
def test_ten_epochs_of_training_end_at_the_loss_of_the_loop(engine):
    x, y = padded_ids(50, 12)

    def final_loss(model):
        keras.utils.set_random_seed(1)
        # The last batch of an epoch has 2 rows.
        history = model.fit(x, y, batch_size=16, epochs=10, verbose=0).history
        return history["loss"]

    losses = [final_loss(m) for m in model_pair(engine, classifier)]
    assert losses[0][-1] < 0.9 * losses[0][0]
    np.testing.assert_allclose(losses[0], losses[1], atol=1e-3)


@every_engine
@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
def test_inputs_may_be_integers(engine, dtype):
    layer, loop = layer_pair(engine)
    x = np.random.default_rng(0).integers(0, 2, (3, TIME, FEATURES)).astype(dtype)
    assert_all_close([layer(x)], [loop(x.astype("float32"))])


@every_engine
@first_of("input_bias", [-14.0, -8.0, -18.0])
def test_a_nearly_closed_gate_loses_no_precision(engine, input_bias):
    layer, _ = layer_pair(engine)
    kernel, recurrent_kernel, _ = layer.get_weights()
    bias = np.repeat([input_bias, 3.0, 0.0, 0.0], UNITS)
    layer.set_weights([0.2 * kernel, 0.2 * recurrent_kernel, bias])
    x = np.random.default_rng(0).normal(size=(3, 200, FEATURES)).astype("float32")
    expected = lstm_forward(x, *layer.get_weights()).h_last
    np.testing.assert_allclose(
        to_numpy([layer(x)])[0], expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max()
    )


@pytest.mark.skipif(BACKEND != "torch", reason="torch.compile")
def test_a_first_layer_trains_in_a_compiled_torch_model():
    model = keras.Sequential([keras.Input((TIME, FEATURES)), LSTM(UNITS)])
    model.compile("sgd", "mse", jit_compile=True)
    x = np.random.default_rng(0).normal(size=(4, TIME, FEATURES)).astype("float32")
    losses = model.fit(x, np.ones((4, UNITS)), epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


# cuDNN.


@not_on_jax
@pytest.mark.parametrize("masked", [False, True])
def test_keras_computes_what_the_cudnn_engine_passes_on(masked):
    # Without a GPU Keras's layer takes its loop, with the same arguments and results.
    _, loop = layer_pair("auto", return_sequences=True, return_state=True)
    arrays = inputs_and_states()
    x, h, c = (ops.convert_to_tensor(a, "float32") for a in arrays)
    weights = [ops.convert_to_tensor(weight) for weight in loop.get_weights()]
    mask = ops.convert_to_tensor(np.arange(TIME) < [[3], [7], [1]]) if masked else None
    weights = engines.Weights(*weights)
    inputs = engines.Inputs(x, mask, [h, c], weights)
    hidden, _, states = cudnn.run(inputs._replace(return_sequences=True))
    assert_all_close([hidden, *states], loop(x, initial_state=[h, c], mask=mask))
    assert cudnn.run(inputs)[0] is None


@with_cudnn
@pytest.mark.skipif(BACKEND != "torch", reason="reads the names of torch's functions")
def test_the_cudnn_engine_calls_cudnn():
    def names(function):
        for before, _ in function.next_functions:
            if before is not None:
                yield before.name()
                yield from names(before)

    layer, loop = layer_pair("cudnn")
    x = ops.convert_to_tensor(inputs_and_states()[0], "float32")
    assert "CudnnRnnBackward0" in names(layer(x).grad_fn)
    assert "CudnnRnnBackward0" not in names(loop(x).grad_fn)


# As many rows as lengths, from 0 on.
LENGTHS = np.linspace(0, 50, 33).astype(int)[:, np.newaxis]
STEPS = np.arange(50)
MASKS = {
    "none": None,
    "left": STEPS >= 50 - LENGTHS,
    "right": STEPS < LENGTHS,
    "holes": (STEPS < LENGTHS) & (STEPS * (LENGTHS + 3) % 7 > 2),
}


@with_cudnn
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("units", [64, 256])  # cuDNN has a kernel for small layers
def test_cudnn_at_the_size_of_a_real_layer_computes_the_reference(
    units, return_sequences, go_backwards, mask
):
    mask = MASKS[mask]
    x = normal(len(LENGTHS), len(STEPS), 32, seed=1)
    h0, c0 = (normal(len(LENGTHS), units, seed=seed) for seed in (2, 3))
    layer = LSTM(
        units,
        engine="cudnn",
        return_sequences=return_sequences,
        return_state=True,
        go_backwards=go_backwards,
    )
    layer.build(x.shape)
    randomize_weights(layer, scale=1 / np.sqrt(units))
    assert_equals_the_reference(layer, [x, h0, c0], mask)


@with_cudnn
def test_use_cudnn_false_chooses_no_engine_that_calls_cudnn():
    choice = LSTM(UNITS, use_cudnn=False).explain_engine()
    assert choice.engine == {"tensorflow": "xla", "torch": "loop"}[BACKEND]
    assert choice.passed_over["cudnn"] == "use_cudnn=False"
    if BACKEND == "torch":
        with pytest.raises(ValueError, match="on a GPU the operator calls cuDNN"):
            LSTM(UNITS, use_cudnn=False, engine="aten")


@with_cudnn
def test_both_directions_by_cudnn_are_traced():
    layer = LSTM(UNITS, engine="cudnn", return_sequences=True)
    both = keras.layers.Bidirectional(layer)
    model = keras.Sequential([keras.Input((TIME, FEATURES)), both])
    x = inputs_and_states()[0]
    forth, back = lstm_keras.trace_gates(model, x).values()
    expected = np.concatenate([forth.h, back.h], axis=-1)
    assert_all_close([model.predict(x, verbose=0)], [expected])


# Derivatives beyond the first.


def penalty_gradients(layer, x, weights, **call):
    """The gradients of a gradient penalty: second derivatives."""
    import tensorflow as tf

    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = tf.reduce_sum(layer(x, **call) ** 2)
        penalty = tf.norm(inner.gradient(y, x))
    return outer.gradient(penalty, [x, *weights])


@only_tensorflow
@first_of("in_graph", [False, True])
@first_of("training", [True, False])
@first_of("masked", [True, False])
def test_a_second_derivative_of_xla_is_that_of_the_loop(masked, training, in_graph):
    import tensorflow as tf

    mask = np.arange(TIME) < [[3], [7], [1]]
    call = {"mask": mask} if masked else {}

    def second(layer, padding):
        x = inputs_and_states()[0]
        x = np.where(mask[..., None], x, padding) if masked else x
        weights = [variable.value for variable in layer.trainable_variables]
        x = tf.constant(x, tf.float32)
        return penalty_gradients(layer, x, weights, training=training, **call)

    with engine_scope("auto"):
        layer, loop = layer_pair("xla", return_sequences=True)
        # What is masked has no influence on any derivative.
        functions = [partial(second, layer, np.nan), partial(second, loop, 0.0)]
        if in_graph:
            functions = [tf.function(function) for function in functions]
        assert_all_close(*(function() for function in functions))


@pytest.mark.thorough
@only_tensorflow
@pytest.mark.parametrize("shape", [(3, None), (None, None)])
def test_a_second_derivative_with_recurrent_dropout_is_that_of_the_loop(shape):
    import tensorflow as tf

    pair = layer_pair("xla", recurrent_dropout=0.3, dropout=0.2, seed=3)
    x = tf.constant(inputs_and_states()[0], tf.float32)
    signature = [tf.TensorSpec((*shape, FEATURES))]

    def second(layer):
        weights = [variable.value for variable in layer.trainable_variables]
        function = partial(penalty_gradients, layer, weights=weights, training=True)
        return tf.function(lambda x: function(x), input_signature=signature)(x)

    with engine_scope("auto"):
        assert_all_close(*map(second, pair))


@pytest.mark.thorough
@only_tensorflow
def test_a_model_trains_with_a_gradient_penalty():
    import tensorflow as tf

    class Penalised(keras.Model):
        def __init__(self, engine):
            super().__init__()
            self.recurrent = LSTM(UNITS, engine=engine)
            self.dense = keras.layers.Dense(1)

        def call(self, x, training=False):
            return self.dense(self.recurrent(x, training=training))

        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                with tf.GradientTape() as inner:
                    inner.watch(x)
                    outputs = self(x, training=True)
                penalty = tf.reduce_mean(inner.gradient(outputs, x) ** 2)
                loss = tf.reduce_mean((outputs - y) ** 2) + penalty
            weights = self.trainable_weights
            self.optimizer.apply(tape.gradient(loss, weights), weights)
            return {"loss": loss}

    x = normal(12, TIME, FEATURES).astype("float32")
    y = x.mean(axis=(1, 2))[:, np.newaxis]

    def losses(engine):
        keras.utils.set_random_seed(0)
        model = Penalised(engine)
        model.compile(keras.optimizers.Adam(0.01))
        return model.fit(x, y, batch_size=4, epochs=3, verbose=0).history["loss"]

    np.testing.assert_allclose(losses("auto"), losses("loop"), rtol=1e-4)


@pytest.mark.thorough
@only_tensorflow
def test_jacobians_and_forward_mode_of_xla_are_those_of_the_loop():
    import tensorflow as tf

    x = tf.constant(inputs_and_states()[0], tf.float32)
    pair = layer_pair("xla")

    def jacobians(layer):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            y = layer(x)
        return [tape.jacobian(y, x), tape.batch_jacobian(y, x)]

    def forward_mode(layer):
        with tf.autodiff.ForwardAccumulator(x, tf.ones_like(x)) as accumulator:
            y = layer(x)
        return [accumulator.jvp(y)]

    for differentiate in (jacobians, forward_mode):
        assert_all_close(*(differentiate(layer) for layer in pair))


@only_tensorflow
def test_two_gradient_tapes_may_watch_at_the_same_time():
    import tensorflow as tf

    x = tf.constant(inputs_and_states()[0], tf.float32)
    layer, loop = layer_pair("xla")

    def gradients(layer):
        with tf.GradientTape() as one, tf.GradientTape() as other:
            one.watch(x)
            y = tf.reduce_sum(layer(x) ** 2)
        weights = [variable.value for variable in layer.trainable_variables]
        return [one.gradient(y, x), *other.gradient(y, weights)]

    assert_all_close(gradients(layer), gradients(loop))


@pytest.mark.skipif(BACKEND != "jax", reason="differentiates by jax.grad")
def test_a_second_derivative_of_scan_is_that_of_the_loop():
    import jax

    def second(layer):
        first = jax.grad(lambda x: layer(x).sum())
        return jax.grad(lambda x: (first(x) ** 2).sum())(x)

    x = ops.convert_to_tensor(inputs_and_states()[0], "float32")
    engine, loop = map(second, layer_pair("scan"))
    assert_all_close([engine], [loop])


# Survival.


@pytest.mark.thorough
@every_engine
@pytest.mark.parametrize("mask_zero", [False, True])
def test_odd_batches_and_lengths_are_predicted_like_the_loop(engine, mask_zero):
    model, loop = model_pair(engine, lambda name: classifier(name, mask_zero))
    for rows, time in [(1, 1), (1, 30), (3, 2), (7, 17), (17, 5), (33, 9)]:
        ids, _ = padded_ids(rows, max(time, 2), seed=rows)
        ids = ids[:, :time]
        assert_all_close(
            [model.predict(ids, verbose=0)], [loop.predict(ids, verbose=0)]
        )


@every_engine
def test_threads_may_predict_at_the_same_time(engine):
    model = classifier(engine)
    # Keras on JAX gives predict's buffers away while another thread reads them.
    predict = model if BACKEND == "jax" else model.predict_on_batch
    batches = [padded_ids(rows, 10, seed=rows)[0] for rows in range(1, 17)]
    expected = list(map(predict, batches))
    with ThreadPoolExecutor(4) as pool:
        for actual in pool.map(lambda _: list(map(predict, batches)), range(4)):
            assert_all_close(actual, expected)


@pytest.mark.thorough
@every_engine
def test_two_stateful_layers_carry_their_states_through_training(engine):
    def make_model(name):
        keras.utils.set_random_seed(0)
        x = keras.Input(batch_shape=(4, 6, FEATURES))
        y = LSTM(5, return_sequences=True, stateful=True, engine=name)(x)
        y = LSTM(3, stateful=True, engine=name)(y)
        model = keras.Model(x, y)
        model.compile("sgd", "mse")
        return model

    x, y = normal(12, 6, FEATURES), normal(12, 3, seed=1)
    pair = model_pair(engine, make_model)
    for model in pair:
        model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    assert_all_close(*(model.get_weights() for model in pair))


def export_by_model(model, path):
    model.export(path, verbose=False)


def export_by_archive(model, path):
    archive = keras.export.ExportArchive()
    signature = [keras.InputSpec(shape=(None, None), dtype="int32")]
    archive.track_and_add_endpoint("serve", model, input_signature=signature)
    archive.write_out(path, verbose=False)


def export_by_saved_model(model, path):
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.int32)])
    def serve(ids):
        return model(ids)

    tf.saved_model.save(model, path, signatures=serve)


def export_by_module(model, path):
    import tensorflow as tf

    module = tf.Module()
    module.model = model
    module.serve = tf.function(
        model, input_signature=[tf.TensorSpec((None, None), tf.int32)]
    )
    tf.saved_model.save(module, path)


@only_tensorflow
@first_of(
    "export",
    [export_by_saved_model, export_by_model, export_by_archive, export_by_module],
)
def test_no_exporter_writes_an_engine_into_its_file(export, tmp_path):
    import tensorflow as tf

    model = classifier("auto")
    ids, _ = padded_ids(3, 8)
    expected = model.predict(ids, verbose=0)  # by the engine
    export(model, str(tmp_path))
    assert b"XlaMustCompile" not in (tmp_path / "saved_model.pb").read_bytes()
    loaded = tf.saved_model.load(str(tmp_path))
    serve = getattr(loaded, "serve", None)
    if serve is None:
        found = [*loaded.signatures["serving_default"](tf.constant(ids)).values()]
    else:
        found = [serve(ids)]
    assert_all_close(found, [expected])


@only_tensorflow
def test_the_loop_runs_where_a_graph_may_be_exported_and_the_reason_is_given():
    import tensorflow as tf

    model, choices = classifier("auto"), {}
    layer = model.layers[1]

    class Spy(keras.layers.Layer):
        def call(self, x, training=False):
            choices[where] = layer.explain_engine(training=training)
            return x

        def compute_output_shape(self, shape):
            return shape

    spied = keras.Sequential([model, Spy()])
    spied.compile("sgd", "mse")
    ids, y = padded_ids(3, 8)
    where = "fit"
    spied.fit(ids, y, verbose=0)
    where = "evaluate"
    spied.evaluate(ids, y, verbose=0)
    where = "predict"
    spied.predict(ids, verbose=0)
    where = "eager"
    spied(ids)
    where = "graph"
    tf.function(spied)(ids)
    where = "graph in training"
    tf.function(partial(spied, training=True))(ids)
    where = "scope"
    with engine_scope("auto"):
        tf.function(spied)(ids)
    # Keras runs fit, evaluate and predict by `tf.distribute.Strategy.run`: if that ever
    # changes, the first three take the loop, and this fails.
    assert {where: choice.engine for where, choice in choices.items()} == {
        "fit": "xla",
        "evaluate": "xla",
        "predict": "xla",
        "eager": "xla",
        "graph": "loop",
        "graph in training": "loop",
        "scope": "xla",
    }
    assert "may be exported" in choices["graph"].passed_over["xla"]


@only_tensorflow
def test_an_engine_chosen_by_name_and_a_call_in_training_are_exported_by_the_loop(
    tmp_path,
):
    class Inner(keras.layers.Layer):
        """Of its output Keras infers the shape in a graph of its own."""

        def __init__(self):
            super().__init__()
            self.recurrent = LSTM(UNITS, engine="xla", dropout=0.2)

        def call(self, x):
            return self.recurrent(x, training=True)

    x = keras.Input((None, FEATURES))
    model = keras.Model(x, Inner()(x))
    model(np.ones((2, 3, FEATURES)))
    model.export(str(tmp_path), verbose=False)
    assert b"XlaMustCompile" not in (tmp_path / "saved_model.pb").read_bytes()


@every_engine
def test_a_scope_chooses_the_engine_of_every_layer(engine):
    with engine_scope("loop"):
        for layer in (LSTM(UNITS), LSTM(UNITS, engine=engine)):
            choice = layer.explain_engine()
            assert choice.engine == "loop"
            assert choice.passed_over[engine] == "engine_scope('loop') was asked for"
        with engine_scope("auto"):
            assert LSTM(UNITS).explain_engine().engine == ENGINES[0]
            assert LSTM(UNITS, engine="loop").explain_engine().engine == "loop"
    assert LSTM(UNITS).explain_engine().engine == ENGINES[0]
    with engine_scope(engine):
        layer = LSTM(UNITS, activation="relu")
        with pytest.raises(ValueError, match=r"cannot run this layer: .* relu"):
            layer.explain_engine()


@pytest.mark.parametrize("engine", ["fast", None])
def test_a_scope_must_have_one_of_the_names(engine):
    with (
        pytest.raises(ValueError, match=f"expected engine to be .*received {engine!r}"),
        engine_scope(engine),
    ):
        pass


# Compilation.


def programs_compiled(program, folder):
    """How many programs XLA compiles in a process that runs this."""
    # XLA writes a file for each.
    flags = f"--xla_dump_to={folder} --xla_dump_hlo_as_text"
    run_python(program, XLA_FLAGS=flags)
    return len(list(folder.glob("*before_optimizations.txt")))


@pytest.mark.thorough
@only_tensorflow
def test_batches_of_many_shapes_need_few_compilations(tmp_path):
    program = """
import keras, numpy as np
from lstm_keras import LSTM
model = keras.Sequential([LSTM(4), keras.layers.Dense(1)])
model.compile("sgd", "mse")
def batches():
    for step in range(96):
        rows = 16 if step % 2 else 1 + step // 4
        yield np.ones((rows, step + 1, 3), "float32"), np.ones((rows, 1), "float32")
model.fit(batches(), verbose=0)
"""
    # 96 shapes; a program each for the forward and the backward pass.
    assert 2 <= programs_compiled(program, tmp_path) <= 60


LENGTHS = """
import keras, lstm_keras, numpy as np, tensorflow as tf
model = keras.Sequential([lstm_keras.LSTM(4), keras.layers.Dense(1)])
model.compile("sgd", "mse")
for length in (5, 9, 17, 33, 65, *range(6, 66, 4)):
    x = np.ones((8, length, 3), "float32")
    {step}
"""


@pytest.mark.thorough
@only_tensorflow
@pytest.mark.parametrize(
    ("step", "most"),
    [
        # The forward and the backward pass.
        ("model.train_on_batch(x, np.ones((8, 1)))", 2 * 3),
        ("model(x)", 3),
        # Every graph knows its length, and the first that is not tiny is kept.
        (
            "with lstm_keras.engine_scope('auto'): "
            "tf.function(lambda: model(x, training=True))()",
            4,
        ),
    ],
    ids=["train_on_batch", "eager", "a graph for each"],
)
def test_twenty_lengths_need_few_compilations(step, most, tmp_path):
    assert 1 <= programs_compiled(LENGTHS.format(step=step), tmp_path) <= most


@only_tensorflow
def test_sizes_are_rounded_up_to_few_and_row_counts_by_little():
    import tensorflow as tf

    from lstm_keras.engines import xla

    sizes = range(1, 1001)
    rows = [int(xla._rounded_up(tf.constant(size), xla.ROWS)) for size in sizes]
    assert len(set(rows)) <= 4 * 9
    for size, up in zip(sizes, rows, strict=True):
        assert size <= up <= size * 1.25 + 1
    lengths = [int(xla._rounded_up(size, np.array(xla.LENGTHS))) for size in sizes]
    assert sorted(set(lengths)) == [16, 64, 256, 512, 1024]
    assert all(size <= up for size, up in zip(sizes, lengths, strict=True))


@only_tensorflow
def test_the_first_length_that_a_graph_knows_is_not_rounded_up():
    from lstm_keras.engines import xla

    kind = xla.Kind(7, 7, np.float32, False, False, False, False)
    assert xla._program_length(kind, 12) == 16
    assert xla._program_length(kind, 200) == 200
    assert xla._program_length(kind, 200) == 200
    assert xla._program_length(kind, 190) == 200
    assert xla._program_length(kind, 210) == 256


MEMORY = """
import re, numpy as np, keras
from lstm_keras import LSTM
def mebibytes(field):
    status = open("/proc/self/status").read()
    return int(re.search(field + r":\\s+(\\d+) kB", status)[1]) / 1024
model = keras.Sequential([keras.Input((None, 8)), LSTM({units}), keras.layers.Dense(1)])
model.compile("sgd", "mse")
def train(rows, time, steps):
    x, y = np.ones((rows, time, 8), "float32"), np.ones((rows, 1), "float32")
    for _ in range(steps):
        model.train_on_batch(x, y)
"""


def run_and_read_numbers(program):
    return [float(word) for word in run_python(program, KERAS_BACKEND=BACKEND).split()]


@pytest.mark.thorough
@linux
def test_memory_does_not_grow_in_2000_steps():
    program = MEMORY.format(units=16) + (
        "train(16, 20, 200)\n"
        "before = mebibytes('VmRSS')\n"
        "train(16, 20, 2000)\n"
        "print(mebibytes('VmRSS') - before)\n"
    )
    (growth,) = run_and_read_numbers(program)
    assert growth < 30


@pytest.mark.thorough
@linux
@pytest.mark.skipif(ON_GPU, reason="it is the GPU's memory")
def test_memory_of_training_grows_linearly_with_time():
    program = MEMORY.format(units=64) + (
        "for time in (1000, 2000, 4000):\n"
        "    open('/proc/self/clear_refs', 'w').write('5')\n"  # forget the peak
        "    train(64, time, 2)\n"
        "    print(mebibytes('VmHWM'))\n"
    )
    first, second = np.diff(run_and_read_numbers(program))  # of 1,000 and 2,000 steps
    kept = 4 * 64 * 64 * 5 / 2**20  # of a step: four gates and a state, at least
    assert first > 1000 * kept
    assert 1.2 * first < second < 3 * first
