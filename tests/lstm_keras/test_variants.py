"""Cells beside the LSTM are held against NumPy, derived by hand; the layer around them.

tests/helpers/variant_reference.py is the oracle, which finite differences check here.
"""

import inspect
import json
import re
import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops

import lstm_keras
from lstm_keras import RNN, LSTMCell, variants
from lstm_keras.testing import check_cell
from tests.helpers.arguments import NOT_DEFAULT_OF_CELL
from tests.helpers.equality import (
    BACKEND,
    BATCH,
    FEATURES,
    TIME,
    UNITS,
    as_mask,
    assert_all_close,
    built,
    double_precision,
    loss_weights,
    normal,
    randomize_weights,
    run_layer,
    to_numpy,
)
from tests.helpers.fresh_process import run_python
from tests.helpers.pairwise import first_of
from tests.helpers.variant_reference import SLSTM, VARIANTS, run

BOTH = [False, True]
OWN_ARGUMENTS = {
    "ProjectedLSTMCell": {"projection": 3},
    "ZoneoutLSTMCell": {"zoneout_h": 0.3, "zoneout_c": 0.2},
    "SLSTMCell": {"heads": 2},
}
QUICK = ("PeepholeLSTMCell", "LayerNormLSTMCell")
every_variant = pytest.mark.parametrize("name", VARIANTS)
only_tensorflow = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="there it compiles"
)
ENGINES = ["loop", "xla"] if BACKEND == "tensorflow" else ["loop"]


def make(name, **arguments):
    own = OWN_ARGUMENTS.get(name, {})
    units = UNITS // own.get("heads", 1) * own.get("heads", 1)
    return getattr(variants, name, LSTMCell)(units, **own, **arguments)


def initial_states(cell):
    """Random numbers; zeros where zoneout counts, none below 0 in a normaliser."""
    states = [normal(BATCH, size, seed=n + 2) for n, size in enumerate(cell.state_size)]
    if isinstance(cell, variants.ZoneoutLSTMCell):
        states[2] = np.zeros((BATCH, 2))
    if isinstance(cell, variants.SLSTMCell):
        states[2] = 0.5 + np.abs(states[2])
    return states


# The oracle.


@pytest.mark.skipif(BACKEND != "tensorflow", reason="NumPy alone")
@every_variant
def test_the_gradients_of_the_reference_are_finite_differences(name):
    cell = make(name)
    cell.build((BATCH, FEATURES))
    weights = [0.7 * normal(*w.shape, seed=n) for n, w in enumerate(cell.weights)]
    arrays = [normal(BATCH, 4, FEATURES, seed=1), *initial_states(cell), *weights]
    mask, count = as_mask("holes")[:, :4], len(cell.state_size)
    by_outputs = normal(BATCH, 4, cell.state_size[0], seed=8)
    by_last = [normal(*one.shape, seed=9) for one in arrays[1 : count + 1]]

    def results(arrays):
        states, weights = arrays[1 : count + 1], arrays[count + 1 :]
        return run(
            VARIANTS[name], arrays[0], states, weights, mask, by_outputs, by_last
        )

    def loss(arrays):
        every, last, _ = results(arrays)
        return np.vdot(every, by_outputs) + sum(map(np.vdot, last, by_last))

    dx, d_states, d_weights = results(arrays)[2]
    for number, gradient in enumerate([dx, *d_states, *d_weights]):
        along = normal(*gradient.shape, seed=20 + number)
        above, below = (
            loss([*arrays[:number], arrays[number] + d, *arrays[number + 1 :]])
            for d in (1e-5 * along, -1e-5 * along)
        )
        expected = (above - below) / 2e-5
        assert np.vdot(gradient, along) == pytest.approx(expected, rel=1e-7, abs=1e-8)


# The cells.


# The costlier tests try two variants by default: of many, and of few weights.
each_variant = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in QUICK else pytest.mark.thorough)
        for name in VARIANTS
    ],
)


@each_variant
def test_a_cell_computes_its_step(name):
    # One is compiled, since that takes seconds.
    engine = ENGINES[-1] if name == "PeepholeLSTMCell" else "loop"
    dtype = "float64" if BACKEND == "tensorflow" else "float32"
    cell = make(name, dtype=dtype)
    check_cell(cell, VARIANTS[name].step, states=initial_states(cell), engine=engine)


def test_an_slstm_with_an_exponential_forget_gate_computes_its_step():
    dtype = "float64" if BACKEND == "tensorflow" else "float32"
    cell = variants.SLSTMCell(2, forget_gate="exponential", dtype=dtype)
    step = SLSTM(heads=1, exponential=True).step
    check_cell(cell, step, states=initial_states(cell), features=2, engine="loop")


def test_an_slstm_begins_with_its_candidate_however_little_it_writes():
    cell = variants.SLSTMCell(2)
    cell.build((BATCH, FEATURES))
    cell.bias.assign([-200.0, -200, 1, 1, 0.5, -0.5, 0, 0])
    x, zeros = normal(BATCH, FEATURES), [np.zeros((BATCH, 2))] * 4
    _, found = cell(x, cell.get_initial_state(BATCH))
    assert_all_close(found, SLSTM(heads=1).step(x, zeros, cell.get_weights()))
    np.testing.assert_array_equal(ops.convert_to_numpy(found[2]), 1)


def test_large_numbers_leave_an_slstm_finite():
    cell = variants.SLSTMCell(3, forget_gate="exponential")
    outputs = built(RNN(cell, return_sequences=True, engine="loop"))(
        1e4 * normal(BATCH, TIME, FEATURES)
    )
    assert np.isfinite(ops.convert_to_numpy(outputs)).all()


def test_an_slstm_tells_the_shapes_of_its_states():
    with pytest.raises(ValueError, match=r"shapes (\(batch, 2\), ){3}\(batch, 2\);"):
        variants.SLSTMCell(2)(normal(BATCH, FEATURES), [normal(BATCH, 2)] * 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"heads": 2}, "expected heads to divide units=5; received heads=2"),
        ({"forget_gate": "none"}, "expected forget_gate .*; received 'none'"),
    ],
)
def test_an_slstm_refuses_what_it_cannot_have(arguments, message):
    with pytest.raises(ValueError, match=message):
        variants.SLSTMCell(5, **arguments)


def cases():
    """Return each variant with masks, and the other options by turns."""
    found = []
    for number, name in enumerate(VARIANTS):
        for place, mask in enumerate(["holes", "none", "a fully masked row"]):
            bits = number + 3 * place
            options = [bool(bits & bit) for bit in (1, 2, 4)]
            compiled = place == 0 or (place == 1 and name in QUICK)
            for engine in ENGINES[: 1 + compiled]:  # which takes seconds
                found.append((name, mask, *options, engine))
    return found


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "mask", "go_backwards", "return_sequences", "given", "engine"), cases()
)
def test_outputs_states_and_gradients_equal_the_reference(
    name, mask, go_backwards, return_sequences, given, engine
):
    order = slice(None, None, -1 if go_backwards else 1)
    with double_precision():
        layer = RNN(
            make(name, dtype="float64"),
            return_sequences=return_sequences,
            return_state=True,
            go_backwards=go_backwards,
            engine=engine,
            dtype="float64",
        )
        built(layer)
        states = initial_states(layer.cell) if given else []
        x = normal(BATCH, TIME, FEATURES, seed=1)
        found = run_layer(layer, [x, *states], mask=as_mask(mask))
    start = states or [np.zeros((BATCH, size)) for size in layer.cell.state_size]
    mask = np.ones((BATCH, TIME), bool) if mask == "none" else as_mask(mask)
    mask = mask[:, order]
    shown = np.logical_or.accumulate(mask, axis=1)[..., np.newaxis]
    if BACKEND == "jax":  # its loop outputs the initial state
        shown = np.ones_like(shown)
    by_outputs = np.zeros((BATCH, TIME, layer.cell.state_size[0]))
    returned = slice(None) if return_sequences else -1
    by_outputs[:, returned] = loss_weights(by_outputs[:, returned].shape, 0)
    by_last = [loss_weights(one.shape, n + 1) for n, one in enumerate(start)]
    weights = layer.get_weights()
    every, last, (dx, d_states, d_weights) = run(
        VARIANTS[name], x[:, order], start, weights, mask, by_outputs * shown, by_last
    )
    outputs = [(every * shown)[:, returned], *last]
    gradients = [*d_weights, dx[:, order], *(d_states if given else [])]
    assert_all_close(
        found,
        (outputs, gradients),
        "float64" if BACKEND == "tensorflow" else "float32",
        # Layer normalisation divides by small numbers.
        tolerance=1e-11 if BACKEND == "tensorflow" else 5e-5,
    )


@pytest.mark.thorough
@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
@every_variant
def test_half_precision_stays_near_float32(name, dtype):
    x, results = normal(BATCH, TIME, FEATURES), []
    for policy in (dtype, "float32"):
        layer = built(RNN(make(name, dtype=policy), engine="loop", dtype=policy))
        results.append(layer(x))
    assert_all_close(*results, tolerance=0.03 if dtype == "mixed_float16" else 0.2)


@every_variant
def test_every_argument_survives_its_configuration(name):
    own = OWN_ARGUMENTS.get(name, {})
    arguments = {**NOT_DEFAULT_OF_CELL, **own}
    cell = getattr(variants, name, LSTMCell)
    config = json.loads(json.dumps(cell(**arguments).get_config()))
    assert cell.from_config(config).get_config() == config
    signature = inspect.signature(cell).parameters
    assert {*NOT_DEFAULT_OF_CELL, *own} <= set(config)
    assert set(own) <= set(signature)


@each_variant
def test_a_saved_model_computes_the_same(name, tmp_path):
    x = keras.Input((TIME, FEATURES))
    model = keras.Model(x, RNN(make(name), return_sequences=True, engine="loop")(x))
    randomize_weights(model)
    model.save(tmp_path / "model.keras")
    reopened = keras.saving.load_model(tmp_path / "model.keras")
    inputs = normal(BATCH, TIME, FEATURES)
    assert_all_close(reopened(inputs), model(inputs))


@pytest.mark.thorough
def test_a_model_with_a_variant_opens_in_a_fresh_process(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((TIME, FEATURES)),
            layers.RNN(make("PeepholeLSTMCell"), return_sequences=True),
            RNN([make("CoupledLSTMCell"), make("SLSTMCell")], return_sequences=True),
            layers.Bidirectional(RNN(make("LayerNormLSTMCell"))),
        ]
    )
    model.save(tmp_path / "model.keras")
    program = (
        "import lstm_keras, keras\n"
        "print(keras.saving.load_model('model.keras').count_params())\n"
    )
    found = run_python(program, cwd=tmp_path, KERAS_BACKEND=BACKEND)
    assert int(found.split()[-1]) == model.count_params()


@every_variant
def test_new_biases_of_the_forget_gate_are_one(name):
    cell = make(name)
    cell.build((BATCH, FEATURES))
    expected = [float(part == "f") for part in cell.parts for _ in range(cell.units)]
    np.testing.assert_array_equal(cell.get_weights()[2], expected)


WRAPPED = {
    "RNN": layers.RNN,
    "stacked": lambda cell, **k: layers.RNN([cell, LSTMCell(2)], **k),
    "bidirectional": lambda cell, **k: layers.Bidirectional(layers.RNN(cell, **k)),
}


@first_of("kind", [*WRAPPED][::-1])
@each_variant
def test_in_the_wrappers_of_keras_it_computes_what_ours_does(name, kind):
    x, mask = normal(BATCH, TIME, FEATURES), as_mask("holes")
    theirs = built(WRAPPED[kind](make(name), return_sequences=True))
    layer = {
        "RNN": lambda: [RNN(make(name), return_sequences=True)],
        "stacked": lambda: [
            RNN(make(name), return_sequences=True),
            RNN(LSTMCell(2), return_sequences=True),
        ],
        "bidirectional": lambda: [
            layers.Bidirectional(RNN(make(name), return_sequences=True))
        ],
    }[kind]()
    ours = keras.Sequential([keras.Input((TIME, FEATURES)), *layer])
    ours.set_weights(theirs.get_weights())
    with lstm_keras.engine_scope("loop"):
        found = ours(x, mask=mask)
    assert_all_close(found, theirs(x, mask=mask))


@each_variant
@pytest.mark.parametrize("go_backwards", BOTH)
def test_a_trace_shows_the_gates_of_every_step(name, go_backwards):
    layer = RNN(make(name), go_backwards=go_backwards, engine="loop")
    built(layer)
    x, mask = normal(BATCH, TIME, FEATURES, seed=1), as_mask("holes")
    states, weights = initial_states(layer.cell), layer.get_weights()
    (trace,) = lstm_keras.trace_gates(layer, x, states, mask).values()
    assert_all_close([trace.h0, trace.c0], states[:2])
    for t in range(TIME)[:: -1 if go_backwards else 1]:
        new, _, gates = VARIANTS[name].step_and_back(x[:, t], states, weights)
        on = mask[:, t]
        found = [getattr(trace, gate)[on, t] for gate in "ifgo"]
        assert_all_close(found, [gate[on] for gate in gates])
        states = [
            np.where(on[:, np.newaxis], *pair) for pair in zip(new, states, strict=True)
        ]
        assert_all_close([trace.h[:, t], trace.c[:, t]], states[:2])


# Zoneout in training.


def kept(engine, rates, time=40, units=64, rows=16, dtype="float32", seed=5):
    """Where h and c of an LSTM keep their values, in a layer's training."""
    cell = variants.ZoneoutLSTMCell(
        units, zoneout_h=rates[0], zoneout_c=rates[1], seed=seed, dtype=dtype
    )
    layer = RNN(cell, return_sequences=True, engine=engine, dtype=dtype)
    layer.build((rows, time, FEATURES))
    randomize_weights(layer)
    h = to_numpy(layer(normal(rows, time, FEATURES), training=True))[0]
    before = np.concatenate([np.zeros((rows, 1, units)), h[:, :-1]], axis=1)
    return h == before


@pytest.mark.parametrize("rate", [0.1, 0.6])
def test_zoneout_keeps_units_at_its_rate_independently_of_step_row_and_unit(rate):
    where = kept("loop", (rate, 0.0))
    near = 5 * np.sqrt(rate * (1 - rate) / where.size)
    assert where.mean() == pytest.approx(rate, abs=near)
    for axis in range(3):  # neighbours along each axis agree by chance only
        one = np.moveaxis(where, axis, 0)
        both = (one[1:] & one[:-1]).mean()
        assert both == pytest.approx(rate**2, abs=3 * near)


def test_zoneout_is_new_in_every_call_and_repeats_with_its_seed():
    first, again, other = (kept("loop", (0.3, 0.3), seed=s) for s in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.1


def test_zoneout_warns_where_a_keras_rnn_would_never_change_its_masks():
    layer = layers.RNN(make("ZoneoutLSTMCell", seed=1))
    x, states = normal(BATCH, TIME, FEATURES), initial_states(layer.cell)
    with pytest.warns(UserWarning, match="ZoneoutLSTMCell uses the same dropout masks"):
        first = layer(x, initial_state=states, training=True)
    layer.cell.next_dropout_masks()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        second = layer(x, initial_state=states, training=True)
    assert np.any(ops.convert_to_numpy(first != second))


def test_the_count_of_steps_goes_on_in_half_precision():
    count = np.array([[0.0, 0.0]])
    for _ in range(300):
        count = ops.cast(
            variants._next(ops.convert_to_tensor(count, "bfloat16")), "float32"
        )
    np.testing.assert_array_equal(
        ops.convert_to_numpy(count), [[300 % 128, 300 // 128]]
    )


@pytest.mark.thorough
@only_tensorflow
@pytest.mark.parametrize("name", ["ZoneoutLSTMCell", "PeepholeLSTMCell"])
@pytest.mark.parametrize("dropout", ["dropout", "recurrent_dropout"])
def test_in_training_an_engine_drops_what_the_loop_drops(name, dropout):
    x, runs = normal(20, TIME, FEATURES), []
    for engine in ENGINES:
        cell = make(name, seed=3, dtype="float64", **{dropout: 0.4})
        layer = built(RNN(cell, engine=engine, dtype="float64"))
        runs.append(run_layer(layer, [x], training=True))
    assert_all_close(*runs, "float64")


# How the layer runs a cell.


class Impure(LSTMCell):
    pure = True

    def build(self, input_shape):
        super().build(input_shape)
        self.calls = self.add_weight((), "zeros", trainable=False, name="calls")

    def call(self, inputs, states, training=False):
        self.calls.assign_add(1.0)
        return super().call(inputs, states, training)


class Noisy(LSTMCell):
    pure = True

    def call(self, inputs, states, training=False):
        import tensorflow as tf

        return super().call(inputs + tf.random.normal((1, 1)), states, training)


class Shifted(LSTMCell):
    pure = True

    def call(self, inputs, states, training=False):
        h, states = super().call(inputs, states, training)
        return h + 1, states


class Unsaid(variants.PeepholeLSTMCell):
    pass


@only_tensorflow
@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (Unsaid, "the class Unsaid does not say pure = True"),
        (Impure, "changes the variable .*calls"),
        (Noisy, "does more than compute: RandomStandardNormal"),
        (Shifted, "its output is not its first state"),
    ],
)
def test_a_cell_that_is_not_pure_takes_the_loop_and_the_reason_is_given(cell, reason):
    layer = built(RNN(cell(UNITS)))
    choice = layer.explain_engine()
    assert choice.engine == "loop"
    assert re.search(reason, choice.passed_over["xla"])
    x = normal(BATCH, TIME, FEATURES)
    assert layer(x).shape == (BATCH, UNITS)
    layer.engine = "xla"
    with pytest.raises(
        ValueError, match=f"engine='xla' cannot run this layer: .*{reason}"
    ):
        layer(x)


def test_the_choice_of_engine_follows_layer_backend_and_scope():
    layer = RNN(make("CoupledLSTMCell"))
    expected = "xla" if BACKEND == "tensorflow" else "loop"
    assert layer.explain_engine().engine == expected
    assert RNN(layers.GRUCell(3)).explain_engine().engine == expected
    assert RNN(layers.GRUCell(3, dropout=0.1)).explain_engine().engine == "loop"
    assert RNN(make("CoupledLSTMCell"), unroll=True).explain_engine().engine == "loop"
    with lstm_keras.engine_scope("loop"):
        assert layer.explain_engine().engine == "loop"
    with (
        lstm_keras.engine_scope("scan"),
        pytest.raises(ValueError, match=r"it runs lstm_keras\.LSTM alone"),
    ):
        layer.explain_engine()
    if BACKEND != "tensorflow":
        with pytest.raises(ValueError, match=f"the backend is {BACKEND}"):
            RNN(make("CoupledLSTMCell"), engine="xla")


@pytest.mark.thorough
@only_tensorflow
@pytest.mark.parametrize("cell", [layers.GRUCell, layers.SimpleRNNCell])
def test_a_cell_of_keras_is_compiled_too(cell):
    x, mask = normal(BATCH, TIME, FEATURES), as_mask("holes")
    pair = [
        built(kind(cell(UNITS), return_sequences=True)) for kind in (RNN, layers.RNN)
    ]
    assert pair[0].explain_engine().engine == "xla"
    assert_all_close(*(run_layer(one, [x], mask=mask) for one in pair))


@pytest.mark.thorough
@only_tensorflow
def test_fit_with_unknown_sizes_follows_the_loop():
    x, y = normal(50, 12, FEATURES).astype("float32"), normal(50, 1).astype("float32")
    losses = []
    for engine in ENGINES:
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [
                keras.Input((None, FEATURES)),
                layers.Masking(),
                RNN(make("LayerNormLSTMCell"), engine=engine),
                layers.Dense(1),
            ]
        )
        model.compile("adam", "mse")
        losses.append(
            model.fit(x, y, batch_size=16, epochs=3, verbose=0).history["loss"]
        )
    np.testing.assert_allclose(*losses, rtol=1e-5)
    assert losses[0][-1] < losses[0][0]


@pytest.mark.thorough
@only_tensorflow
def test_a_second_derivative_is_that_of_the_loop():
    import tensorflow as tf

    found = []
    for engine in ENGINES:
        layer = built(
            RNN(
                make("PeepholeLSTMCell", dtype="float64"),
                engine=engine,
                dtype="float64",
            )
        )
        x = tf.constant(normal(BATCH, TIME, FEATURES))
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                value = tf.reduce_sum(layer(x) ** 2)
            penalty = tf.reduce_sum(inner.gradient(value, x) ** 2)
        found.append(outer.gradient(penalty, [x, layer.cell.peepholes.value]))
    assert_all_close(*found, "float64")


def test_a_stateful_layer_carries_its_states():
    whole = built(RNN(make("PeepholeLSTMCell"), return_sequences=True, engine="loop"))
    parts = RNN(
        make("PeepholeLSTMCell"), return_sequences=True, stateful=True, engine="loop"
    )
    parts.build((BATCH, 3, FEATURES))
    parts.set_weights(whole.get_weights())
    x = normal(BATCH, 6, FEATURES)
    found = np.concatenate(
        [to_numpy(parts(x[:, a : a + 3]))[0] for a in (0, 3)], axis=1
    )
    assert_all_close(found, whole(x))
    assert len(parts.variables) == len(whole.variables) + 2
