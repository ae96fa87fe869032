"""The oracle of the package is held against arithmetic, differences, and Keras."""

import ast
from itertools import combinations
from pathlib import Path

import keras
import numpy as np
import pytest

from lstm_keras import reference
from lstm_keras.reference import lstm_backward, lstm_forward, lstm_step, sigmoid

BATCH, TIME, FEATURES, UNITS = 3, 8, 4, 2
DIFFERENTIATED = ("x", "h0", "c0", "kernel", "recurrent_kernel", "bias")
GATES = ("i", "f", "g", "o")
MASKS = {
    "none": None,
    "right": ["11111111", "11111000", "10000000"],
    "left": ["11111111", "00011111", "00000001"],
    "holes": ["01101101", "10010010", "00100110"],
    "a fully masked row": ["11111111", "00000000", "11001110"],
}
every_mask = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
both_outputs = pytest.mark.parametrize("zero_output_for_mask", [False, True])


def as_mask(rows):
    return (
        None if rows is None else np.array([[step == "1" for step in r] for r in rows])
    )


def random_arguments():
    normal = np.random.default_rng(0).normal
    return {
        "x": normal(size=(BATCH, TIME, FEATURES)),
        "kernel": normal(size=(FEATURES, 4 * UNITS)),
        "recurrent_kernel": normal(size=(UNITS, 4 * UNITS)),
        "bias": normal(size=4 * UNITS),
        "h0": normal(size=(BATCH, UNITS)),
        "c0": normal(size=(BATCH, UNITS)),
    }


def random_loss_weights():
    """Weights w, v, u of the loss sum(w * outputs) + sum(v * h_T) + sum(u * c_T)."""
    normal = np.random.default_rng(1).normal
    shape = (BATCH, UNITS)
    return normal(size=(BATCH, TIME, UNITS)), normal(size=shape), normal(size=shape)


def backward_of_loss(forward, weights, zero_output_for_mask):
    w, v, u = weights
    dh = w * forward.output_mask(zero_output_for_mask)
    return lstm_backward(forward, dh=dh, dh_last=v, dc_last=u)


def central_difference(function, at, step=1e-5):
    """Differentiate a scalar function with respect to every element of an array."""
    gradient = np.empty_like(at)
    for index in np.ndindex(at.shape):
        above, below = at.copy(), at.copy()
        above[index] += step
        below[index] -= step
        gradient[index] = (function(above) - function(below)) / (2 * step)
    return gradient


def assert_close(actual, expected, tolerance, name=""):
    """Hold every element to the tolerance, relative to the largest one."""
    scale = np.abs(expected).max(initial=0.0)
    np.testing.assert_allclose(
        actual, expected, rtol=0, atol=tolerance * scale, err_msg=name
    )


# One step.


def test_one_step_gives_the_textbook_numbers():
    ones = np.ones((1, 4))
    step = lstm_step(
        x=[[1.0]], h=[[0.5]], c=[[0.0]], kernel=ones, recurrent_kernel=ones
    )
    # z = 1 + 0.5 in every block; c = 0.8176 * 0.9051; h = 0.8176 * tanh(c).
    textbook = {"i": 0.8176, "f": 0.8176, "o": 0.8176, "g": 0.9051}
    textbook |= {"c": 0.7400, "h": 0.5144}
    for name, number in textbook.items():
        assert getattr(step, name).item() == pytest.approx(number, abs=5e-5), name


def test_a_short_sequence_gives_the_textbook_numbers():
    ones = np.ones((1, 4))
    forward = lstm_forward([[[0.1], [0.2], [0.3]]], ones, ones, np.zeros(4))
    np.testing.assert_allclose(forward.h[0, :, 0], [0.0274, 0.0848, 0.1786], atol=5e-5)
    np.testing.assert_allclose(forward.c[0, :, 0], [0.0523, 0.1536, 0.3097], atol=5e-5)


@pytest.mark.parametrize(
    ("bias", "c", "h"),
    [
        pytest.param([-1e3, 1e3, 1e3, 1e3], 0.7, np.tanh(0.7), id="keeps the memory"),
        pytest.param([1e3, -1e3, 1e3, 1e3], 1.0, np.tanh(1.0), id="writes g = 1"),
        pytest.param([1e3, 1e3, -1e3, 1e3], -0.3, np.tanh(-0.3), id="adds g = -1"),
        pytest.param([1e3, 1e3, 1e3, -1e3], 1.7, 0.0, id="hides the memory"),
    ],
)
def test_each_block_of_the_packed_weights_drives_its_own_gate(bias, c, h):
    # Weights of zero leave z = b, and so large a b opens or closes a gate completely.
    kernel = recurrent_kernel = np.zeros((1, 4))
    step = lstm_step([[5.0]], [[5.0]], [[0.7]], kernel, recurrent_kernel, bias)
    np.testing.assert_allclose([step.c.item(), step.h.item()], [c, h], rtol=1e-15)


@pytest.mark.parametrize("weights", ["kernel", "recurrent_kernel", "bias"])
@pytest.mark.parametrize("pair", list(combinations(range(4), 2)))
def test_swapping_two_gate_blocks_changes_the_result(weights, pair):
    arguments = random_arguments()
    order = [0, 1, 2, 3]
    order[pair[0]], order[pair[1]] = pair[1], pair[0]
    blocks = np.split(arguments[weights], 4, axis=-1)
    swapped = np.concatenate([blocks[block] for block in order], axis=-1)
    before = lstm_forward(**arguments)
    after = lstm_forward(**arguments | {weights: swapped})
    assert np.abs(before.h - after.h).max() > 1e-3


def test_sigmoid_neither_overflows_nor_loses_small_values():
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        result = sigmoid([-1e4, -40.0, 0.0, 40.0, 1e4, -np.inf, np.inf])
    # For a very negative z, sigmoid(z) = exp(z) / (1 + exp(z)) is exp(z).
    np.testing.assert_allclose(
        result, [0.0, np.exp(-40.0), 0.5, 1.0, 1.0, 0.0, 1.0], rtol=1e-15
    )


# A sequence.


def test_a_sequence_is_its_steps_one_after_another():
    arguments = random_arguments()
    forward = lstm_forward(**arguments)
    weights = [arguments[name] for name in ("kernel", "recurrent_kernel", "bias")]
    h, c = arguments["h0"], arguments["c0"]
    for t in range(TIME):
        step = lstm_step(arguments["x"][:, t], h, c, *weights)
        for name, value in step._asdict().items():
            np.testing.assert_array_equal(getattr(forward, name)[:, t], value)
        h, c = step.h, step.c
    np.testing.assert_array_equal(forward.h_last, h)
    np.testing.assert_array_equal(forward.c_last, c)


def test_absent_states_and_bias_are_zeros():
    arguments = random_arguments()
    x, kernel, recurrent_kernel = (
        arguments[name] for name in ("x", "kernel", "recurrent_kernel")
    )
    absent = lstm_forward(x, kernel, recurrent_kernel)
    states = np.zeros((BATCH, UNITS))
    zeros = lstm_forward(
        x, kernel, recurrent_kernel, np.zeros(4 * UNITS), states, states
    )
    np.testing.assert_array_equal(absent.h, zeros.h)


@pytest.mark.parametrize("name", ["right", "left", "holes"])
def test_the_last_states_are_those_of_the_sequence_without_its_masked_steps(name):
    arguments, mask = random_arguments(), as_mask(MASKS[name])
    forward = lstm_forward(**arguments, mask=mask)
    for row, counts in enumerate(mask):
        alone = {key: arguments[key][[row]] for key in ("x", "h0", "c0")}
        alone["x"] = alone["x"][:, counts]
        compact = lstm_forward(**arguments | alone)
        np.testing.assert_allclose(forward.h_last[[row]], compact.h_last, rtol=1e-14)
        np.testing.assert_allclose(forward.c_last[[row]], compact.c_last, rtol=1e-14)


def test_inputs_of_masked_steps_do_not_reach_the_states():
    arguments, mask = random_arguments(), as_mask(MASKS["holes"])
    forward = lstm_forward(**arguments, mask=mask)
    arguments["x"] = np.where(mask[:, :, np.newaxis], arguments["x"], np.nan)
    padded = lstm_forward(**arguments, mask=mask)
    np.testing.assert_array_equal(padded.h, forward.h)
    np.testing.assert_array_equal(padded.c, forward.c)


def test_a_fully_masked_row_keeps_its_initial_states_and_outputs_zeros():
    arguments, mask = random_arguments(), as_mask(MASKS["a fully masked row"])
    forward = lstm_forward(**arguments, mask=mask)
    np.testing.assert_array_equal(forward.h_last[1], arguments["h0"][1])
    np.testing.assert_array_equal(forward.c_last[1], arguments["c0"][1])
    np.testing.assert_array_equal(forward.outputs()[1], np.zeros((TIME, UNITS)))


def test_outputs_at_masked_steps_are_repeated_or_zero():
    forward = lstm_forward(**random_arguments(), mask=as_mask(MASKS["holes"]))
    h = forward.h[0]  # its mask is 01101101
    zero = np.zeros(UNITS)
    repeated = [zero, h[1], h[2], h[2], h[4], h[5], h[5], h[7]]
    zeroed = [zero, h[1], h[2], zero, h[4], h[5], zero, h[7]]
    np.testing.assert_array_equal(forward.outputs()[0], repeated)
    np.testing.assert_array_equal(forward.outputs(zero_output_for_mask=True)[0], zeroed)


# Back-propagation.


@both_outputs
@every_mask
def test_gradients_agree_with_finite_differences(mask, zero_output_for_mask):
    arguments, mask = random_arguments(), as_mask(mask)
    w, v, u = weights = random_loss_weights()

    def loss(**changed):
        forward = lstm_forward(**arguments | changed, mask=mask)
        outputs = forward.outputs(zero_output_for_mask)
        on_states = np.sum(v * forward.h_last) + np.sum(u * forward.c_last)
        return np.sum(w * outputs) + on_states

    forward = lstm_forward(**arguments, mask=mask)
    gradients = backward_of_loss(forward, weights, zero_output_for_mask)
    for name in DIFFERENTIATED:
        numerical = central_difference(
            lambda value, name=name: loss(**{name: value}), arguments[name]
        )
        assert_close(getattr(gradients, name), numerical, 1e-9, name)


def test_a_gradient_that_is_not_given_is_zero():
    forward = lstm_forward(**random_arguments())
    w, v, u = random_loss_weights()
    parts = [
        lstm_backward(forward, dh=w),
        lstm_backward(forward, dh_last=v),
        lstm_backward(forward, dc_last=u),
    ]
    whole = lstm_backward(forward, w, v, u)
    for name in DIFFERENTIATED:
        total = sum(getattr(part, name) for part in parts)
        assert_close(total, getattr(whole, name), 1e-14, name)


def test_without_a_bias_there_is_no_gradient_of_it():
    arguments = random_arguments()
    w, _, _ = random_loss_weights()
    without = lstm_backward(lstm_forward(**arguments | {"bias": None}), dh=w)
    zero = lstm_backward(lstm_forward(**arguments | {"bias": np.zeros(4 * UNITS)}), w)
    assert without.bias is None
    np.testing.assert_array_equal(without.kernel, zero.kernel)


# Keras.


def keras_layer(arguments, **options):
    layer = keras.layers.LSTM(
        UNITS,
        return_sequences=True,
        return_state=True,
        use_cudnn=False,
        dtype="float64",
        **options,
    )
    layer.build((BATCH, TIME, FEATURES))
    layer.set_weights(
        [arguments[name] for name in ("kernel", "recurrent_kernel", "bias")]
    )
    return layer


def tensors(arguments, names):
    return [keras.ops.convert_to_tensor(arguments[name], "float64") for name in names]


@pytest.mark.parametrize("go_backwards", [False, True])
@both_outputs
@every_mask
def test_outputs_and_states_are_those_of_keras(
    mask, zero_output_for_mask, go_backwards
):
    arguments, mask = random_arguments(), as_mask(mask)
    layer = keras_layer(
        arguments, zero_output_for_mask=zero_output_for_mask, go_backwards=go_backwards
    )
    x, h0, c0 = tensors(arguments, ("x", "h0", "c0"))
    results = layer(x, initial_state=[h0, c0], mask=mask)

    if go_backwards:
        arguments["x"] = arguments["x"][:, ::-1]
        mask = None if mask is None else mask[:, ::-1]
    forward = lstm_forward(**arguments, mask=mask)
    outputs = forward.outputs(zero_output_for_mask)
    backend = keras.backend.backend()
    if backend == "jax" and not zero_output_for_mask:
        outputs = forward.h
    # Elsewhere Keras 3.15 takes tanh (JAX) or matmul (torch) of float64 in float32.
    tolerance = 1e-12 if backend == "tensorflow" else 1e-5
    expected = {"outputs": outputs, "h": forward.h_last, "c": forward.c_last}
    for result, (name, value) in zip(results, expected.items(), strict=True):
        assert_close(keras.ops.convert_to_numpy(result), value, tolerance, name)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="takes gradients with TensorFlow"
)
@both_outputs
@every_mask
def test_gradients_are_those_of_keras(mask, zero_output_for_mask):
    import tensorflow as tf

    arguments, mask = random_arguments(), as_mask(mask)
    w, v, u = weights = random_loss_weights()
    layer = keras_layer(arguments, zero_output_for_mask=zero_output_for_mask)
    x, h0, c0 = inputs = tensors(arguments, ("x", "h0", "c0"))
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs, h, c = layer(x, initial_state=[h0, c0], mask=mask)
        on_states = tf.reduce_sum(v * h) + tf.reduce_sum(u * c)
        loss = tf.reduce_sum(w * outputs) + on_states
    sources = [*inputs, *layer.trainable_weights]
    keras_gradients = tape.gradient(
        loss, sources, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )

    forward = lstm_forward(**arguments, mask=mask)
    gradients = backward_of_loss(forward, weights, zero_output_for_mask)
    for name, gradient in zip(DIFFERENTIATED, keras_gradients, strict=True):
        assert_close(getattr(gradients, name), gradient.numpy(), 1e-12, name)


# Arguments.


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("x", (BATCH, FEATURES), "(batch, time, features)"),
        ("x", (BATCH, 0, FEATURES), "at least one step"),
        ("kernel", (FEATURES + 1, 4 * UNITS), (FEATURES, 4 * UNITS)),
        ("kernel", (FEATURES, 3 * UNITS), (FEATURES, 4 * UNITS)),
        ("recurrent_kernel", (UNITS, UNITS), (UNITS, 4 * UNITS)),
        ("recurrent_kernel", (4 * UNITS,), "(units, 4 units)"),
        ("bias", (1,), "(8)"),
        ("h0", (1, UNITS), (BATCH, UNITS)),
        ("c0", (BATCH, UNITS + 1), (BATCH, UNITS)),
        ("mask", (BATCH, TIME + 1), (BATCH, TIME)),
        ("mask", (BATCH, TIME, 1), (BATCH, TIME)),
    ],
)
def test_an_argument_of_another_shape_is_refused(name, shape, expected):
    value = np.ones(shape, dtype=bool if name == "mask" else float)
    with pytest.raises(ValueError, match=f"^expected {name} of ") as error:
        lstm_forward(**random_arguments() | {name: value})
    stated, received = str(error.value).split("; ")
    assert str(expected) in stated
    assert received.startswith("received") and str(shape) in received


@pytest.mark.parametrize("name", ["x", "h", "c"])
def test_a_step_refuses_an_argument_that_numpy_would_broadcast(name):
    arguments = random_arguments()
    step = {key: arguments[key] for key in ("kernel", "recurrent_kernel", "bias")}
    step |= {"x": np.ones((BATCH, FEATURES))}
    step |= {state: np.ones((BATCH, UNITS)) for state in ("h", "c")}
    with pytest.raises(ValueError, match=r"^expected . of shape .*; received"):
        lstm_step(**step | {name: step[name][:1]})


def test_a_mask_of_numbers_is_refused():
    mask = np.ones((BATCH, TIME), dtype=int)
    with pytest.raises(ValueError, match=r"^expected mask of bool .*; received int"):
        lstm_forward(**random_arguments(), mask=mask)


@pytest.mark.parametrize("name", ["dh", "dh_last", "dc_last"])
def test_a_gradient_of_another_shape_than_its_state_is_refused(name):
    forward = lstm_forward(**random_arguments())
    with pytest.raises(ValueError, match=f"^expected {name} of shape .*; received"):
        lstm_backward(forward, **{name: np.ones((BATCH, 1))})


def test_every_result_is_float64_whatever_the_arguments_are():
    arguments = {
        name: value.astype("float32") for name, value in random_arguments().items()
    }
    forward = lstm_forward(**arguments | {"bias": list(arguments["bias"])})
    gradients = lstm_backward(forward, dh=np.ones((BATCH, TIME, UNITS), dtype=int))
    states = [getattr(forward, name) for name in (*GATES, "c", "h")]
    assert {value.dtype for value in (*states, *gradients)} == {np.dtype("float64")}


def test_the_reference_imports_numpy_and_the_standard_library_only():
    tree = ast.parse(Path(reference.__file__).read_text(encoding="utf-8"))
    imported = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
        )
    }
    assert imported == {"collections.abc", "typing", "numpy", "numpy.typing"}
