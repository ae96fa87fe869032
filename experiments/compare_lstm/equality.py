"""The largest differences of outputs, states and gradients between the two layers.

Both have the same random weights, sequences and initial states. In float64 both are
also compared with the NumPy reference.
"""

import contextlib
import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

import lstm_keras
from experiments.common.result import metrics
from experiments.common.terminal import stage
from experiments.speed.layers import LOOP, can
from lstm_keras import engines
from lstm_keras.interpret.gradients import gradients
from lstm_keras.reference import lstm_layer

BATCH, STEPS, FEATURES, UNITS = 4, 9, 5, 6

MASKS = ("none", "right", "left", "holes")
KERAS, REFERENCE = "keras.layers.LSTM", "lstm_keras.reference"

# The compared quantities. The gradients are those of a randomly weighted sum of all
# outputs, so that nothing cancels.
STATES = ("output", "h", "c")
GRADIENTS = ("d inputs", "d h0", "d c0", "d kernel", "d recurrent kernel", "d bias")
QUANTITIES = STATES + GRADIENTS

# The allowed differences, relative to the largest expected element. In half precision
# these are a few units in the last place, since rounding errors of the steps add up.
TOLERANCES = {
    "float32": 1e-5,
    "float64": 1e-12,
    "mixed_bfloat16": 4 * 2.0**-7,
    "mixed_float16": 4 * 2.0**-10,
}

SHOWN_FAILURES = 5


@metrics
class Equality:
    """The differences between the layers."""

    verdict: str
    """Whether the layers are equal, in a sentence."""
    cases: int
    """Number of comparisons."""
    failed: int
    """Number of comparisons that exceed their tolerance."""
    failures: list[str]
    """The comparisons that exceed their tolerance, in words."""
    table: list[dict[str, str | int | float | None]]
    """The largest differences by dtype, layer, reference (`against`) and mask, relative
    to the largest expected element, null if not finite; `d` is the gradient.
    `tolerance` is the allowed difference, `cases` the number of comparisons, `failed`
    the number of those that exceed it."""


@dataclass(frozen=True)
class Case:
    """A computation that all layers repeat.

    Attributes:
        dtype: One of `settings.DTYPES`.
        mask: The place of the padding, one of `MASKS`.
        go_backwards: As in the layer.
        return_sequences: As in the layer.
    """

    dtype: str
    mask: str
    go_backwards: bool
    return_sequences: bool


@dataclass(frozen=True)
class Problem:
    """Random float64 inputs, weights, and weights of the loss.

    Attributes:
        arrays: Inputs `(batch, steps, features)`, initial `h` and `c`
            `(batch, units)`, kernel, recurrent kernel and bias.
        loss_weights: Those of the output at every step, `(batch, steps, units)`, and of
            the last `h` and `c`, `(batch, units)`.
    """

    arrays: list[np.ndarray]
    loss_weights: list[np.ndarray]

    @classmethod
    def draw(cls, seed: int) -> "Problem":
        """Draw the problem of a seed."""
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

    def loss_weights_of(self, case: Case) -> list[np.ndarray]:
        """Return a weight for each element of the layer's outputs."""
        sequence, *states = self.loss_weights
        return [sequence if case.return_sequences else sequence[:, -1], *states]


def compare_all(dtypes: Sequence[str], seed: int, quick: bool) -> list[dict]:
    """Return a row for each layer, reference and case.

    Args:
        dtypes: Some of `settings.DTYPES`.
        seed: Seed of weights, sequences and states.
        quick: See `cases`.

    Returns:
        Rows of `layer`, `against`, the case, the difference in each of `QUANTITIES`,
        the largest of them, `tolerance`, and whether it `passed`.
    """
    problem = Problem.draw(seed)
    rows = []
    for dtype in dtypes:
        with stage(f"Equality in {dtype}"), double_precision(dtype):
            for case in cases(dtype, quick):
                rows += compare(case, problem)
    return rows


def cases(dtype: str, quick: bool) -> list[Case]:
    """Return all cases of a dtype; if quick, only whole sequences read forwards."""
    if quick:
        return [Case(dtype, mask, False, True) for mask in MASKS]
    return [
        Case(dtype, *rest)
        for rest in itertools.product(MASKS, (False, True), (False, True))
    ]


@functools.cache
def engines_here() -> list[str]:
    """Return the loop and the engines that can run here."""
    return [LOOP, *filter(can, engines.BACKENDS)]


def compare(case: Case, problem: Problem) -> list[dict]:
    """Return the rows of one case."""
    options = {
        "return_state": True,
        "return_sequences": case.return_sequences,
        "go_backwards": case.go_backwards,
        "dtype": case.dtype,
    }
    computed = {
        engine: run_layer(
            lstm_keras.LSTM(UNITS, engine=engine, **options), case, problem
        )
        for engine in engines_here()
    }
    builtin = run_layer(keras.layers.LSTM(UNITS, **options), case, problem)
    rows = [row(case, name, KERAS, ours, builtin) for name, ours in computed.items()]
    if case.dtype == "float64":
        exact = run_reference(case, problem)
        computed[KERAS] = builtin
        rows += [
            row(case, name, REFERENCE, found, exact) for name, found in computed.items()
        ]
    return rows


def row(case: Case, name: str, against: str, actual: dict, expected: dict) -> dict:
    """Return the row that compares actual and expected arrays.

    Args:
        case: The case.
        name: One of our engines, or `KERAS`.
        against: `KERAS` or `REFERENCE`.
        actual: Arrays by quantity.
        expected: Arrays by quantity.
    """
    differences = {key: difference(actual[key], expected[key]) for key in QUANTITIES}
    largest = float(np.max(list(differences.values())))  # NaN, if one is
    allowed = tolerance(case.dtype, name, against)
    return {
        "layer": name if name == KERAS else f"lstm_keras.LSTM, {name}",
        "against": against,
        **dataclasses.asdict(case),
        **differences,
        "largest": largest,
        "tolerance": allowed,
        "passed": largest <= allowed,  # NaN fails
    }


def difference(actual: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference, relative to the largest expected element.

    If all expected elements are zero, it is absolute.
    """
    return float(np.abs(actual - expected).max() / (np.abs(expected).max() or 1.0))


def tolerance(dtype: str, name: str, against: str) -> float:
    """Return the largest difference allowed; see `row`."""
    loops = {LOOP, KERAS} & {name, against}
    if not loops or (len(loops) == 2 and keras_is_a_loop()):
        return TOLERANCES[dtype]
    if dtype == "float64" and keras.backend.backend() != "tensorflow":
        # `keras.ops.matmul` of float64 gives float32 there (keras issue 23704).
        return TOLERANCES["float32"]
    if dtype.startswith("mixed"):
        # Where a loop rounds at every step, an engine computes in float32.
        return 4 * TOLERANCES[dtype]
    return TOLERANCES[dtype]


def keras_is_a_loop() -> bool:
    """Return whether Keras's layer is a loop here, not an operator of the backend."""
    return keras.backend.backend() != "torch" and "cudnn" not in engines_here()


def step_mask(name: str) -> np.ndarray | None:
    """Return a mask of `MASKS`, `(batch, steps)`, False where a step is padding.

    Every sequence has an unmasked step; the first has no padding but holes.
    """
    if name == "none":
        return None
    steps = np.arange(STEPS)
    if name == "holes":
        return (steps + np.arange(BATCH)[:, None]) % 3 > 0
    lengths = np.linspace(STEPS, 1, BATCH).astype(int)[:, None]
    return steps < lengths if name == "right" else steps >= STEPS - lengths


def run_layer(
    layer: keras.layers.Layer, case: Case, problem: Problem
) -> dict[str, np.ndarray]:
    """Return all `QUANTITIES` of a layer, as float64."""
    layer.build((BATCH, STEPS, FEATURES))
    arrays = [array.astype(layer.variable_dtype) for array in problem.arrays]
    mask = step_mask(case.mask)
    loss_weights = [
        weights.astype(layer.variable_dtype)
        for weights in problem.loss_weights_of(case)
    ]

    def outputs(x, h, c, *weights):
        values = zip(layer.trainable_variables, weights, strict=True)
        with keras.StatelessScope(state_mapping=values):
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


def run_reference(case: Case, problem: Problem) -> dict[str, np.ndarray]:
    """Return all `QUANTITIES` of the NumPy reference."""
    x, h0, c0, *weights = problem.arrays
    call = lstm_layer(
        x,
        *weights,
        h0,
        c0,
        step_mask(case.mask),
        go_backwards=case.go_backwards,
        return_sequences=case.return_sequences,
        shows_initial_state=keras.backend.backend() == "jax",
    )
    found = [*call.outputs, *call.gradients(problem.loss_weights_of(case))]
    return dict(zip(QUANTITIES, found, strict=True))


@contextlib.contextmanager
def double_precision(dtype: str) -> Iterator[None]:
    """Enable float64 on JAX, which is off by default, if that is the dtype."""
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


def table(rows: Sequence[dict], *more: str) -> list[dict]:
    """Return the largest differences by dtype, layer and reference.

    Args:
        rows: The rows of `compare_all`.
        *more: Further keys to group by.
    """
    keys = ("dtype", "layer", "against", *more)
    places = {key: list(dict.fromkeys(one[key] for one in rows)) for key in keys}
    groups = {}
    for one in sorted(rows, key=lambda one: [places[k].index(one[k]) for k in keys]):
        groups.setdefault(tuple(one[key] for key in keys), []).append(one)
    return [
        dict(zip(keys, group, strict=True))
        | {
            name: _finite(float(np.max([one[name] for one in members])))
            for name in (*QUANTITIES, "largest")
        }
        | {
            "tolerance": members[0]["tolerance"],
            "cases": len(members),
            "failed": sum(not one["passed"] for one in members),
        }
        for group, members in groups.items()
    ]


def summary(rows: Sequence[dict]) -> Equality:
    """Return the metrics of the rows of `compare_all`."""
    failures = [failure(one) for one in rows if not one["passed"]]
    return Equality(
        verdict=verdict(rows, failures),
        cases=len(rows),
        failed=len(failures),
        failures=failures,
        table=table(rows, "mask"),
    )


def verdict(rows: Sequence[dict], failures: Sequence[str]) -> str:
    """Return whether the layers are equal, in a sentence."""
    backend = keras.backend.backend()
    if not failures:
        layers = dict.fromkeys(one["layer"] for one in rows)
        return (
            f"Equal within tolerance in all {len(rows)} cases, on {backend} "
            f"({'; '.join(layers)})."
        )
    shown = "; ".join(failures[:SHOWN_FAILURES])
    more = len(failures) - SHOWN_FAILURES
    return (
        f"NOT equal, on {backend}: {len(failures)} of {len(rows)} cases exceed their "
        f"tolerance: {shown}{f'; and {more} more' if more > 0 else ''}."
    )


def failure(one: dict) -> str:
    """Describe a row's case, and its largest difference."""
    # Not max by the number alone: NaN is neither above nor below another number.
    worst = max(QUANTITIES, key=lambda name: (math.isnan(one[name]), one[name]))
    options = [option for option in ("go_backwards", "return_sequences") if one[option]]
    case = ", ".join([one["dtype"], f"mask {one['mask']}", *options])
    return (
        f"{one['layer']} against {one['against']} ({case}): {worst} "
        f"{number(one[worst])} > {number(one['tolerance'])}"
    )


def number(value: float | None) -> str:
    """Return a small number with two digits; None stands for one that is not finite."""
    if value is None:
        return "not finite"
    return "0" if value == 0 else f"{value:.1e}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
