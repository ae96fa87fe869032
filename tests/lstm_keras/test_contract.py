"""What code for Keras's LSTM relies on: cell and layer against Keras's own.

Arguments, properties, weights and configuration are theirs, but for what only ours has.
"""

import inspect
import json

import keras
import numpy as np
import pytest

from lstm_keras import LSTM, LSTMCell
from tests.helpers.arguments import NOT_DEFAULT_OF_CELL, NOT_DEFAULT_OF_LAYER
from tests.helpers.equality import (
    BATCH,
    CELLS,
    FEATURES,
    HAS_CUDNN,
    LAYERS,
    TIME,
    UNITS,
    normal,
)

ONLY_OURS = {
    "engine": "auto",
    "return_cell_states": False,
    "learn_initial_state": False,
}
BATCH_SHAPE = {LSTMCell: (BATCH, FEATURES), LSTM: (BATCH, TIME, FEATURES)}
ours_and_keras = pytest.mark.parametrize(
    ("ours", "builtin"), [CELLS, LAYERS], ids=["cell", "layer"]
)
cell_and_layer = pytest.mark.parametrize("make", [LSTMCell, LSTM])


def not_default(kind):
    return NOT_DEFAULT_OF_CELL if kind in CELLS else NOT_DEFAULT_OF_LAYER


@ours_and_keras
def test_the_signatures_are_those_of_keras(ours, builtin):
    def described(function):
        parameters = inspect.signature(function).parameters.values()
        return [(one.name, one.default) for one in parameters]

    expected = described(builtin)
    if ours is LSTM:  # Keras takes the first of them by **kwargs
        expected[-1:-1] = [("zero_output_for_mask", False), *ONLY_OURS.items()]
    assert described(ours) == expected
    assert described(ours.call) == described(builtin.call)


@ours_and_keras
def test_every_argument_survives_its_configuration_and_keras_takes_it(ours, builtin):
    arguments, parameters = not_default(ours), inspect.signature(ours).parameters
    assert set(arguments) == set(parameters) - {"kwargs", *ONLY_OURS}
    for name, value in arguments.items():
        assert value != parameters[name].default, name

    of_layer = {"name": "memory", "trainable": False, "dtype": "float16"}
    made, expected = (one(**arguments, **of_layer) for one in (ours, builtin))
    config = json.loads(json.dumps(made.get_config()))
    forgotten_by_keras = {"use_cudnn": False} if ours is LSTM else {}
    of_keras = expected.get_config() | forgotten_by_keras
    assert config == json.loads(json.dumps(of_keras))
    assert ours.from_config(config).get_config() == made.get_config()
    assert builtin.from_config(config).get_config() == expected.get_config()
    serialized = keras.saving.serialize_keras_object(made)
    restored = keras.saving.deserialize_keras_object(serialized)
    assert type(restored) is ours
    assert restored.get_config() == made.get_config()


@ours_and_keras
def test_the_public_properties_are_those_of_keras(ours, builtin):
    made, expected = (one(**not_default(one)) for one in (ours, builtin))
    if ours is LSTM:  # the cell of Keras inherits more, to draw its dropout masks
        assert {name for name in dir(expected) if name[0] != "_"} <= set(dir(made))
    names = set(not_default(ours)) & set(dir(expected))
    assert names >= {"units", "activation", "dropout", "bias_constraint"}
    for name in names:
        actual, value = getattr(made, name), getattr(expected, name)
        assert actual == value or actual is value, name


@ours_and_keras
@pytest.mark.parametrize("unit_forget_bias", [True, False])
@pytest.mark.parametrize("seeded_bias", [True, False])
def test_new_weights_are_those_of_keras(ours, builtin, seeded_bias, unit_forget_bias):
    def new(kind):
        keras.utils.set_random_seed(5)
        seeded = keras.initializers.RandomNormal(seed=3)
        layer = kind(
            UNITS,
            name="memory",
            unit_forget_bias=unit_forget_bias,
            bias_initializer=seeded if seeded_bias else "zeros",
        )
        layer.build(BATCH_SHAPE[ours])
        return [(w.name, w.path) for w in layer.weights], layer.get_weights()

    (names, weights), (expected_names, expected) = new(ours), new(builtin)
    assert names == expected_names
    for actual, right in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(actual, right)
    assert np.all(weights[2][UNITS : 2 * UNITS] == 1) == unit_forget_bias


@cell_and_layer
def test_units_may_be_a_numpy_integer_and_keras_implementation_is_ignored(make):
    config = make(np.int64(3), implementation=1, name="memory").get_config()
    assert config == make(3, name="memory").get_config()


# Errors.


@cell_and_layer
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *(
            ({"units": units}, f"units to be a positive integer; received {units!r}")
            for units in [0, -1, 2.5, True, "3", None]
        ),
        *(
            ({name: rate}, rf"{name} to be in \[0, 1\]; received {name}={rate!r}")
            for name in ["dropout", "recurrent_dropout"]
            for rate in [-0.1, 1.1, float("nan"), "a", None]
        ),
    ],
    ids=str,
)
def test_a_wrong_argument_of_both_is_refused(make, arguments, message):
    with pytest.raises(ValueError, match=f"^expected {message}"):
        make(**{"units": UNITS, **arguments})


@pytest.mark.parametrize("use_cudnn", ["maybe", None, 2])
def test_use_cudnn_must_be_one_of_the_values_of_keras(use_cudnn):
    message = f"expected use_cudnn to be 'auto', True or False; received {use_cudnn!r}"
    with pytest.raises(ValueError, match=message):
        LSTM(UNITS, use_cudnn=use_cudnn)


@pytest.mark.skipif(HAS_CUDNN, reason="there is a GPU")
def test_use_cudnn_true_without_a_gpu_fails_when_called():
    message = "use_cudnn=True cannot run this layer: .*(needs a GPU|backend is jax)"
    with pytest.raises(ValueError, match=message):
        LSTM(UNITS, use_cudnn=True)(normal(*BATCH_SHAPE[LSTM]))


@cell_and_layer
def test_inputs_must_have_the_rank_and_features_it_was_built_with(make):
    layer, right = make(UNITS), BATCH_SHAPE[make]
    states = [[np.zeros((BATCH, UNITS))] * 2] * (make is LSTMCell)
    layer.build(right)
    for shape in (right[1:], (2, *right)):
        message = f"expected ndim={len(right)}, found ndim={len(shape)}"
        for inputs in (np.ones(shape), keras.Input(batch_shape=shape)):
            with pytest.raises(ValueError, match=message):
                layer(inputs, *states)
    with pytest.raises(ValueError, match=r"to have value 4, but received .*, 6\)"):
        layer(np.ones((*right[:-1], 6)), *states)
