"""What Keras's layer lacks: options, and recurrent dropout on engines.

Oracles: the NumPy reference in float64, and the loop. test_layer.py holds both against
Keras's layer, and the options' results on every engine against the reference.
"""

import json

import keras
import numpy as np
import pytest

from lstm_keras import LSTM
from lstm_keras.reference import lstm_forward
from tests.helpers.equality import (
    BACKEND,
    ENGINES,
    FEATURES,
    TIME,
    UNITS,
    as_mask,
    assert_all_close,
    built,
    double_precision,
    inputs_and_states,
    randomize_weights,
    run_layer,
)
from tests.helpers.pairwise import first_of, pairwise

BOTH = [False, True]
X = inputs_and_states()[0].astype("float32")
# Engines that can drop the hidden state.
every_dropping_engine = pytest.mark.parametrize(
    "engine", [name for name in ENGINES if name in ("xla", "scan")]
)


@pairwise(return_sequences=BOTH, return_state=BOTH, return_cell_states=BOTH)
def test_the_symbolic_shapes_and_masks_are_those_of_a_call(
    return_sequences, return_state, return_cell_states
):
    layer = LSTM(
        UNITS,
        return_sequences=return_sequences,
        return_state=return_state,
        return_cell_states=return_cell_states,
    )
    masked = keras.layers.Masking()(keras.Input((None, FEATURES)))
    symbolic, called = map(keras.tree.flatten, (layer(masked), layer(X)))
    time = (None,) * return_sequences
    outputs, states = 1 + return_cell_states, 2 * return_state
    expected = [(None, *time, UNITS)] * outputs + [(None, UNITS)] * states
    assert [tensor.shape for tensor in symbolic] == expected
    assert [(None, *time, tensor.shape[-1]) for tensor in called[:outputs]] == (
        expected[:outputs]
    )
    assert len(called) == len(symbolic)
    masks = [getattr(tensor, "_keras_mask", None) for tensor in symbolic]
    has_mask = [return_sequences] * outputs + [False] * states
    assert [mask is not None for mask in masks] == has_mask


@pytest.mark.parametrize("return_state", BOTH)
def test_bidirectional_returns_the_cell_states_of_both_directions(return_state):
    mask = as_mask("holes")
    options = {"return_sequences": True, "return_cell_states": True}
    layer = LSTM(UNITS, return_state=return_state, **options)
    both = built(keras.layers.Bidirectional(layer))
    h, *rest = both(X, mask=mask)
    one_way = len(rest) // 2
    forth, back = both.forward_layer, both.backward_layer
    a = lstm_forward(X, *forth.get_weights(), mask=mask)
    b = lstm_forward(X[:, ::-1], *back.get_weights(), mask=mask[:, ::-1])
    # Bidirectional asks for zeros at masked steps.
    merged = np.concatenate([a.outputs(True), b.outputs(True)[:, ::-1]], axis=-1)
    expected = [a.c * a.output_mask(True), b.c * b.output_mask(True)]
    assert_all_close([h, rest[0], rest[one_way]], [merged, *expected])
    if return_state:
        last = [a.h_last, a.c_last, b.h_last, b.c_last]
        assert_all_close(rest[1:3] + rest[4:6], last)


# The learned initial state.


def test_a_given_initial_state_replaces_the_learned_one():
    layer, plain = built(LSTM(UNITS, learn_initial_state=True)), built(LSTM(UNITS))
    assert layer.initial_h.shape == layer.initial_c.shape == (1, UNITS)
    plain.set_weights(layer.get_weights()[2:])
    x, *states = inputs_and_states()
    assert_all_close(*(one(x, initial_state=states) for one in (layer, plain)))


def test_a_new_layer_starts_from_zeros():
    layer = LSTM(UNITS, learn_initial_state=True)
    layer.build(X.shape)
    forward = lstm_forward(X, *layer.get_weights()[2:])
    assert_all_close(layer(X), forward.h_last)


def test_a_stateful_layer_learns_no_initial_state():
    with pytest.raises(ValueError, match="expected stateful=False with learn_initial"):
        LSTM(UNITS, stateful=True, learn_initial_state=True)


def test_both_directions_learn_an_initial_state_of_their_own():
    both = built(keras.layers.Bidirectional(LSTM(UNITS, learn_initial_state=True)))
    names = [weight.name for weight in both.weights]
    assert names.count("initial_h") == names.count("initial_c") == 2
    assert len({weight.path for weight in both.weights}) == 10


def test_the_options_survive_configuration_and_saving(tmp_path):
    options = {"return_cell_states": True, "learn_initial_state": True}
    options |= {"engine": "loop"}
    config = json.loads(json.dumps(LSTM(UNITS, **options).get_config()))
    assert options.items() <= config.items()
    assert not config["return_state"]
    assert LSTM.from_config(config).get_config() == config
    # Keras's layer takes what is left where they are not used.
    assert not options.keys() & LSTM(UNITS).get_config().keys()

    x = keras.Input((TIME, FEATURES))
    model = keras.Model(x, LSTM(UNITS, return_sequences=True, **options)(x))
    randomize_weights(model)
    model.save(tmp_path / "model.keras")
    reopened = keras.saving.load_model(tmp_path / "model.keras")
    assert_all_close(reopened(X), model(X))


# Recurrent dropout on engines.


@every_dropping_engine
@first_of("mask", ["holes", "none"])
@first_of("rates", [(0.4, 0.3), (0.0, 0.4), (0.3, 1.0)])
def test_recurrent_dropout_of_an_engine_is_that_of_the_loop(rates, mask, engine):
    options = {
        "dropout": rates[0],
        "recurrent_dropout": rates[1],
        "seed": 3,
        "return_sequences": True,
        "return_state": True,
        "return_cell_states": True,
        "go_backwards": True,
        "dtype": "float64",
    }
    with double_precision():
        pair = [built(LSTM(UNITS, engine=one, **options)) for one in (engine, "loop")]
        tolerance = 1e-11 if BACKEND == "tensorflow" else 1e-5
        for _ in range(2):  # new masks with every call
            runs = (run_layer(one, mask=as_mask(mask), training=True) for one in pair)
            assert_all_close(*runs, tolerance=tolerance)


@every_dropping_engine
def test_training_with_recurrent_dropout_takes_an_engine(engine):
    layer = LSTM(UNITS, recurrent_dropout=0.2)
    assert layer.explain_engine(training=True).engine == engine
