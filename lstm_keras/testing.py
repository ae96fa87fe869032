"""Check a cell of your own against a step that you write in NumPy."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from lstm_keras.interpret.gradients import gradients
from lstm_keras.layer import RNN

BATCH, TIME = 3, 5
# A hole, the beginning and the end masked; a whole row.
MASK = np.array([[1, 0, 1, 1, 0], [0, 0, 1, 1, 1], [1, 1, 1, 1, 1]], bool)

Step = Callable[[np.ndarray, list, list], Sequence[np.ndarray]]


def check_cell(
    cell: keras.Layer,
    step: Step,
    *,
    features: int = 4,
    states: Sequence[Any] | None = None,
    engine: str = "auto",
    tolerance: float | None = None,
) -> None:
    """Check a cell against NumPy: values, gradients, masks, saving.

    A copy of the cell with random weights runs in `lstm_keras.RNN`, in inference. It
    must compute what `step` computes, without a mask and with one (where the inputs of
    masked steps are NaN), in the loop and by `engine`. Its gradients by inputs, initial
    states and weights must be the finite differences of `step`. A saved model with it
    must open again, without `custom_objects`, and compute the same.

    A cell whose class does not say `pure = True` (see `LSTMCell`) is never compiled: by
    default only the loop is checked then.

        def step(x, states, weights):  # c_t = c_{t-1} + x_t W, h_t = tanh(c_t)
            h, c = states
            c = c + x @ weights[0]
            return [np.tanh(c), c]

        lstm_keras.testing.check_cell(MyCell(5), step)

    Args:
        cell: The cell, built or not; it is not changed. Its output is its first state.
        step: Takes an input `(batch, features)`, the list of states, and the list of
            the cell's weights in their order, as float64, and returns the new states.
        features: Size of the inputs.
        states: The initial states, each `(3, size)`; by default random numbers.
        engine: How to run the cell besides the loop; see `lstm_keras.RNN`.
        tolerance: Largest difference, relative to the largest element of an array; by
            default 1e-7 for a cell in float64 on TensorFlow, else 1e-4.

    Raises:
        AssertionError: Something differs; the message says what.
        ValueError: The engine does not support the cell.
    """
    copied = _copy(cell)
    generator = np.random.default_rng(0)

    def random(*shape):
        return generator.normal(size=shape) * 0.7

    copied.build((BATCH, features))
    weights = [random(*weight.shape) for weight in copied.weights]
    copied.set_weights(weights)
    x = random(BATCH, TIME, features)
    sizes = keras.tree.flatten(copied.state_size)
    if states is None:
        states = [random(BATCH, size) for size in sizes]
    states = [np.asarray(state, "float64") for state in states]
    if tolerance is None:
        double = keras.backend.backend() == "tensorflow" and cell.dtype == "float64"
        tolerance = 1e-7 if double else 1e-4

    for one in dict.fromkeys(["loop", engine]):
        for mask in (None, MASK):
            where = f"engine={one!r}, {'no mask' if mask is None else 'with a mask'}"
            layer = _layer(copied, one)
            expected = _run(step, x, states, weights, mask)
            hidden = x if mask is None else np.where(mask[..., None], x, np.nan)
            found = layer(hidden, initial_state=states, mask=mask)
            _compare(f"values ({where})", found, expected, tolerance)
        by = [random(*array.shape) for array in expected]
        found = _gradients(layer, [hidden, *states, *weights], len(states), MASK, by)
        arrays = [x, *states, *weights]
        expected = _differences(step, arrays, len(states), MASK, by)
        _compare(f"gradients (engine={one!r})", found, expected, tolerance)
    reopened = _reopened(_layer(copied, "loop"), features)
    expected = _run(step, x, states, weights, None)
    found = reopened(x, initial_state=states)
    _compare("values (saved and opened again)", found, expected, tolerance)


def _copy(cell):
    """Return a cell of the same configuration."""
    copied = type(cell).from_config(cell.get_config())
    if copied.get_config() != cell.get_config():
        raise AssertionError(
            "expected from_config() to restore the result of get_config(); received "
            f"{copied.get_config()} for {cell.get_config()}"
        )
    return copied


def _reopened(layer, features):
    """Return a layer as it comes back from a file, in a model."""
    inputs = keras.Input((None, features), dtype=layer.compute_dtype)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        keras.Model(inputs, layer(inputs)).save(path)
        try:
            return keras.saving.load_model(path).layers[-1]
        except (TypeError, ValueError) as error:
            raise AssertionError(
                "expected a saved model with the cell to open again; decorate "
                f"{type(layer.cell).__name__} with "
                "keras.saving.register_keras_serializable, and save in its variables "
                f"what it needs: {error}"
            ) from error


def _layer(cell, engine):
    return RNN(
        cell,
        return_sequences=True,
        return_state=True,
        zero_output_for_mask=True,
        engine=engine,
        dtype=cell.dtype_policy,
    )


def _run(step, x, states, weights, mask):
    """Return every output, zero where masked, and the last states."""
    outputs = []
    for t in range(x.shape[1]):
        on = np.ones((len(x), 1), bool) if mask is None else mask[:, t, None]
        new = step(x[:, t], list(states), list(weights))
        states = [np.where(on, a, b) for a, b in zip(new, states, strict=True)]
        outputs.append(np.where(on, states[0], 0))
    return [np.stack(outputs, axis=1), *states]


def _gradients(layer, arrays, count, mask, by):
    """Return the gradients of the sum of results times `by`."""
    dtype = layer.cell.variable_dtype
    factors = [ops.convert_to_tensor(one, dtype) for one in by]

    def loss(x, *tensors):
        states, weights = tensors[:count], tensors[count:]
        mapping = zip(layer.cell.weights, weights, strict=True)
        with keras.StatelessScope(list(mapping)):
            results = layer(x, initial_state=list(states), mask=mask)
        return sum(
            ops.sum(ops.cast(result, dtype) * factor)
            for result, factor in zip(results, factors, strict=True)
        )

    return gradients(loss, [array.astype(dtype) for array in arrays])


def _differences(step, arrays, count, mask, by, width=1e-5):
    """Return the same by finite differences of NumPy's step."""

    def loss():
        x, states, weights = arrays[0], arrays[1 : count + 1], arrays[count + 1 :]
        results = _run(step, x, states, weights, mask)
        return sum(np.vdot(*pair) for pair in zip(results, by, strict=True))

    found = []
    for array in arrays:
        gradient = np.empty_like(array)
        for index in np.ndindex(array.shape):
            at = array[index]
            array[index] = at + width
            above = loss()
            array[index] = at - width
            gradient[index] = (above - loss()) / (2 * width)
            array[index] = at
        found.append(gradient)
    return found


def _compare(what, found, expected, tolerance):
    for number, (one, right) in enumerate(zip(found, expected, strict=True)):
        one = ops.convert_to_numpy(one).astype("float64")
        np.testing.assert_allclose(
            one,
            right,
            rtol=0,
            atol=tolerance * max(np.abs(right).max(), 1e-3),
            err_msg=f"{what}: array {number} differs from NumPy's step",
        )
