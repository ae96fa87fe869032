"""Compare a file with the model that it was exported from."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from lstm_keras.engines import engine_scope

TOLERANCE = 1e-5
"""Largest difference that rounding explains, for outputs up to 1."""
# Batch and time of random examples: long enough for a model that drops some steps.
_SIZES = ((1, 8), (3, 7))


def can_run() -> bool:
    """Return whether onnxruntime is installed."""
    return importlib.util.find_spec("onnxruntime") is not None


def session(path: str | Path) -> Any:
    """Open a file in onnxruntime, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"]
    )


def checked_examples(
    examples: Any, inputs: Mapping[str, keras.KerasTensor]
) -> list[np.ndarray]:
    """Return examples as an array for each input, in its dtype.

    Raises:
        ValueError: They do not have the shapes of the inputs.
    """
    arrays = [ops.convert_to_numpy(one) for one in keras.tree.flatten(examples)]
    specs = [*inputs.values()]
    if len(arrays) != len(specs) or not all(map(_fits, arrays, specs)):
        raise ValueError(
            f"expected examples for the inputs {', '.join(inputs)}, of the shapes "
            f"{_shapes(specs)} where None is above 0; received {_shapes(arrays)}"
        )
    return [array.astype(spec.dtype) for array, spec in zip(arrays, specs, strict=True)]


def random_examples(
    inputs: Mapping[str, keras.KerasTensor], id_limits: Mapping[str, int]
) -> list[list[np.ndarray]]:
    """Return batches of several sizes, each with an array for each input.

    A quarter of the steps of sequences is zero, which a model may mask.

    Args:
        inputs: Shape and dtype of each input, by name.
        id_limits: For each input of ids how many ids there are.
    """
    rng = np.random.default_rng(0)

    def example(name, spec, sizes):
        known = [*sizes, *[2] * len(spec.shape)]
        shape = [size or known[axis] for axis, size in enumerate(spec.shape)]
        if spec.dtype == "bool":
            return rng.random(shape) < 0.5
        if "int" in spec.dtype or name in id_limits:
            ids = rng.integers(0, id_limits.get(name, 2), shape)
            return ids.astype(spec.dtype)
        numbers = rng.normal(size=shape)
        if len(shape) > 2:
            numbers *= rng.random((*shape[:2], *[1] * (len(shape) - 2))) < 0.75
        return numbers.astype(spec.dtype)

    return [
        [example(name, spec, sizes) for name, spec in inputs.items()]
        for sizes in _SIZES
    ]


def largest_difference(
    path: Path, model: keras.Model, batches: Sequence[Sequence[np.ndarray]]
) -> float:
    """Return how far the outputs of a file are from a model's on these batches.

    It is relative to the largest output of a batch where that is above 1.

    Raises:
        ValueError: The model or the file cannot compute one of the batches.
    """
    running = session(path)
    names = [one.name for one in running.get_inputs()]
    largest = 0.0
    for arrays in batches:
        tensors = [ops.convert_to_tensor(array) for array in arrays]
        try:
            with engine_scope("loop"):  # which compiles nothing
                expected = model(tensors if len(tensors) > 1 else tensors[0])
            found = running.run(None, dict(zip(names, arrays, strict=True)))
        except Exception as error:  # each backend and onnxruntime have their own
            raise ValueError(
                "expected `examples` that the model can compute; inputs of the shapes "
                f"{_shapes(arrays)} give: {error}"
            ) from error
        for one, other in zip(found, keras.tree.flatten(expected), strict=True):
            largest = max(largest, _difference(one, _array(other)))
    return largest


def _fits(array, spec) -> bool:
    return len(array.shape) == len(spec.shape) and all(
        size > 0 and known in (None, size)
        for size, known in zip(array.shape, spec.shape, strict=True)
    )


def _shapes(arrays) -> list[tuple]:
    return [tuple(array.shape) for array in arrays]


def _array(tensor) -> np.ndarray:
    return ops.convert_to_numpy(ops.stop_gradient(tensor))


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    if found.shape != expected.shape:
        return float("inf")
    with np.errstate(invalid="ignore"):
        difference = np.abs(found.astype(float) - expected)
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    difference = np.nan_to_num(np.where(same, 0.0, difference), nan=np.inf)
    finite = np.abs(expected[np.isfinite(expected)])
    return float(difference.max(initial=0.0) / max(1.0, finite.max(initial=0.0)))
