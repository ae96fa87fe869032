"""`lstm_keras.LSTMCell` is held against `keras.layers.LSTMCell` and the reference."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops

from lstm_keras import LSTM, LSTMCell
from lstm_keras.reference import lstm_backward, lstm_forward, lstm_step
from tests.helpers.equality import (
    BATCH,
    CELLS,
    FEATURES,
    TIME,
    UNITS,
    as_mask,
    assert_all_close,
    built,
    equal_pair,
    inputs_and_states,
    loss_weights,
    normal,
    outputs_and_gradients,
    to_numpy,
)


def step_arrays():
    sequences, h, c = inputs_and_states()
    return [sequences[:, 0], h, c]


def call_once(cell):
    def call(x, h, c):
        output, states = cell(x, [h, c])
        return [output, *states]

    return outputs_and_gradients(cell, call, step_arrays())


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
    cell = built(LSTMCell(UNITS, use_bias=use_bias), (BATCH, FEATURES))
    x, h0, c0 = step_arrays()
    weights = cell.get_weights()
    step = lstm_step(x, h0, c0, *weights)
    w, v, u = (loss_weights(h0.shape, number) for number in range(3))
    forward = lstm_forward(x[:, np.newaxis], *weights, h0=h0, c0=c0)
    found = lstm_backward(forward, dh_last=w + v, dc_last=u)
    gradients = [found.kernel, found.recurrent_kernel, *[found.bias] * use_bias]
    gradients += [found.x[:, 0], found.h0, found.c0]
    assert_all_close(call_once(cell), [[step.h, step.h, step.c], gradients])


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"use_bias": False},
        {"activation": "relu", "recurrent_activation": "hard_sigmoid"},
        {"activation": None, "recurrent_activation": None},
        {"dtype": "mixed_float16"},
        {"dtype": "mixed_bfloat16"},
    ],
    ids=str,
)
def test_a_step_and_its_gradients_equal_keras(arguments):
    pair = equal_pair(lambda cell: cell(UNITS, **arguments), CELLS, (BATCH, FEATURES))
    tolerance = arguments.get("dtype", "float32")
    assert_all_close(*map(call_once, pair), tolerance)


def test_the_initial_state_is_zeros_of_the_state_size():
    cell = LSTMCell(UNITS)
    assert cell.state_size == [UNITS, UNITS]
    assert cell.output_size == UNITS
    zeros = [np.zeros((BATCH, UNITS))] * 2
    assert_all_close(cell.get_initial_state(batch_size=BATCH), zeros)


# In Keras's loop over time.


def in_rnn(cell, **arguments):
    return layers.RNN(cell, return_sequences=True, **arguments)


WRAPPED = {
    "RNN": lambda cell, **k: in_rnn(cell(UNITS, **k), return_state=True),
    "unrolled": lambda cell, **k: in_rnn(cell(UNITS, **k), unroll=True),
    "stacked": lambda cell, **k: in_rnn([cell(UNITS, **k), cell(UNITS - 2, **k)]),
    "bidirectional": lambda cell, **k: layers.Bidirectional(in_rnn(cell(UNITS, **k))),
}


@pytest.mark.parametrize("make", WRAPPED.values(), ids=WRAPPED)
def test_in_a_keras_rnn_it_equals_the_cell_of_keras(make):
    pair = equal_pair(make, CELLS, (BATCH, TIME, FEATURES))
    x, mask = inputs_and_states()[:1], as_mask("holes")
    assert_all_close(
        *(
            outputs_and_gradients(rnn, lambda x, f=rnn: f(x, mask=mask), x)
            for rnn in pair
        )
    )


@pytest.mark.parametrize("name", ["RNN", "stacked"])
def test_dropout_in_a_keras_rnn_is_that_of_the_cell_of_keras_in_every_call(name):
    arguments = {"dropout": 0.4, "recurrent_dropout": 0.3, "seed": 3}
    shape = (BATCH, TIME, FEATURES)
    pair = equal_pair(lambda cell: WRAPPED[name](cell, **arguments), CELLS, shape)
    for _ in range(2):
        assert_all_close(*(rnn(normal(*shape), training=True) for rnn in pair))


# Dropout, of ones by cells that tell what they read.


def pass_through_weights(cell):
    """Weights with which a linear cell gives `h_t = x_t`, dropped where it drops.

    The input and the output gate are open, the forget gate is shut, and the candidate
    is the input. The cell must have as many units as features.
    """
    identity, zeros = np.eye(cell.units), np.zeros((cell.units, cell.units))
    kernel = np.hstack([zeros, zeros, identity, zeros])
    bias = np.repeat([1e3, -1e3, 0.0, 1e3], cell.units)
    cell.set_weights([kernel, 0 * kernel, bias])


def adding_weights(cell):
    """Weights with which a linear cell gives `h_t = x_t + h_{t-1}`, likewise."""
    pass_through_weights(cell)
    kernel, _, bias = cell.get_weights()
    cell.set_weights([kernel, kernel, bias])


LINEAR = {"activation": None, "seed": 1}
SEQUENCES = {
    "RNN": lambda **k: in_rnn(LSTMCell(FEATURES, **LINEAR, **k)),
    "unrolled": lambda **k: in_rnn(LSTMCell(FEATURES, **LINEAR, **k), unroll=True),
    "stacked": lambda **k: in_rnn(
        [LSTMCell(FEATURES, **LINEAR, **k), LSTMCell(FEATURES, **LINEAR)]
    ),
    "LSTM": lambda **k: LSTM(FEATURES, return_sequences=True, **LINEAR, **k),
    "stateful LSTM": lambda **k: LSTM(
        FEATURES, return_sequences=True, stateful=True, **LINEAR, **k
    ),
}
every_loop = pytest.mark.parametrize("make", SEQUENCES.values(), ids=SEQUENCES)


def made(make, set_weights, **dropout):
    """Give the weights to the (first) cell; a second one passes its inputs through."""
    layer = make(**dropout)
    layer.build((64, TIME, FEATURES))
    first, *others = getattr(layer.cell, "cells", [layer.cell])
    set_weights(first)
    for cell in others:
        pass_through_weights(cell)
    return layer


def run_on_ones(layer, **call):
    return ops.convert_to_numpy(layer(np.ones((64, TIME, FEATURES)), **call))


@every_loop
def test_inputs_are_dropped_alike_at_every_step_and_otherwise_in_every_call(make):
    layer = made(make, pass_through_weights, dropout=0.5)
    zeros = np.zeros((64, FEATURES))
    given = {"initial_state": [zeros, zeros]} if isinstance(layer, LSTM) else {}
    calls = [run_on_ones(layer, training=True, **one) for one in ({}, {}, given, given)]
    for number, masks in enumerate(calls):
        np.testing.assert_array_equal(np.unique(masks), [0, 2])
        np.testing.assert_array_equal(masks, masks[:, :1].repeat(TIME, axis=1))
        assert not any(np.array_equal(masks, other) for other in calls[:number])


@every_loop
def test_states_are_dropped_by_the_same_mask_at_every_step(make):
    layer = made(make, adding_weights, recurrent_dropout=0.5)
    h = run_on_ones(layer, training=True)
    # h_t = 1 + mask * h_{t-1}, where the mask is 0 or 2: h stays 1, or is 2^t - 1.
    dropped = h[:, 1] == 1
    assert 0 < dropped.sum() < dropped.size
    powers = 2 ** np.arange(1, TIME + 1)[:, np.newaxis] - 1
    np.testing.assert_array_equal(h, np.where(dropped[:, np.newaxis], 1, powers))


@every_loop
def test_nothing_is_dropped_in_inference(make):
    layer = made(make, pass_through_weights, dropout=0.5, recurrent_dropout=0.5)
    np.testing.assert_array_equal(run_on_ones(layer, training=False), 1)
    np.testing.assert_array_equal(run_on_ones(layer), 1)


def test_a_loop_of_the_user_draws_new_masks_between_sequences():
    cell = LSTMCell(FEATURES, dropout=0.5, **LINEAR)
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
    assert_all_close([held, still_held], [free, free])
    after = cell(x, [h, c], training=True)
    assert np.abs(ops.convert_to_numpy(after[0] - free[0])).max() > 1e-3


@pytest.mark.parametrize("rate", [0.1, 0.8])
def test_the_rate_is_the_fraction_dropped(rate):
    count = 20_000
    cell = LSTMCell(1, dropout=rate, **LINEAR)
    cell.build((count, 1))
    pass_through_weights(cell)
    output, _ = cell(ops.ones((count, 1)), cell.get_initial_state(count), training=True)
    dropped = ops.convert_to_numpy(output) == 0
    # Five standard deviations of a binomial distribution.
    near = 5 * np.sqrt(rate * (1 - rate) / count)
    assert dropped.mean() == pytest.approx(rate, abs=near)


@pytest.mark.parametrize("shapes", [[(BATCH, 5)], [(BATCH, 5), (BATCH, 6)]], ids=str)
def test_states_must_be_h_and_c_of_the_right_shape(shapes):
    with pytest.raises(ValueError, match=r"\(batch, 5\); received shapes"):
        LSTMCell(5)(normal(BATCH, FEATURES), [normal(*shape) for shape in shapes])


def test_a_warning_tells_of_a_keras_rnn_that_would_never_change_the_masks():
    layer = keras.layers.RNN(LSTMCell(5, dropout=0.5, seed=1))
    x, states = normal(BATCH, 7, FEATURES), [normal(BATCH, 5), normal(BATCH, 5)]
    with pytest.warns(UserWarning, match="the same dropout masks in every batch"):
        layer(x, initial_state=states, training=True)
    layer.cell.next_dropout_masks()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        layer(x, initial_state=states, training=True)
