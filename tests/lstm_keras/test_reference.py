"""The oracle of the package is held against arithmetic, differences, and Keras."""

import ast
from pathlib import Path

import keras
import numpy as np
import pytest

from lstm_keras import reference
from lstm_keras.reference import lstm_backward, lstm_forward, lstm_step, sigmoid
from tests.helpers.equality import (
    BACKEND,
    BATCH,
    MASKS,
    TIME,
    as_mask,
    assert_all_close,
    normal,
    reference_results,
    run_layer,
)
from tests.helpers.pairwise import pairwise

pytestmark = pytest.mark.skipif(
    BACKEND != "tensorflow",
    reason="NumPy alone, and Keras in float64, which elsewhere is not exact",
)
FEATURES, UNITS = 4, 2
WEIGHTS = ("kernel", "recurrent_kernel", "bias")


def random_arguments():
    shapes = {
        "x": (BATCH, TIME, FEATURES),
        "kernel": (FEATURES, 4 * UNITS),
        "recurrent_kernel": (UNITS, 4 * UNITS),
        "bias": (4 * UNITS,),
        "h0": (BATCH, UNITS),
        "c0": (BATCH, UNITS),
    }
    return {k: normal(*shape, seed=n) for n, (k, shape) in enumerate(shapes.items())}


# The gradients of a loss by the states.
BY_STATES = {
    "dh": normal(BATCH, TIME, UNITS, seed=10),
    "dh_last": normal(BATCH, UNITS, seed=11),
    "dc_last": normal(BATCH, UNITS, seed=12),
    "dc": normal(BATCH, TIME, UNITS, seed=13),
}


def central_difference(function, at, step=1e-5):
    """Differentiate a scalar function with respect to every element of an array."""
    gradient = np.empty_like(at)
    for index in np.ndindex(at.shape):
        above, below = at.copy(), at.copy()
        above[index] += step
        below[index] -= step
        gradient[index] = (function(above) - function(below)) / (2 * step)
    return gradient


# One step.


def test_one_step_gives_the_textbook_numbers():
    ones = np.ones((1, 4))
    step = lstm_step([[1.0]], [[0.5]], [[0.0]], ones, ones)
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


def test_sigmoid_neither_overflows_nor_loses_small_values():
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        result = sigmoid([-1e4, -40.0, 0.0, 40.0, 1e4, -np.inf, np.inf])
    # For a very negative z, sigmoid(z) = exp(z) / (1 + exp(z)) is exp(z).
    expected = [0.0, np.exp(-40.0), 0.5, 1.0, 1.0, 0.0, 1.0]
    np.testing.assert_allclose(result, expected, rtol=1e-15)


# A sequence.


def test_a_sequence_is_its_steps_one_after_another():
    arguments = random_arguments()
    forward = lstm_forward(**arguments)
    h, c = arguments["h0"], arguments["c0"]
    for t in range(TIME):
        x = arguments["x"][:, t]
        step = lstm_step(x, h, c, *(arguments[name] for name in WEIGHTS))
        for name, value in step._asdict().items():
            np.testing.assert_array_equal(getattr(forward, name)[:, t], value)
        h, c = step.h, step.c
    np.testing.assert_array_equal([forward.h_last, forward.c_last], [h, c])


def test_absent_states_and_bias_are_zeros():
    arguments = random_arguments()
    x, kernel, recurrent_kernel, *others = arguments.values()
    zeros = lstm_forward(x, kernel, recurrent_kernel, *(0 * one for one in others))
    absent = lstm_forward(x, kernel, recurrent_kernel)
    np.testing.assert_array_equal(absent.h, zeros.h)
    gradients = [lstm_backward(one, BY_STATES["dh"]) for one in (absent, zeros)]
    assert gradients[0].bias is None
    np.testing.assert_array_equal(gradients[0].kernel, gradients[1].kernel)


@pytest.mark.parametrize("name", ["right", "left", "holes"])
def test_the_last_states_are_those_of_the_sequence_without_its_masked_steps(name):
    arguments, mask = random_arguments(), as_mask(name)
    padded = np.where(mask[:, :, np.newaxis], arguments["x"], np.nan)
    forward = lstm_forward(**arguments | {"x": padded}, mask=mask)
    for row, counts in enumerate(mask):
        alone = {key: arguments[key][[row]] for key in ("x", "h0", "c0")}
        alone["x"] = alone["x"][:, counts]
        compact = lstm_forward(**arguments | alone)
        np.testing.assert_allclose(forward.h_last[[row]], compact.h_last, rtol=1e-14)
        np.testing.assert_allclose(forward.c_last[[row]], compact.c_last, rtol=1e-14)


def test_a_fully_masked_row_keeps_its_initial_states_and_outputs_zeros():
    arguments = random_arguments()
    forward = lstm_forward(**arguments, mask=as_mask("a fully masked row"))
    np.testing.assert_array_equal(forward.h_last[1], arguments["h0"][1])
    np.testing.assert_array_equal(forward.c_last[1], arguments["c0"][1])
    np.testing.assert_array_equal(forward.outputs()[1], np.zeros((TIME, UNITS)))


def test_outputs_at_masked_steps_are_repeated_or_zero():
    forward = lstm_forward(**random_arguments(), mask=as_mask("holes"))
    h = forward.h[0]  # its mask is 0110101
    zero = np.zeros(UNITS)
    repeated = [zero, h[1], h[2], h[2], h[4], h[4], h[6]]
    zeroed = [zero, h[1], h[2], zero, h[4], zero, h[6]]
    np.testing.assert_array_equal(forward.outputs()[0], repeated)
    np.testing.assert_array_equal(forward.outputs(zero_output_for_mask=True)[0], zeroed)


# Back-propagation.


@pytest.mark.parametrize("zero_output_for_mask", [False, True])
@pytest.mark.parametrize("mask", MASKS)
def test_gradients_agree_with_finite_differences(mask, zero_output_for_mask):
    arguments, mask = random_arguments(), as_mask(mask)

    def loss(**changed):
        forward = lstm_forward(**arguments | changed, mask=mask)
        outputs = forward.outputs(zero_output_for_mask)
        states = (outputs, forward.h_last, forward.c_last, forward.c)
        return sum(map(np.vdot, BY_STATES.values(), states))

    forward = lstm_forward(**arguments, mask=mask)
    dh = BY_STATES["dh"] * forward.output_mask(zero_output_for_mask)
    gradients = lstm_backward(forward, **BY_STATES | {"dh": dh})
    numerical = [
        central_difference(lambda value, name=name: loss(**{name: value}), array)
        for name, array in arguments.items()
    ]
    found = [getattr(gradients, name) for name in arguments]
    assert_all_close(found, numerical, tolerance=1e-9)


def test_a_gradient_that_is_not_given_is_zero():
    forward = lstm_forward(**random_arguments())
    parts = [lstm_backward(forward, **{name: by}) for name, by in BY_STATES.items()]
    total = [sum(of_parts) for of_parts in zip(*parts, strict=True)]
    whole = lstm_backward(forward, **BY_STATES)
    assert_all_close(total, [*whole], tolerance=1e-14)


# Keras.


@pairwise(mask=MASKS, zero_output_for_mask=[False, True], go_backwards=[False, True])
def test_outputs_states_and_gradients_are_those_of_keras(
    mask, zero_output_for_mask, go_backwards
):
    layer = keras.layers.LSTM(
        UNITS,
        return_sequences=True,
        return_state=True,
        use_cudnn=False,
        dtype="float64",
        zero_output_for_mask=zero_output_for_mask,
        go_backwards=go_backwards,
    )
    x, *weights, h0, c0 = random_arguments().values()
    layer.build(x.shape)
    layer.set_weights(weights)
    found = run_layer(layer, [x, h0, c0], mask=as_mask(mask))
    expected = reference_results(layer, [x, h0, c0], as_mask(mask))
    assert_all_close(found, expected, "float64")


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
        ("h0", (BATCH, 1), (BATCH, UNITS)),
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
    step = {key: random_arguments()[key] for key in WEIGHTS}
    step |= {"x": np.ones((BATCH, FEATURES))}
    step |= {state: np.ones((BATCH, UNITS)) for state in ("h", "c")}
    with pytest.raises(ValueError, match=r"^expected . of shape .*; received"):
        lstm_step(**step | {name: step[name][:1]})


def test_a_mask_of_numbers_is_refused():
    mask = np.ones((BATCH, TIME), dtype=int)
    with pytest.raises(ValueError, match=r"^expected mask of bool .*; received int"):
        lstm_forward(**random_arguments(), mask=mask)


@pytest.mark.parametrize("name", BY_STATES)
def test_a_gradient_of_another_shape_than_its_state_is_refused(name):
    forward = lstm_forward(**random_arguments())
    with pytest.raises(ValueError, match=f"^expected {name} of shape .*; received"):
        lstm_backward(forward, **{name: np.ones((BATCH, 1))})


def test_every_result_is_float64_whatever_the_arguments_are():
    arguments = {k: value.astype("float32") for k, value in random_arguments().items()}
    forward = lstm_forward(**arguments | {"bias": list(arguments["bias"])})
    gradients = lstm_backward(forward, dh=np.ones((BATCH, TIME, UNITS), dtype=int))
    states = [getattr(forward, name) for name in "ifgoch"]
    assert {value.dtype for value in (*states, *gradients)} == {np.dtype("float64")}


def test_the_reference_imports_numpy_and_the_standard_library_only():
    tree = ast.parse(Path(reference.__file__).read_text(encoding="utf-8"))
    imported = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [getattr(node, "module", None), *(a.name for a in node.names)]
    }
    modules = {"collections.abc", "typing", "numpy", "numpy.typing"}
    names = {"Sequence", "NamedTuple", "ArrayLike", "NDArray"}
    assert imported <= modules | names | {None}
