"""The complete state of a training run in one file, from which it can be resumed.

Keras's `BackupAndRestore` stores weights, optimizer and epoch. A run that ends with the
same numbers as one that was never stopped also needs the position in the epoch's order,
the running metrics, the random state, the history, and the state of early stopping.
They are in one file, so that they cannot belong to two different moments.
"""

import json
import zipfile
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from experiments.common.files import atomic_write


@dataclass
class State:
    """A training run at one moment.

    Attributes:
        facts: Position, history, state of the callbacks; plain values for JSON.
        variables: Values of the weights, of the random state, of the optimizer.
        metrics: Values of the running metrics; none at the beginning of an epoch.
        best: Weights of the best epoch so far; none before the first.
        random: The backend's own random state.
    """

    facts: dict
    variables: list[np.ndarray] = field(default_factory=list)
    metrics: list[np.ndarray] = field(default_factory=list)
    best: list[np.ndarray] = field(default_factory=list)
    random: list[np.ndarray] = field(default_factory=list)

    @property
    def finite(self) -> bool:
        """Whether no weight and no moment of the optimizer is NaN or infinite."""
        return all(
            np.isfinite(value).all()
            for value in self.variables
            if value.dtype.kind == "f"
        )


_ARRAYS = ("variables", "metrics", "best", "random")


def write(path: Path, state: State) -> None:
    """Write a state atomically.

    Raises:
        OSError: It cannot be written; the message names the file.
    """
    arrays = {
        f"{kind}/{index}": value
        for kind in _ARRAYS
        for index, value in enumerate(getattr(state, kind))
    }
    with atomic_write(path, "wb") as file:
        np.savez(file, facts=np.array(json.dumps(state.facts)), **arrays)


def read(path: Path) -> State:
    """Read a state. Nothing in the file is executed.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not a checkpoint, or broken.
    """
    try:
        # NumPy leaves open what it opens itself and finds to be broken.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        facts = json.loads(str(arrays.pop("facts")))
        if not isinstance(facts, dict):
            raise ValueError(f"facts {facts!r:.80}")
        state = State(facts)
        for kind in _ARRAYS:
            count = sum(name.startswith(f"{kind}/") for name in arrays)
            getattr(state, kind).extend(arrays[f"{kind}/{i}"] for i in range(count))
    except FileNotFoundError:
        raise
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        OSError,
        # Zip members marked as encrypted, or of an impossible kind or size.
        EOFError,
        RuntimeError,
        MemoryError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ValueError(
            f"expected a checkpoint in {path}; received {error}"
        ) from error
    return state


def capture(model: keras.Model, facts: dict, *, metrics: bool) -> State:
    """Return the state of a compiled model, with its running `metrics` or without."""
    return State(
        facts,
        variables=_values(_variables(model)),
        metrics=_values(model.metrics_variables) if metrics else [],
        random=_backend_random(),
    )


def restore(model: keras.Model, state: State) -> None:
    """Set a model, compiled as the one that was captured, to a state.

    Raises:
        ValueError: The state belongs to another model.
    """
    _assign(_variables(model), state.variables)
    if state.metrics:
        _assign(model.metrics_variables, state.metrics)
    _set_backend_random(state.random)


def check(model: keras.Model, state: State, facts: Collection[str]) -> None:
    """Check that a state has all facts and belongs to this model.

    Raises:
        ValueError: It lacks a fact, or belongs to another model.
    """
    missing = set(facts) - set(state.facts)
    if missing:
        raise ValueError(
            f"expected the checkpoint of a training run; it lacks {missing}"
        )
    _check_shapes(_variables(model), state.variables)
    if state.best:
        _check_shapes(model.weights, state.best)


def _variables(model: keras.Model) -> list:
    model.optimizer.build(model.trainable_variables)
    # Random state is among the non-trainable variables.
    return [
        *model.trainable_variables,
        *model.non_trainable_variables,
        *model.optimizer.variables,
    ]


def _values(variables: Sequence) -> list[np.ndarray]:
    # Copies: a variable may be changed in place.
    return [
        np.array(keras.ops.convert_to_numpy(keras.ops.copy(one))) for one in variables
    ]


def _assign(variables: Sequence, values: Sequence[np.ndarray]) -> None:
    _check_shapes(variables, values)
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _check_shapes(variables: Sequence, values: Sequence[np.ndarray]) -> None:
    expected = [tuple(variable.shape) for variable in variables]
    received = [value.shape for value in values]
    if expected != received:
        raise ValueError(
            f"expected a checkpoint of this model, with {len(expected)} variables of "
            f"shapes {expected}; received {len(received)} of {received}"
        )


def _backend_random() -> list[np.ndarray]:
    """Return torch's own state, from which Keras draws dropout masks without a seed."""
    if keras.backend.backend() != "torch":
        return []
    import torch

    return [torch.get_rng_state().numpy()]


def _set_backend_random(values: Sequence[np.ndarray]) -> None:
    if values:
        import torch

        torch.set_rng_state(torch.from_numpy(values[0]))
