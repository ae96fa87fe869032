"""Is our LSTM Keras's? The largest differences of outputs, states and gradients.

Every layer gets the same random weights, sequences and initial states. `REFERENCE`, in
NumPy, judges both in float64.
"""

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments import runner
from experiments.speed_layers import LOOP, can

if TYPE_CHECKING:
    import keras
    import numpy as np

BATCH, STEPS, FEATURES, UNITS = 4, 9, 5, 6

DTYPES = ("float32", "float64", "mixed_bfloat16", "mixed_float16")
MASKS = ("none", "right", "left", "holes")
KERAS, REFERENCE = "keras.layers.LSTM", "lstm_keras.reference"

# What is compared. The gradients are of a sum of all outputs, each with a random
# weight, so that nothing cancels.
QUANTITIES = (
    *("output", "h", "c"),
    *("d inputs", "d h0", "d c0", "d kernel", "d recurrent kernel", "d bias"),
)

# The largest differences allowed, relative to the largest element expected. In half
# precision it is some units in the last place, since roundings of the steps add up.
TOLERANCES = {
    "float32": 1e-5,
    "float64": 1e-12,
    "mixed_bfloat16": 4 * 2.0**-7,
    "mixed_float16": 4 * 2.0**-10,
}


@dataclass(frozen=True)
class Case:
    """What is asked of every layer in the same way.

    Attributes:
        dtype: Of `DTYPES`.
        mask: Of `MASKS`: where the padding is.
        go_backwards: As in the layer.
        return_sequences: As in the layer.
    """

    dtype: str
    mask: str
    go_backwards: bool
    return_sequences: bool


@dataclass(frozen=True)
class Problem:
    """Random numbers, float64: what the layers read, and the weights of the loss.

    Attributes:
        arrays: Inputs `(batch, steps, features)`, initial `h` and `c`
            `(batch, units)`, kernel, recurrent kernel and bias.
        loss_weights: Of the whole output `(batch, steps, units)` and of the last `h`
            and `c`, `(batch, units)`.
    """

    arrays: "list[np.ndarray]"
    loss_weights: "list[np.ndarray]"

    @classmethod
    def draw(cls, seed: int) -> "Problem":
        """Return the problem of a seed."""
        import numpy as np

        rng = np.random.default_rng(seed)
        state = (BATCH, UNITS)
        sequences = rng.normal(size=(BATCH, STEPS, FEATURES))
        weights = [(FEATURES, 4 * UNITS), (UNITS, 4 * UNITS), (4 * UNITS,)]
        return cls(
            [
                sequences,
                *(rng.normal(size=state) for _ in range(2)),
                *(0.5 * rng.normal(size=shape) for shape in weights),
            ],
            [rng.normal(size=s) for s in ((BATCH, STEPS, UNITS), state, state)],
        )


def equality(dtypes: Sequence[str], seed: int, quick: bool) -> list[dict]:
    """Return a row for each layer, what it is compared with, and case.

    Args:
        dtypes: Some of `DTYPES`.
        seed: Of weights, sequences and states.
        quick: See `cases`.

    Returns:
        Rows of `layer`, `against`, the case, the difference in each of `QUANTITIES`,
        the largest of them, `tolerance`, and whether it `passed`.
    """
    problem = Problem.draw(seed)
    rows = []
    for dtype in dtypes:
        with runner.stage(f"Equality in {dtype}"), double_precision(dtype):
            for case in cases(dtype, quick):
                rows += compare(case, problem)
    return rows


def cases(dtype: str, quick: bool) -> list[Case]:
    """Return every case of a dtype; if quick, only whole sequences read forwards."""
    if quick:
        return [Case(dtype, mask, False, True) for mask in MASKS]
    return [
        Case(dtype, *rest)
        for rest in itertools.product(MASKS, (False, True), (False, True))
    ]


@functools.cache
def ways() -> list[str]:
    """Return the ways through a sequence that our layer has here."""
    from lstm_keras import engines

    return [LOOP, *filter(can, engines.BACKENDS)]


def compare(case: Case, problem: Problem) -> list[dict]:
    """Return the rows of one case."""
    import keras

    import lstm_keras

    options = {
        "return_state": True,
        "return_sequences": case.return_sequences,
        "go_backwards": case.go_backwards,
        "dtype": case.dtype,
    }
    computed = {
        way: run_layer(lstm_keras.LSTM(UNITS, engine=way, **options), case, problem)
        for way in ways()
    }
    builtin = run_layer(keras.layers.LSTM(UNITS, **options), case, problem)
    rows = [row(case, way, KERAS, ours, builtin) for way, ours in computed.items()]
    if case.dtype == "float64":
        exact = run_reference(case, problem)
        computed[KERAS] = builtin
        rows += [
            row(case, way, REFERENCE, ours, exact) for way, ours in computed.items()
        ]
    return rows


def row(case: Case, way: str, against: str, actual: dict, expected: dict) -> dict:
    """Return the row of `actual` beside `expected`, arrays by quantity."""
    import numpy as np

    differences = {
        name: difference(actual[name], expected[name]) for name in QUANTITIES
    }
    largest = float(np.max(list(differences.values())))  # NaN, if one is
    allowed = tolerance(case.dtype, way, against)
    return {
        "layer": way if way == KERAS else f"lstm_keras.LSTM, {way}",
        "against": against,
        **dataclasses.asdict(case),
        **differences,
        "largest": largest,
        "tolerance": allowed,
        "passed": largest <= allowed,  # NaN fails
    }


def difference(actual: "np.ndarray", expected: "np.ndarray") -> float:
    """Return the largest difference, relative to the largest element expected.

    Where all that is expected is zero, the difference itself.
    """
    import numpy as np

    return float(np.abs(actual - expected).max() / (np.abs(expected).max() or 1.0))


def tolerance(dtype: str, way: str, against: str) -> float:
    """Return the largest difference allowed between two ways of computing."""
    import keras

    in_steps = {LOOP, KERAS} & {way, against}
    if not in_steps or (len(in_steps) == 2 and keras_goes_in_steps()):
        return TOLERANCES[dtype]
    if dtype == "float64" and keras.backend.backend() != "tensorflow":
        # `keras.ops.matmul` of float64 gives float32 there (keras issue 23704).
        return TOLERANCES["float32"]
    if dtype.startswith("mixed"):
        # An engine computes in float32 where a loop rounds at every step.
        return 4 * TOLERANCES[dtype]
    return TOLERANCES[dtype]


def keras_goes_in_steps() -> bool:
    """Return whether Keras's layer is a loop here, not an operator of the backend."""
    import keras

    return keras.backend.backend() != "torch" and "cudnn" not in ways()


def step_mask(name: str) -> "np.ndarray | None":
    """Return the mask of a name of `MASKS`, `(batch, steps)`, True where a step counts.

    Every sequence has a step that counts; the first has no padding but holes.
    """
    import numpy as np

    if name == "none":
        return None
    steps = np.arange(STEPS)
    if name == "holes":
        return (steps + np.arange(BATCH)[:, None]) % 3 > 0
    lengths = np.linspace(STEPS, 1, BATCH).astype(int)[:, None]
    return steps < lengths if name == "right" else steps >= STEPS - lengths


def run_layer(
    layer: "keras.layers.Layer", case: Case, problem: Problem
) -> "dict[str, np.ndarray]":
    """Return all `QUANTITIES` of a layer, as float64."""
    import keras
    from keras import ops

    from lstm_keras.interpret.gradients import gradients

    layer.build((BATCH, STEPS, FEATURES))
    arrays = [array.astype(layer.variable_dtype) for array in problem.arrays]
    mask = step_mask(case.mask)
    loss_weights = [w.astype(layer.variable_dtype) for w in problem.loss_weights]
    if not case.return_sequences:
        loss_weights[0] = loss_weights[0][:, -1]

    def outputs(x, h, c, *weights):
        given = zip(layer.trainable_variables, weights, strict=True)
        with keras.StatelessScope(state_mapping=given):
            return layer(x, initial_state=[h, c], mask=mask)

    def loss(*tensors):
        return sum(
            ops.sum(ops.cast(output, layer.variable_dtype) * ops.convert_to_tensor(w))
            for output, w in zip(outputs(*tensors), loss_weights, strict=True)
        )

    found = [
        *map(ops.convert_to_numpy, outputs(*map(ops.convert_to_tensor, arrays))),
        *gradients(loss, arrays),
    ]
    return {
        name: array.astype("float64")
        for name, array in zip(QUANTITIES, found, strict=True)
    }


def run_reference(case: Case, problem: Problem) -> "dict[str, np.ndarray]":
    """Return all `QUANTITIES` by the NumPy reference."""
    import keras
    import numpy as np

    from lstm_keras.reference import lstm_backward, lstm_forward

    x, h0, c0, *weights = problem.arrays
    mask = step_mask(case.mask)
    order = slice(None, None, -1 if case.go_backwards else 1)
    forward = lstm_forward(
        x[:, order],
        *weights,
        h0=h0,
        c0=c0,
        mask=None if mask is None else mask[:, order],
    )
    shown = forward.output_mask()
    if keras.backend.backend() == "jax":
        # Keras on JAX shows h0, where other backends show zeros, before the first step.
        shown = np.ones_like(shown)
    of_output, of_h, of_c = problem.loss_weights
    output = forward.h * shown
    if not case.return_sequences:
        of_output = of_output * (np.arange(STEPS) == STEPS - 1)[:, None]
        output = output[:, -1]
    found = lstm_backward(forward, dh=of_output * shown, dh_last=of_h, dc_last=of_c)
    states = output, forward.h_last, forward.c_last
    inputs = found.x[:, order]
    by_weights = found.kernel, found.recurrent_kernel, found.bias
    values = *states, inputs, found.h0, found.c0, *by_weights
    return dict(zip(QUANTITIES, values, strict=True))


@contextlib.contextmanager
def double_precision(dtype: str) -> Iterator[None]:
    """Let JAX compute in float64 if that is the dtype; it makes float32 of it else."""
    import keras

    if dtype != "float64" or keras.backend.backend() != "jax":
        yield
        return
    import jax

    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


def table(rows: Sequence[dict], keys: Sequence[str]) -> list[dict]:
    """Return a row for each value of the keys, with the largest differences.

    Args:
        rows: As `equality` returns them.
        keys: `dtype`, `layer` and `against`, which decide the tolerance, and others;
            the first one changes slowest from row to row.
    """
    import numpy as np

    places = {key: list(dict.fromkeys(one[key] for one in rows)) for key in keys}
    groups = {}
    for one in sorted(rows, key=lambda one: [places[k].index(one[k]) for k in keys]):
        groups.setdefault(tuple(one[key] for key in keys), []).append(one)
    return [
        dict(zip(keys, group, strict=True))
        | {
            name: float(np.max([one[name] for one in members]))
            for name in (*QUANTITIES, "largest")
        }
        | {
            "tolerance": members[0]["tolerance"],
            "cases": len(members),
            "failed": sum(not one["passed"] for one in members),
        }
        for group, members in groups.items()
    ]
