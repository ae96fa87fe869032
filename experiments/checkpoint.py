"""All that a training is at one moment, in one file, from which it goes on.

Keras's `BackupAndRestore` keeps weights, optimizer and epoch. To end with the same
numbers as a training that was never stopped also takes the place in the epoch's order,
the running metrics, the random state, the history, and what early stopping knows: here
they are, in one file, so that they can't be of two different moments.

Imports Keras: scripts import this file inside functions.
"""

import json
import zipfile
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from experiments.whole_files import whole_file


@dataclass
class State:
    """A training at one moment.

    Attributes:
        facts: What JSON can hold: where it is, its history, its callbacks' numbers.
        variables: Values of the weights, of the random state, of the optimizer.
        metrics: Values of the running metrics; none at the beginning of an epoch.
        best: Weights of the best epoch so far; none before the first.
        random: Values of the backend's own random state.
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
    """Write a state; the file before it stays until this one is whole.

    Raises:
        OSError: It cannot be written; the message names the file.
    """
    arrays = {
        f"{kind}/{index}": value
        for kind in _ARRAYS
        for index, value in enumerate(getattr(state, kind))
    }
    with whole_file(path, "wb") as file:
        np.savez(file, facts=np.array(json.dumps(state.facts)), **arrays)


def read(path: Path) -> State:
    """Read a state. Nothing in the file is run.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no checkpoint, or a broken one.
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
        *(ValueError, TypeError, KeyError, AttributeError, OSError),
        # Of members that are declared encrypted, or of a kind or size that can't be.
        *(EOFError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error),
    ) as error:
        raise ValueError(
            f"expected a checkpoint in {path}; received {error}"
        ) from error
    return state


def capture(model: keras.Model, facts: dict, *, metrics: bool) -> State:
    """Return the state of a compiled model.

    Args:
        model: It, with an optimizer that is built.
        facts: See `State`.
        metrics: Whether the running metrics belong to it.
    """
    return State(
        facts,
        variables=_values(_variables(model)),
        metrics=_values(model.metrics_variables) if metrics else [],
        random=_backend_random(),
    )


def restore(model: keras.Model, state: State) -> None:
    """Bring a model, compiled as the one before, to a state.

    Raises:
        ValueError: The state is that of another model.
    """
    _assign(_variables(model), state.variables)
    if state.metrics:
        _assign(model.metrics_variables, state.metrics)
    _set_backend_random(state.random)


def check(model: keras.Model, state: State, facts: Collection[str]) -> None:
    """Refuse a state without these facts, or of another model.

    Raises:
        ValueError: It is one.
    """
    missing = set(facts) - set(state.facts)
    if missing:
        raise ValueError(f"expected a training's checkpoint; it lacks {missing}")
    _check_shapes(_variables(model), state.variables)
    if state.best:
        _check_shapes(model.weights, state.best)


def _variables(model: keras.Model) -> list:
    model.optimizer.build(model.trainable_variables)
    # Random state is among those that are not trainable.
    return [
        *model.trainable_variables,
        *model.non_trainable_variables,
        *model.optimizer.variables,
    ]


def _values(variables: Sequence) -> list[np.ndarray]:
    # Copies: what a variable holds may be changed in its place.
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
    """Return what Keras leaves to torch: the dropout masks of layers without a seed."""
    if keras.backend.backend() != "torch":
        return []
    import torch

    return [torch.get_rng_state().numpy()]


def _set_backend_random(values: Sequence[np.ndarray]) -> None:
    if values:
        import torch

        torch.set_rng_state(torch.from_numpy(values[0]))
