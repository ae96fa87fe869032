"""The options that Keras's layer lacks, and recurrent dropout on engines.

Oracles: the NumPy reference in float64, and the loop, which test_layer.py holds against
Keras's layer.
"""

import json

import keras
import numpy as np
import pytest

from lstm_keras import LSTM, LSTMCell, to_builtin, trace_gates
from lstm_keras.reference import lstm_forward
from tests.helpers.equality import (
    BACKEND,
    BATCH,
    ENGINES,
    EVERY_ENGINE,
    FEATURES,
    MASKS,
    TIME,
    UNITS,
    as_mask,
    assert_all_close,
    double_precision,
    inputs_and_states,
    normal,
    randomize_weights,
    reference_results,
    run_layer,
)
from tests.helpers.pairwise import first_of, pairwise

holes_first = first_of("mask", sorted(MASKS, key=lambda name: name != "holes"))
# Engines that can drop the hidden state.
DROPPING = [name for name in ENGINES if name in ("xla", "scan")]


def built(**arguments):
    """A layer with random weights, and random vectors where it learned its states."""
    layer = LSTM(UNITS, **arguments)
    layer.build((BATCH, TIME, FEATURES))
    randomize_weights(layer)
    return layer


# The cell state of every step.


def keras_can(engine, mask, go_backwards, zero_output_for_mask):
    """Return whether Keras's loop, which ours builds on, takes the arguments.

    Unrolled it reverses no mask, and on JAX it ignores `zero_output_for_mask`: see
    CONTRIBUTING.md.
    """
    if engine != "unrolled loop":
        return True
    ignored = BACKEND == "jax" and zero_output_for_mask
    return not ignored and (mask == "none" or not go_backwards)


@pairwise(
    keras_can,
    engine=EVERY_ENGINE,
    mask=MASKS,
    go_backwards=[False, True],
    zero_output_for_mask=[False, True],
)
def test_every_cell_state_and_its_gradients_equal_the_reference(
    engine, mask, go_backwards, zero_output_for_mask
):
    mask = as_mask(mask)
    with double_precision():
        layer = built(
            return_sequences=True,
            return_state=True,
            return_cell_states=True,
            go_backwards=go_backwards,
            zero_output_for_mask=zero_output_for_mask,
            dtype="float64",
            **EVERY_ENGINE[engine],
        )
        found = run_layer(layer, mask=mask)
        expected = reference_results(layer, mask=mask)
        # keras.ops.matmul of float64 gives float32 on the other backends.
        exact = BACKEND == "tensorflow" or engine == "scan"
        for actual, right in zip(found, expected, strict=True):
            assert_all_close(actual, right, "float64" if exact else "float32")


@pytest.mark.parametrize("engine", EVERY_ENGINE)
def test_the_last_cell_state_comes_beside_the_last_output(engine):
    layer = built(return_cell_states=True, **EVERY_ENGINE[engine])
    x, h0, c0 = inputs_and_states()
    mask = as_mask("right")
    forward = lstm_forward(x, *layer.get_weights(), h0=h0, c0=c0, mask=mask)
    h, c = layer(x.astype("float32"), initial_state=[h0, c0], mask=mask)
    assert_all_close([h, c], [forward.h_last, forward.c_last])


@pytest.mark.parametrize("return_state", [False, True])
@pytest.mark.parametrize("return_sequences", [False, True])
def test_the_symbolic_shapes_and_masks_are_those_of_a_call(
    return_sequences, return_state
):
    layer = LSTM(
        UNITS,
        return_sequences=return_sequences,
        return_state=return_state,
        return_cell_states=True,
    )
    masked = keras.layers.Masking()(keras.Input((TIME, FEATURES)))
    symbolic, called = layer(masked), layer(np.ones((2, TIME, FEATURES), "float32"))
    assert len(symbolic) == len(called) == (4 if return_state else 2)
    for one, other in zip(symbolic, called, strict=True):
        assert one.shape[1:] == tuple(other.shape)[1:]
    masks = [getattr(tensor, "_keras_mask", None) for tensor in symbolic]
    has_mask = [return_sequences] * 2 + [False] * (2 * return_state)
    assert [mask is not None for mask in masks] == has_mask


@pytest.mark.parametrize("return_state", [False, True])
def test_bidirectional_returns_the_cell_states_of_both_directions(return_state):
    x, mask = inputs_and_states()[0].astype("float32"), as_mask("holes")
    both = keras.layers.Bidirectional(
        LSTM(
            UNITS,
            return_sequences=True,
            return_state=return_state,
            return_cell_states=True,
        )
    )
    both(x, mask=mask)
    randomize_weights(both)
    h, *rest = both(x, mask=mask)
    one_way = len(rest) // 2
    forth, back = both.forward_layer, both.backward_layer
    a = lstm_forward(x, *forth.get_weights(), mask=mask)
    b = lstm_forward(x[:, ::-1], *back.get_weights(), mask=mask[:, ::-1])
    # Bidirectional asks for zeros at masked steps.
    merged = np.concatenate([a.outputs(True), b.outputs(True)[:, ::-1]], axis=-1)
    expected = [a.c * a.output_mask(True), b.c * b.output_mask(True)]
    assert_all_close([h, rest[0], rest[one_way]], [merged, *expected])
    if return_state:
        last = [a.h_last, a.c_last, b.h_last, b.c_last]
        assert_all_close(rest[1:3] + rest[4:6], last)


# The learned initial state.


@holes_first
@pytest.mark.parametrize("engine", EVERY_ENGINE)
def test_a_learned_initial_state_and_its_gradient_equal_the_reference(engine, mask):
    mask = as_mask(mask)
    layer = built(return_state=True, learn_initial_state=True, **EVERY_ENGINE[engine])
    assert layer.initial_h.shape == layer.initial_c.shape == (1, UNITS)
    x = inputs_and_states()[0]
    found = run_layer(layer, [x], mask=mask)
    expected = reference_results(layer, [x], mask=mask)
    for actual, right in zip(found, expected, strict=True):
        assert_all_close(actual, right)


def test_a_given_initial_state_replaces_the_learned_one():
    layer = built(learn_initial_state=True)
    plain = built()
    plain.set_weights(layer.get_weights()[2:])
    x, h, c = inputs_and_states()
    assert_all_close([layer(x, initial_state=[h, c])], [plain(x, initial_state=[h, c])])


def test_a_new_layer_learns_its_initial_state_from_zeros():
    layer = LSTM(UNITS, learn_initial_state=True)
    x = inputs_and_states()[0].astype("float32")
    plain = LSTM(UNITS)
    plain.build(x.shape)
    layer.build(x.shape)
    plain.set_weights(layer.get_weights()[2:])
    assert_all_close([layer(x)], [plain(x)])
    model = keras.Sequential([layer])
    model.compile("sgd", "mse")
    model.fit(x, np.ones((BATCH, UNITS)), verbose=0)
    assert all(np.abs(state).max() > 0 for state in layer.get_weights()[:2])


def test_a_stateful_layer_learns_no_initial_state():
    with pytest.raises(ValueError, match="expected stateful=False with learn_initial"):
        LSTM(UNITS, stateful=True, learn_initial_state=True)


def test_both_directions_learn_an_initial_state_of_their_own():
    both = keras.layers.Bidirectional(LSTM(UNITS, learn_initial_state=True))
    both(np.ones((2, TIME, FEATURES), "float32"))
    names = [weight.name for weight in both.weights]
    assert names.count("initial_h") == names.count("initial_c") == 2
    assert len({weight.path for weight in both.weights}) == 10


# Both, saved and looked into.


def test_the_options_survive_configuration_and_saving(tmp_path):
    options = {"return_cell_states": True, "learn_initial_state": True}
    config = json.loads(json.dumps(LSTM(UNITS, **options).get_config()))
    assert options.items() <= config.items()
    assert not config["return_state"]
    assert LSTM.from_config(config).get_config() == config
    # Keras's layer takes what is left where they are not used.
    assert not options.keys() & LSTM(UNITS).get_config().keys()

    x = keras.Input((TIME, FEATURES))
    h, c = LSTM(UNITS, return_sequences=True, **options)(x)
    model = keras.Model(x, [h, c])
    randomize_weights(model)
    model.save(tmp_path / "model.keras")
    reopened = keras.saving.load_model(tmp_path / "model.keras")
    inputs = inputs_and_states()[0]
    assert_all_close(
        reopened.predict(inputs, verbose=0), model.predict(inputs, verbose=0)
    )


def test_the_traced_states_are_those_that_the_layer_returns():
    x = keras.Input((TIME, FEATURES))
    h, c = LSTM(
        UNITS,
        return_sequences=True,
        return_cell_states=True,
        learn_initial_state=True,
    )(x)
    model = keras.Model(x, [h, c])
    randomize_weights(model)
    inputs = inputs_and_states()[0].astype("float32")
    trace = trace_gates(model, inputs)[0]
    assert_all_close([trace.h, trace.c], model.predict(inputs, verbose=0))
    h0, c0 = model.get_weights()[:2]
    assert_all_close([trace.h0[:1], trace.c0[:1]], [h0, c0])


@pytest.mark.parametrize("option", ["return_cell_states", "learn_initial_state"])
def test_an_option_that_keras_lacks_cannot_be_converted(option):
    layer = LSTM(UNITS, name="memory", **{option: True})
    layer.build((None, TIME, FEATURES))
    with pytest.raises(ValueError, match=option):
        to_builtin(layer)


# Keras's undocumented argument.


@pytest.mark.parametrize("make", [LSTM, LSTMCell])
@pytest.mark.parametrize("implementation", [1, 2])
def test_implementation_is_accepted_and_changes_nothing(make, implementation):
    layer = make(UNITS, implementation=implementation, name="memory")
    assert layer.get_config() == make(UNITS, name="memory").get_config()


# Recurrent dropout on engines.


@pytest.mark.parametrize("engine", DROPPING)
@holes_first
@first_of("rates", [(0.4, 0.3), (0.0, 0.4), (0.3, 1.0)])
def test_recurrent_dropout_of_an_engine_is_that_of_the_loop(rates, mask, engine):
    mask = as_mask(mask)
    with double_precision():
        pair = [
            built(
                dropout=rates[0],
                recurrent_dropout=rates[1],
                seed=3,
                return_sequences=True,
                return_state=True,
                return_cell_states=True,
                go_backwards=True,
                dtype="float64",
                engine=name,
            )
            for name in (engine, "loop")
        ]
        tolerance = 1e-11 if BACKEND == "tensorflow" else 1e-5
        for _ in range(2):  # new masks with every call
            runs = [run_layer(layer, mask=mask, training=True) for layer in pair]
            for actual, expected in zip(*runs, strict=True):
                assert_all_close(actual, expected, tolerance=tolerance)


@pytest.mark.parametrize("engine", DROPPING)
def test_training_with_recurrent_dropout_takes_an_engine(engine):
    layer = LSTM(UNITS, recurrent_dropout=0.2)
    assert layer.explain_engine(training=True).engine == engine


@pytest.mark.thorough
@pytest.mark.parametrize("engine", DROPPING)
def test_a_model_trains_with_recurrent_dropout_as_in_the_loop(engine):
    x = normal(24, TIME, FEATURES).astype("float32")

    def losses(name):
        keras.utils.set_random_seed(2)
        model = keras.Sequential(
            [LSTM(UNITS, recurrent_dropout=0.3, engine=name), keras.layers.Dense(1)]
        )
        model.compile("adam", "mse", jit_compile=BACKEND == "jax")
        y = x.mean(axis=(1, 2))[:, np.newaxis]
        return model.fit(x, y, batch_size=8, epochs=3, verbose=0).history["loss"]

    np.testing.assert_allclose(losses(engine), losses("loop"), rtol=1e-4)
