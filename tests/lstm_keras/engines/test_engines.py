"""Every engine is held against the loop and the NumPy reference, and must survive use.

The equality matrices of test_layer.py run over the engines as well.
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
    equal_pair,
    inputs_and_states,
    normal,
    randomize_weights,
    reference_results,
    run_layer,
    to_numpy,
)
from tests.helpers.examples import examples
from tests.helpers.fresh_process import run_python
from tests.helpers.models import ChangedCell
from tests.helpers.pairwise import first_of, pairwise

X = inputs_and_states()[0].astype("float32")
every_engine = pytest.mark.parametrize("engine", ENGINES)
only_tensorflow = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="how TensorFlow compiles"
)
only_torch = pytest.mark.skipif(BACKEND != "torch", reason="how torch works")
ON_GPU = "cpu" not in str(ops.zeros(()).device).lower()
with_cudnn = pytest.mark.skipif(not HAS_CUDNN, reason="there is no cuDNN")
not_on_jax = pytest.mark.skipif(BACKEND == "jax", reason="cudnn is not for JAX")


def layer_pair(engine, units=UNITS, features=FEATURES, **arguments):
    """The same layer on an engine and in the loop, with equal random weights."""
    return equal_pair(
        lambda name: LSTM(units, engine=name, **arguments),
        (engine, "loop"),
        (None, None, features),
    )


def classifier(engine, **arguments):
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            keras.layers.Embedding(20, 6, mask_zero=True),
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
            with pytest.raises(ValueError, match=f"the backend is {BACKEND}"):
                LSTM(UNITS, engine=name)
    assert str(choice).startswith(f"{taken}\nnot ")
    shown = f"<LSTM name=memory, units=5, engine=auto ({taken}), built=False>"
    assert repr(LSTM(5, name="memory")) == shown
    assert "engine=loop, " in repr(LSTM(5, engine="loop"))


@pytest.mark.skipif(HAS_CUDNN, reason="there is cuDNN")
@not_on_jax
def test_without_a_gpu_cudnn_is_passed_over_or_an_error():
    reason = "it needs a GPU, and the backend sees none"
    assert LSTM(UNITS).explain_engine().passed_over["cudnn"] == reason
    with pytest.raises(ValueError, match=reason):
        LSTM(UNITS, engine="cudnn")


def my_tanh(x):
    return ops.tanh(x)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"activation": "relu"}, "these are relu and sigmoid"),
        ({"activation": None}, "these are linear and sigmoid"),
        ({"activation": my_tanh}, "these are my_tanh and sigmoid"),
        ({"recurrent_activation": "relu"}, "these are tanh and relu"),
        ({"unroll": True}, "unroll=True asks for the unrolled loop"),
    ],
)
def test_the_loop_runs_what_no_engine_can_and_the_reason_is_given(arguments, reason):
    choice = LSTM(UNITS, **arguments).explain_engine()
    assert choice.engine == "loop"
    for engine in ENGINES:
        assert reason in choice.passed_over[engine]
        message = f"engine='{engine}' cannot run this layer: .*{reason}"
        with pytest.raises(ValueError, match=message):
            LSTM(UNITS, engine=engine, **arguments)


def test_the_loop_runs_another_cell():
    layer = LSTM(UNITS)
    layer.cell = ChangedCell(UNITS)
    choice = layer.explain_engine()
    assert choice.engine == "loop"
    for engine in ENGINES:
        assert (
            choice.passed_over[engine] == "the cell is not lstm_keras.LSTMCell itself"
        )


@only_torch
def test_with_recurrent_dropout_aten_runs_inference_only():
    layer = LSTM(UNITS, recurrent_dropout=0.1)
    assert layer.explain_engine(training=False).engine == ENGINES[0]
    choice = layer.explain_engine(training=True)
    assert choice.engine == "loop"
    assert "does not support recurrent_dropout" in choice.passed_over["aten"]
    with pytest.raises(ValueError, match="engine='aten' cannot run this layer"):
        LSTM(UNITS, recurrent_dropout=0.1, engine="aten")


@pytest.mark.parametrize("engine", ["fast", None, 1, "XLA"])
def test_an_engine_and_a_scope_must_have_one_of_the_names(engine):
    message = f"expected engine to be one of .*; received {engine!r}"
    for choose in (partial(LSTM, UNITS, engine=engine), engine_scope(engine).__enter__):
        with pytest.raises(ValueError, match=message):
            choose()


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


# The numbers.


@every_engine
@first_of("masked", [True, False])
def test_gradients_of_200_steps_are_those_of_the_reference(engine, masked):
    arrays = inputs_and_states(batch=4, time=200)
    mask = normal(4, 200, seed=5) > -1 if masked else None
    layer, _ = layer_pair(engine, return_sequences=True, return_state=True)
    found = run_layer(layer, arrays, mask=mask)
    assert_all_close(found, reference_results(layer, arrays, mask))


@st.composite
def configurations(draw):
    """A layer's sizes and arguments, its inputs, and how it is called."""
    # Few sizes, since each is compiled; down to one of each.
    rows, time = draw(st.sampled_from([(1, 1), (1, 19), (2, 6), (9, 2), (9, 19)]))
    units, features = draw(st.sampled_from([(1, 4), (3, 1)]))
    options = (
        "return_sequences return_state go_backwards use_bias zero_output_for_mask "
        "return_cell_states learn_initial_state"
    )
    arguments = {name: draw(st.booleans()) for name in options.split()}
    arguments |= {"dropout": draw(st.sampled_from([0.0, 0.0, 0.4])), "seed": 3}
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    arrays = [generator.normal(size=(rows, time, features))]
    # A state that is given leaves the learned one without a gradient.
    if draw(st.booleans()) and not arguments["learn_initial_state"]:
        arrays += [*generator.normal(size=(2, rows, units))]
    call = {"training": draw(st.booleans())}
    if draw(st.booleans()):
        share = draw(st.sampled_from([0.0, 0.2, 0.8, 1.0]))
        call["mask"] = generator.random((rows, time)) < share
    return units, features, arguments, arrays, call


@every_engine
# JAX compiles every step of every example anew, which takes minutes.
@examples(quick=2, thorough=30 if BACKEND == "jax" else 120)
@given(configuration=configurations())
def test_an_engine_agrees_with_the_loop(engine, configuration):
    units, features, arguments, arrays, call = configuration

    def run(layer):
        # Joined, since a tensor may be tiny beside the others.
        return [
            np.concatenate([array.ravel() for array in to_numpy(tensors)])
            for tensors in run_layer(layer, arrays, **call)
        ]

    # In float64, so that few correct digits in a gradient hide nothing. On JAX and
    # torch the loop's products are in float32.
    tolerance = 1e-9 if BACKEND == "tensorflow" else 1e-4
    with double_precision():
        pair = layer_pair(engine, units, features, dtype="float64", **arguments)
        assert_all_close(*map(run, pair), tolerance=tolerance)


@pytest.mark.thorough
@every_engine
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_training_follows_the_loss_of_the_loop(engine, dropout):
    if dropout and engine not in ("xla", "scan"):
        pytest.skip("it cannot drop states")
    x, y = padded_ids(50, 12)
    make, losses = partial(classifier, recurrent_dropout=dropout, seed=3), []
    for model in equal_pair(make, (engine, "loop")):
        keras.utils.set_random_seed(1)
        # The last batch of an epoch has 2 rows.
        history = model.fit(x, y, batch_size=16, epochs=4, verbose=0).history
        losses.append(history["loss"])
    assert losses[0][-1] < losses[0][0]
    np.testing.assert_allclose(losses[0], losses[1], atol=1e-3)


@every_engine
@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
def test_inputs_may_be_integers(engine, dtype):
    layer, loop = layer_pair(engine)
    x = np.random.default_rng(0).integers(0, 2, (3, TIME, FEATURES)).astype(dtype)
    assert_all_close(layer(x), loop(x.astype("float32")))


@every_engine
@first_of("input_bias", [-14.0, -8.0, -18.0])
def test_a_nearly_closed_gate_loses_no_precision(engine, input_bias):
    layer, _ = layer_pair(engine)
    kernel, recurrent_kernel, _ = layer.get_weights()
    bias = np.repeat([input_bias, 3.0, 0.0, 0.0], UNITS)
    layer.set_weights([0.2 * kernel, 0.2 * recurrent_kernel, bias])
    x = normal(3, 200, FEATURES).astype("float32")
    expected = lstm_forward(x, *layer.get_weights()).h_last
    found, scale = to_numpy(layer(x))[0], np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * scale)


@only_torch
def test_a_first_layer_trains_in_a_compiled_torch_model():
    model = keras.Sequential([keras.Input((TIME, FEATURES)), LSTM(UNITS)])
    model.compile("sgd", "mse", jit_compile=True)
    losses = model.fit(X, np.ones((len(X), UNITS)), epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


# cuDNN.


@not_on_jax
@pytest.mark.parametrize("masked", [False, True])
def test_keras_computes_what_the_cudnn_engine_passes_on(masked):
    # Without a GPU Keras's layer takes its loop, with the same arguments and results.
    _, loop = layer_pair("auto", return_sequences=True, return_state=True)
    x, h, c = (ops.convert_to_tensor(a, "float32") for a in inputs_and_states())
    weights = engines.Weights(*map(ops.convert_to_tensor, loop.get_weights()))
    mask = ops.convert_to_tensor(np.arange(TIME) < [[3], [7], [1]]) if masked else None
    inputs = engines.Inputs(x, mask, [h, c], weights)
    hidden, _, states = cudnn.run(inputs._replace(return_sequences=True))
    assert_all_close([hidden, *states], loop(x, initial_state=[h, c], mask=mask))
    assert cudnn.run(inputs)[0] is None


@with_cudnn
@only_torch
def test_the_cudnn_engine_calls_cudnn():
    def names(function):
        for before, _ in function.next_functions:
            if before is not None:
                yield before.name()
                yield from names(before)

    layer, loop = layer_pair("cudnn")
    x = ops.convert_to_tensor(X)
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
@pairwise(
    units=[64, 256],  # cuDNN has a kernel for small layers
    return_sequences=[False, True],
    go_backwards=[False, True],
    mask=MASKS,
)
def test_cudnn_at_the_size_of_a_real_layer_computes_the_reference(
    units, return_sequences, go_backwards, mask
):
    x = normal(len(LENGTHS), len(STEPS), 32, seed=1)
    arrays = [x, *(normal(len(LENGTHS), units, seed=seed) for seed in (2, 3))]
    layer = LSTM(
        units,
        engine="cudnn",
        return_sequences=return_sequences,
        return_state=True,
        go_backwards=go_backwards,
    )
    layer.build(x.shape)
    randomize_weights(layer, scale=1 / np.sqrt(units))
    found = run_layer(layer, arrays, mask=MASKS[mask])
    assert_all_close(found, reference_results(layer, arrays, MASKS[mask]))


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
    forth, back = lstm_keras.trace_gates(model, X).values()
    expected = np.concatenate([forth.h, back.h], axis=-1)
    assert_all_close(model.predict(X, verbose=0), expected)


# Derivatives beyond the first.


@only_tensorflow
@first_of(
    "how",
    [
        "masked_in_training_in_a_graph",
        "in_a_graph",
        "masked",
        "dropped_in_training_in_a_graph",
    ],
)
def test_a_second_derivative_of_xla_is_that_of_the_loop(how):
    import tensorflow as tf

    masked, training, in_graph, dropped = (
        word in how for word in ("masked", "training", "graph", "dropped")
    )
    mask = np.arange(TIME) < [[3], [7], [1]]
    call = {"mask": mask} if masked else {}

    def penalty_gradients(layer, x):
        """The gradients of a gradient penalty: second derivatives."""
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = tf.reduce_sum(layer(x, training=training, **call) ** 2)
            penalty = tf.norm(inner.gradient(y, x))
        weights = [variable.value for variable in layer.trainable_variables]
        return outer.gradient(penalty, [x, *weights])

    dropout = {"recurrent_dropout": 0.3, "dropout": 0.2, "seed": 3} if dropped else {}
    layer, loop = layer_pair("xla", return_sequences=True, **dropout)
    run = partial(penalty_gradients, layer)
    if in_graph:  # with recurrent dropout of unknown sizes
        shape = (None, None, FEATURES) if dropped else X.shape
        run = tf.function(run, input_signature=[tf.TensorSpec(shape)])
    # What is masked has no influence on any derivative.
    x = np.where(mask[..., None], X, np.nan) if masked else X
    with engine_scope("auto"):
        found = run(tf.constant(x, tf.float32))
    assert_all_close(found, penalty_gradients(loop, tf.constant(X)))


@pytest.mark.thorough
@only_tensorflow
def test_jacobians_and_forward_mode_of_xla_are_those_of_the_loop():
    import tensorflow as tf

    x = tf.constant(X)

    def jacobians(layer, x):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            y = layer(x)
        return [tape.jacobian(y, x), tape.batch_jacobian(y, x)]

    def forward_mode(layer):
        with tf.autodiff.ForwardAccumulator(x, tf.ones_like(x)) as accumulator:
            y = layer(x)
        return accumulator.jvp(y)

    layer, loop = layer_pair("xla")
    with engine_scope("auto"):  # in a graph, which is faster to trace
        found = tf.function(partial(jacobians, layer))(x)
    assert_all_close(found, jacobians(loop, x))
    assert_all_close(forward_mode(layer), forward_mode(loop))


@only_tensorflow
def test_two_gradient_tapes_may_watch_at_the_same_time():
    import tensorflow as tf

    x = tf.constant(X)

    def gradients(layer):
        with tf.GradientTape() as one, tf.GradientTape() as other:
            one.watch(x)
            y = tf.reduce_sum(layer(x) ** 2)
        weights = [variable.value for variable in layer.trainable_variables]
        return [one.gradient(y, x), *other.gradient(y, weights)]

    assert_all_close(*map(gradients, layer_pair("xla")))


@pytest.mark.skipif(BACKEND != "jax", reason="differentiates by jax.grad")
def test_a_second_derivative_of_scan_is_that_of_the_loop():
    import jax

    def second(layer):
        first = jax.grad(lambda x: layer(x).sum())
        return jax.grad(lambda x: (first(x) ** 2).sum())(ops.convert_to_tensor(X))

    assert_all_close(*map(second, layer_pair("scan")))


# Survival.


@every_engine
def test_threads_may_predict_at_the_same_time(engine):
    model = classifier(engine)
    # Keras on JAX gives predict's buffers away while another thread reads them.
    predict = model if BACKEND == "jax" else model.predict_on_batch
    batches = [padded_ids(rows, 10, seed=rows)[0] for rows in (1, 3, 8)]
    expected = list(map(predict, batches))
    with ThreadPoolExecutor(4) as pool:
        for actual in pool.map(lambda _: list(map(predict, batches)), range(4)):
            assert_all_close(actual, expected)


@pytest.mark.thorough
@every_engine
def test_two_stateful_layers_carry_their_states_through_training(engine):
    def make(name):
        x = keras.Input(batch_shape=(4, 6, FEATURES))
        y = LSTM(5, return_sequences=True, stateful=True, engine=name)(x)
        model = keras.Model(x, LSTM(3, stateful=True, engine=name)(y))
        model.compile("sgd", "mse")
        return model

    x, y = normal(12, 6, FEATURES), normal(12, 3, seed=1)
    pair = equal_pair(make, (engine, "loop"))
    for model in pair:
        model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    assert_all_close(*(model.get_weights() for model in pair))


@only_tensorflow
@first_of("how", ["saved_model", "export", "archive", "module"])
def test_no_exporter_writes_an_engine_into_its_file(how, tmp_path):
    import tensorflow as tf

    model, path = classifier("xla"), str(tmp_path)
    ids, _ = padded_ids(3, 8)
    expected = model.predict(ids, verbose=0)  # by the engine
    signature = [tf.TensorSpec((None, None), tf.int32)]
    function = tf.function(lambda ids: model(ids), input_signature=signature)
    if how == "export":
        model.export(path, verbose=False)
    elif how == "saved_model":
        tf.saved_model.save(model, path, signatures=function)
    elif how == "archive":
        archive = keras.export.ExportArchive()
        spec = keras.InputSpec(shape=(None, None), dtype="int32")
        archive.track_and_add_endpoint("serve", model, input_signature=[spec])
        archive.write_out(path, verbose=False)
    else:
        module = tf.Module()
        module.model, module.serve = model, function
        tf.saved_model.save(module, path)
    assert b"XlaMustCompile" not in (tmp_path / "saved_model.pb").read_bytes()
    loaded = tf.saved_model.load(path)
    serve = getattr(loaded, "serve", None) or loaded.signatures["serving_default"]
    assert_all_close(serve(tf.constant(ids)), expected)


@only_tensorflow
def test_the_loop_runs_where_a_graph_may_be_exported_and_the_reason_is_given():
    import tensorflow as tf

    layer, choices, where = LSTM(UNITS), {}, "while it is built"

    class Spy(keras.layers.Layer):
        def call(self, x, training=False):
            choices[where] = layer.explain_engine(training=training)
            return x

        def compute_output_shape(self, shape):
            return shape

    model = keras.Sequential(
        [keras.Input((TIME, FEATURES)), Spy(), keras.layers.Dense(1)]
    )
    model.compile("sgd", "mse")
    where = "fit"
    model.fit(X, X[..., :1], verbose=0)
    where = "evaluate"
    model.evaluate(X, X[..., :1], verbose=0)
    where = "predict"
    model.predict(X, verbose=0)
    where = "eager"
    model(X)
    where = "graph"
    tf.function(model)(X)
    where = "graph in training"
    tf.function(partial(model, training=True))(X)
    where = "scope"
    with engine_scope("auto"):
        tf.function(model)(X)
    # Keras runs fit, evaluate and predict by `tf.distribute.Strategy.run`: if that ever
    # changes, the first three take the loop, and this fails.
    by_xla = {where for where, choice in choices.items() if choice.engine == "xla"}
    assert by_xla == {"fit", "evaluate", "predict", "eager", "scope"}
    assert set(choices) - by_xla == {"graph", "graph in training"}
    assert "may be exported" in choices["graph"].passed_over["xla"]


# Compilation and memory.


MANY_SHAPES = """
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
TWENTY_LENGTHS = """
import keras, lstm_keras, numpy as np, tensorflow as tf
model = keras.Sequential([lstm_keras.LSTM(4), keras.layers.Dense(1)])
model.compile("sgd", "mse")
for length in (5, 9, 17, 33, 65, *range(6, 66, 4)):
    x = np.ones((8, length, 3), "float32")
    {step}
"""
GRAPH_FOR_EACH = (
    "with lstm_keras.engine_scope('auto'): "
    "tf.function(lambda: model(x, training=True))()"
)


@pytest.mark.thorough
@only_tensorflow
@pytest.mark.parametrize(
    ("program", "most"),
    [
        (MANY_SHAPES, 60),
        # The forward and the backward pass.
        (TWENTY_LENGTHS.format(step="model.train_on_batch(x, np.ones((8, 1)))"), 2 * 3),
        (TWENTY_LENGTHS.format(step="model(x)"), 3),
        # Every graph knows its length, and the first that is not tiny is kept.
        (TWENTY_LENGTHS.format(step=GRAPH_FOR_EACH), 4),
    ],
    ids=["96 shapes", "train_on_batch", "eager", "a graph for each"],
)
def test_many_shapes_need_few_compilations(program, most, tmp_path):
    # XLA writes a file for each program.
    flags = f"--xla_dump_to={tmp_path} --xla_dump_hlo_as_text"
    run_python(program, XLA_FLAGS=flags)
    assert 1 <= len(list(tmp_path.glob("*before_optimizations.txt"))) <= most


@only_tensorflow
def test_sizes_are_rounded_up_to_few_and_row_counts_by_little():
    import tensorflow as tf

    from lstm_keras.engines import shares

    sizes = range(1, 1001)
    rows = [int(shares.rounded_up(tf.constant(size), shares.ROWS)) for size in sizes]
    assert len(set(rows)) <= 4 * 9
    for size, up in zip(sizes, rows, strict=True):
        assert size <= up <= size * 1.25 + 1
    lengths = [int(shares.rounded_up(size, np.array(shares.LENGTHS))) for size in sizes]
    assert sorted(set(lengths)) == [16, 64, 256, 512, 1024]
    assert all(size <= up for size, up in zip(sizes, lengths, strict=True))


@only_tensorflow
def test_the_first_length_that_a_graph_knows_is_not_rounded_up():
    from lstm_keras.engines import shares, xla

    kind = xla.Kind(7, 7, np.float32, False, False, False, False)
    lengths = [shares.program_length(kind, one) for one in (12, 200, 200, 190, 210)]
    assert lengths == [16, 200, 200, 200, 256]


MEMORY = """
import re, numpy as np, keras
from lstm_keras import LSTM
layers = [keras.Input((None, 8)), LSTM(64), keras.layers.Dense(1)]
model = keras.Sequential(layers)
model.compile("sgd", "mse")
for time in STEPS:
    open("/proc/self/clear_refs", "w").write("5")  # forget the peak
    for _ in range(2):
        model.train_on_batch(np.ones((64, time, 8), "float32"), np.ones((64, 1)))
    status = open("/proc/self/status").read()
    print(int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) / 1024)
"""


@pytest.mark.thorough
@pytest.mark.skipif(ON_GPU, reason="it is the GPU's memory")
@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="reads /proc/self/status"
)
def test_memory_of_training_grows_linearly_with_time():
    # More steps where compiling takes memory, too.
    steps = 1000 if BACKEND == "torch" else 2000
    code = MEMORY.replace("STEPS", str([steps, 2 * steps, 4 * steps]))
    peaks = map(float, run_python(code, KERAS_BACKEND=BACKEND).split())
    first, second = np.diff(list(peaks))  # of `steps` and twice as many, in MiB
    kept = 4 * 64 * 64 * 5 / 2**20  # of a step: four gates and a state, at least
    assert first > steps * kept
    assert 1.2 * first < second < 3 * first
