"""`lstm_keras.LSTMCell` is held against `keras.layers.LSTMCell` and the reference."""

import inspect
import json
import warnings

import keras
import numpy as np
import pytest
from keras import ops

from lstm_keras import LSTMCell
from lstm_keras.reference import lstm_backward, lstm_forward, lstm_step
from tests.helpers.arguments import NOT_DEFAULT_OF_CELL
from tests.helpers.equality import (
    BATCH,
    FEATURES,
    TIME,
    UNITS,
    adding_weights,
    assert_all_close,
    cell_pair,
    inputs_and_states,
    loss_weights,
    normal,
    outputs_and_gradients,
    pass_through_weights,
    randomize_weights,
    to_numpy,
)
from tests.helpers.pairwise import first_of


def step_arrays():
    sequences, h, c = inputs_and_states()
    return [sequences[:, 0], h, c]


def call_once(cell, training=False):
    def call(x, h, c):
        output, states = cell(x, [h, c], training=training)
        return [output, *states]

    return outputs_and_gradients(cell, call, step_arrays())


def rnn_pair(make_cells, input_shape=(BATCH, TIME, FEATURES), **arguments):
    """`keras.layers.RNN` of our cells and of Keras's, with equal random weights."""
    pair = [
        keras.layers.RNN(make_cells(cell), **arguments)
        for cell in (LSTMCell, keras.layers.LSTMCell)
    ]
    for layer in pair:
        layer.build(input_shape)
    randomize_weights(pair[1])
    pair[0].set_weights(pair[1].get_weights())
    return pair


# One step.


def test_a_step_gives_the_textbook_numbers():
    cell = LSTMCell(1)
    cell.build((1, 1))
    cell.set_weights([np.ones((1, 4)), np.ones((1, 4)), np.zeros(4)])
    one, half, zero = (ops.full((1, 1), number) for number in (1.0, 0.5, 0.0))
    output, h, c = to_numpy(cell(one, [half, zero]))
    # z = 1 + 0.5 in every block; c = 0.8176 * 0.9051; h = 0.8176 * tanh(c).
    assert c == pytest.approx(0.7400, abs=5e-5)
    assert h == output == pytest.approx(0.5144, abs=5e-5)


@pytest.mark.parametrize("use_bias", [True, False])
def test_a_step_and_its_gradients_equal_the_reference(use_bias):
    cell = LSTMCell(UNITS, use_bias=use_bias)
    cell.build((BATCH, FEATURES))
    randomize_weights(cell)
    x, h0, c0 = step_arrays()
    weights = cell.get_weights()

    outputs, gradients = call_once(cell)

    step = lstm_step(x, h0, c0, *weights)
    assert_all_close(outputs, [step.h, step.h, step.c])
    w, v, u = (loss_weights(h0.shape, number) for number in range(3))
    expected = lstm_backward(
        lstm_forward(x[:, np.newaxis], *weights, h0=h0, c0=c0),
        dh_last=w + v,
        dc_last=u,
    )
    bias = [expected.bias] if use_bias else []
    assert_all_close(
        gradients,
        [
            expected.kernel,
            expected.recurrent_kernel,
            *bias,
            expected.x[:, 0],
            expected.h0,
            expected.c0,
        ],
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"use_bias": False},
        {"activation": "relu", "recurrent_activation": "hard_sigmoid"},
        {"activation": None, "recurrent_activation": None},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_a_step_and_its_gradients_equal_keras(arguments, dtype):
    ours, builtin = cell_pair(dtype=dtype, **arguments)
    for actual, expected in zip(call_once(ours), call_once(builtin), strict=True):
        assert_all_close(actual, expected, dtype)


@pytest.mark.parametrize("unit_forget_bias", [True, False])
@pytest.mark.parametrize("initializer", ["zeros", "seeded normal"])
def test_the_initial_weights_equal_keras(unit_forget_bias, initializer):
    def biases(cell_class):
        keras.utils.set_random_seed(5)
        bias_initializer = (
            keras.initializers.RandomNormal(seed=3)
            if initializer == "seeded normal"
            else initializer
        )
        cell = cell_class(
            UNITS, unit_forget_bias=unit_forget_bias, bias_initializer=bias_initializer
        )
        cell.build((BATCH, FEATURES))
        return cell.get_weights()

    ours = biases(LSTMCell)
    for actual, expected in zip(ours, biases(keras.layers.LSTMCell), strict=True):
        np.testing.assert_array_equal(actual, expected)
    forget_bias = ours[2][UNITS : 2 * UNITS]
    assert np.all(forget_bias == 1) == unit_forget_bias


def test_the_initial_state_is_zeros_of_the_state_size():
    cell = LSTMCell(UNITS)
    assert cell.state_size == [UNITS, UNITS]
    assert cell.output_size == UNITS
    for state in cell.get_initial_state(batch_size=BATCH):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(state), np.zeros((BATCH, UNITS))
        )


# In Keras's loop over time.


@pytest.mark.parametrize("unroll", [False, True])
def test_in_a_keras_rnn_it_equals_the_cell_of_keras(unroll):
    ours, builtin = rnn_pair(
        lambda cell: cell(UNITS),
        unroll=unroll,
        return_sequences=True,
        return_state=True,
    )
    x, h, c = inputs_and_states()
    mask = np.array([[1, 1, 1, 1, 1, 1, 0], [0, 1, 1, 0, 1, 1, 1], [1] * 7], bool)

    def run(layer):
        return outputs_and_gradients(
            layer,
            lambda x, h, c: layer(x, initial_state=[h, c], mask=mask),
            [x, h, c],
        )

    for actual, expected in zip(run(ours), run(builtin), strict=True):
        assert_all_close(actual, expected)


def test_stacked_cells_equal_keras():
    ours, builtin = rnn_pair(
        lambda cell: keras.layers.StackedRNNCells([cell(UNITS), cell(UNITS - 2)]),
        return_sequences=True,
        return_state=True,
    )

    def run(layer):
        return outputs_and_gradients(layer, layer, inputs_and_states()[:1])

    for actual, expected in zip(run(ours), run(builtin), strict=True):
        assert_all_close(actual, expected)


def test_it_works_in_a_bidirectional_rnn():
    x = inputs_and_states()[0]
    forward, backward = (
        keras.layers.Bidirectional(keras.layers.RNN(cell(UNITS), return_sequences=True))
        for cell in (LSTMCell, keras.layers.LSTMCell)
    )
    forward(x)
    backward(x)
    forward.set_weights(backward.get_weights())
    assert_all_close(forward(x), backward(x))


# Dropout.


@first_of("rates", [(0.4, 0.3), (0.4, 0.0), (0.0, 0.4), (0.3, 1.0)])
def test_dropout_in_a_keras_rnn_equals_keras_with_the_same_seed(rates):
    dropout, recurrent_dropout = rates
    ours, builtin = rnn_pair(
        lambda cell: cell(
            UNITS, dropout=dropout, recurrent_dropout=recurrent_dropout, seed=3
        ),
        return_sequences=True,
    )
    x = inputs_and_states()[0]
    for _ in range(3):
        assert_all_close(ours(x, training=True), builtin(x, training=True))


def test_dropout_in_stacked_cells_equals_keras_with_the_same_seeds():
    ours, builtin = rnn_pair(
        lambda cell: [
            cell(UNITS, dropout=0.4, recurrent_dropout=0.3, seed=seed)
            for seed in (3, 4)
        ],
        return_sequences=True,
    )
    x = inputs_and_states()[0]
    for _ in range(3):
        assert_all_close(ours(x, training=True), builtin(x, training=True))


def linear_cell(units=FEATURES, **arguments):
    return LSTMCell(units, activation=None, seed=1, **arguments)


RNNS = {
    "one cell": lambda cell: keras.layers.RNN(cell, return_sequences=True),
    "unrolled": lambda cell: keras.layers.RNN(cell, return_sequences=True, unroll=True),
    "stacked": lambda cell: keras.layers.RNN(
        [cell, linear_cell()], return_sequences=True
    ),
}
every_rnn = pytest.mark.parametrize("make_rnn", RNNS.values(), ids=RNNS.keys())


def built_for_many_rows(rnn, set_weights):
    """Give the weights to the (first) cell; a second one passes its inputs through."""
    rnn.build((64, TIME, FEATURES))
    first, *others = getattr(rnn.cell, "cells", [rnn.cell])
    set_weights(first)
    for cell in others:
        pass_through_weights(cell)
    return rnn


def run_on_ones(rnn, training):
    ones = np.ones((64, TIME, FEATURES))
    return ops.convert_to_numpy(rnn(ones, training=training))


@every_rnn
def test_the_inputs_are_dropped_by_the_same_mask_at_every_step(make_rnn):
    rnn = built_for_many_rows(make_rnn(linear_cell(dropout=0.5)), pass_through_weights)
    masks = run_on_ones(rnn, training=True)
    np.testing.assert_array_equal(np.unique(masks), [0, 2])
    np.testing.assert_array_equal(masks, masks[:, :1].repeat(TIME, axis=1))


@every_rnn
def test_the_states_are_dropped_by_the_same_mask_at_every_step(make_rnn):
    rnn = built_for_many_rows(
        make_rnn(linear_cell(recurrent_dropout=0.5)), adding_weights
    )
    h = run_on_ones(rnn, training=True)
    # h_t = 1 + mask * h_{t-1}, where the mask is 0 or 2: h stays 1, or is 2^t - 1.
    dropped = h[:, 1] == 1
    assert 0 < dropped.sum() < dropped.size
    for step in range(TIME):
        np.testing.assert_array_equal(
            h[:, step], np.where(dropped, 1, 2 ** (step + 1) - 1)
        )


@every_rnn
def test_every_call_of_the_rnn_draws_new_masks(make_rnn):
    rnn = built_for_many_rows(make_rnn(linear_cell(dropout=0.5)), pass_through_weights)
    first, second = (run_on_ones(rnn, training=True) for _ in range(2))
    assert not np.array_equal(first, second)


@every_rnn
def test_nothing_is_dropped_in_inference(make_rnn):
    cell = linear_cell(dropout=0.5, recurrent_dropout=0.5)
    rnn = built_for_many_rows(make_rnn(cell), pass_through_weights)
    np.testing.assert_array_equal(run_on_ones(rnn, training=False), 1)


def test_a_loop_of_the_user_draws_new_masks_between_sequences():
    cell = linear_cell(dropout=0.5)
    cell.build((64, FEATURES))
    pass_through_weights(cell)

    def masks():
        states = cell.get_initial_state(64)
        x = ops.ones((64, FEATURES))
        return [
            ops.convert_to_numpy(cell(x, states, training=True)[0]) for _ in range(2)
        ]

    first, second = masks()
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, masks()[0])


def test_held_masks_are_the_masks_of_the_sequence_and_end_with_the_block():
    cell = LSTMCell(UNITS, dropout=0.5, recurrent_dropout=0.5, seed=1)
    cell.build((BATCH, FEATURES))
    x, h, c = (ops.convert_to_tensor(a, "float32") for a in step_arrays())
    cell.next_dropout_masks()
    free = cell(x, [h, c], training=True)
    with cell.held_dropout_masks(x, h):
        held = cell(x, [h, c], training=True)
        cell.next_dropout_masks()
        still_held = cell(x, [h, c], training=True)
    assert_all_close(held, free)
    assert_all_close(still_held, free)
    after = cell(x, [h, c], training=True)
    assert np.abs(ops.convert_to_numpy(after[0] - free[0])).max() > 1e-3


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_the_rate_is_the_fraction_dropped(rate):
    count = 20_000
    cell = linear_cell(1, dropout=rate)
    cell.build((count, 1))
    pass_through_weights(cell)
    output, _ = cell(ops.ones((count, 1)), cell.get_initial_state(count), training=True)
    dropped = ops.convert_to_numpy(output) == 0
    # Five standard deviations of a binomial distribution.
    assert dropped.mean() == pytest.approx(
        rate, abs=5 * np.sqrt(rate * (1 - rate) / count)
    )


# Weights, configuration and contract.


def test_weights_have_the_names_shapes_and_packing_of_keras():
    ours, builtin = cell_pair()
    assert [(w.name, tuple(w.shape)) for w in ours.weights] == [
        (w.name, tuple(w.shape)) for w in builtin.weights
    ]


def test_the_signature_is_that_of_keras():
    ours = inspect.signature(LSTMCell).parameters
    builtin = inspect.signature(keras.layers.LSTMCell).parameters
    assert [(p.name, p.default) for p in ours.values()] == [
        (p.name, p.default) for p in builtin.values()
    ]


def test_every_argument_survives_its_configuration():
    arguments = inspect.signature(LSTMCell).parameters
    assert set(NOT_DEFAULT_OF_CELL) == set(arguments) - {"kwargs"}
    for name, value in NOT_DEFAULT_OF_CELL.items():
        assert value != arguments[name].default, name

    cell = LSTMCell(
        **NOT_DEFAULT_OF_CELL, name="memory", trainable=False, dtype="float16"
    )
    config = json.loads(json.dumps(cell.get_config()))
    builtin = keras.layers.LSTMCell(
        **NOT_DEFAULT_OF_CELL, name="memory", trainable=False, dtype="float16"
    )
    assert config == json.loads(json.dumps(builtin.get_config()))
    assert LSTMCell.from_config(config).get_config() == cell.get_config()


def test_configurations_are_exchanged_with_keras():
    ours, builtin = (
        LSTMCell(**NOT_DEFAULT_OF_CELL),
        keras.layers.LSTMCell(**NOT_DEFAULT_OF_CELL),
    )
    for made in (
        LSTMCell.from_config(builtin.get_config()),
        keras.layers.LSTMCell.from_config(ours.get_config()),
    ):
        made.build((BATCH, FEATURES))
        assert made.units == NOT_DEFAULT_OF_CELL["units"]
        assert made.dropout == NOT_DEFAULT_OF_CELL["dropout"]


def test_a_registered_cell_is_deserialized_without_custom_objects():
    serialized = keras.saving.serialize_keras_object(LSTMCell(**NOT_DEFAULT_OF_CELL))
    restored = keras.saving.deserialize_keras_object(serialized)
    assert type(restored) is LSTMCell
    assert (
        restored.get_config()
        == LSTMCell(**NOT_DEFAULT_OF_CELL, name=restored.name).get_config()
    )


def test_the_arguments_of_the_constructor_are_public_properties():
    cell = LSTMCell(**NOT_DEFAULT_OF_CELL)
    builtin = keras.layers.LSTMCell(**NOT_DEFAULT_OF_CELL)
    for name in NOT_DEFAULT_OF_CELL:
        ours, expected = getattr(cell, name), getattr(builtin, name)
        assert ours == expected or ours is expected, name


# Errors.


@pytest.mark.parametrize("units", [0, -1, 2.5, True, "3", None])
def test_units_must_be_a_positive_integer(units):
    with pytest.raises(
        ValueError, match=f"expected units to be a positive integer; received {units!r}"
    ):
        LSTMCell(units)


def test_units_may_be_a_numpy_integer():
    assert LSTMCell(np.int64(3)).get_config()["units"] == 3


@pytest.mark.parametrize("name", ["dropout", "recurrent_dropout"])
@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan"), "a", None])
def test_a_dropout_must_be_a_fraction(name, rate):
    with pytest.raises(
        ValueError, match=rf"expected {name} to be in \[0, 1\]; received .*={rate!r}"
    ):
        LSTMCell(UNITS, **{name: rate})


@pytest.mark.parametrize(("shape", "found"), [((BATCH,), 1), ((BATCH, TIME, 4), 3)])
def test_inputs_must_have_two_dimensions(shape, found):
    cell = LSTMCell(UNITS)
    cell.build((BATCH, FEATURES))
    with pytest.raises(ValueError, match=f"expected ndim=2, found ndim={found}"):
        cell(np.ones(shape), cell.get_initial_state(BATCH))


def test_inputs_must_have_the_features_it_was_built_with():
    cell = LSTMCell(UNITS)
    cell.build((BATCH, FEATURES))
    with pytest.raises(ValueError, match=r"to have value 4, but received .*\(3, 6\)"):
        cell(normal(BATCH, 6), cell.get_initial_state(BATCH))


@pytest.mark.parametrize("shapes", [[(BATCH, 5)], [(BATCH, 5), (BATCH, 6)]], ids=str)
def test_states_must_be_h_and_c_of_the_right_shape(shapes):
    cell = LSTMCell(5)
    with pytest.raises(ValueError, match=r"\(batch, 5\); received shapes"):
        cell(normal(BATCH, FEATURES), [normal(*shape) for shape in shapes])


def test_a_warning_tells_of_a_keras_rnn_that_would_never_change_the_masks():
    rnn = keras.layers.RNN(LSTMCell(5, dropout=0.5, seed=1))
    x, states = normal(BATCH, 7, FEATURES), [normal(BATCH, 5), normal(BATCH, 5)]
    with pytest.warns(UserWarning, match="the same dropout masks in every batch"):
        rnn(x, initial_state=states, training=True)
    rnn.cell.next_dropout_masks()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        rnn(x, initial_state=states, training=True)
