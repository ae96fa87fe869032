"""Vanishing and exploding gradients through time: computed and measured."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import keras
import numpy as np

import lstm_keras
from experiments.common.terminal import stages
from experiments.gate_dynamics.metrics import GradientRatios
from experiments.gate_dynamics.settings import Settings
from experiments.memory.tasks import adding

# Factors and number of steps of the textbook's product.
MULTIPLIERS, PRODUCT_STEPS = (0.5, 2.0), 20

# Number of sequences whose gradients are measured.
EXAMPLES = 64

# The lags whose gradients are compared.
FAR, NEAR = 100, 1


@dataclass(frozen=True)
class Flow:
    """The gradient in one layer, by step.

    Attributes:
        layer: The layer.
        seed: Seed of weights and sequences.
        trained: Whether it was measured after training.
        loss: Mean squared error.
        h: Norm of the gradient by the hidden state at each step, relative to the last
            step: the median over the examples.
        c: The same by the cell state, if there is one.
    """

    layer: str
    seed: int
    trained: bool
    loss: float
    h: list[float]
    c: list[float] | None = None


def products() -> dict[str, list[float]]:
    """Return the textbook's gradient u^n at lag n, the longest lag first.

    In the linear recurrence h_t = u h_{t-1} the gradient by h vanishes for |u| < 1 and
    explodes for |u| > 1.
    """
    return {
        f"{u:g} at every step": [u**n for n in range(PRODUCT_STEPS, -1, -1)]
        for u in MULTIPLIERS
    }


def cells() -> dict[str, Callable]:
    """Return the constructor of each recurrent layer, given its units, by name."""

    def lstm(forget_bias: bool) -> Callable:
        return lambda units: lstm_keras.LSTM(units, unit_forget_bias=forget_bias)

    return {
        "SimpleRNN": keras.layers.SimpleRNN,
        "GRU": keras.layers.GRU,
        "LSTM, forget bias 0": lstm(False),
        "LSTM, forget bias 1": lstm(True),
    }


def measure(settings: Settings) -> list[Flow]:
    """Measure each layer's gradient, for each seed, before and after training.

    Every layer learns the adding problem (see `experiments.memory`) over `length`
    steps; its loss depends on the last step's output.
    """
    seeds = range(settings.seed, settings.seed + settings.seeds)
    every = [(name, make, seed) for seed in seeds for name, make in cells().items()]
    flows = []
    for name, make, seed in stages(every, lambda one: f"{one[0]}, seed {one[2]}"):
        flows += _measure_one(settings, name, make, seed)
    return flows


def _measure_one(
    settings: Settings, name: str, make: Callable, seed: int
) -> Iterator[Flow]:
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    examples = adding(settings.length, EXAMPLES, rng)
    model = keras.Sequential(
        [
            keras.Input((settings.length, 2)),
            make(settings.units),
            keras.layers.Dense(1),
        ]
    )
    optimizer = keras.optimizers.Adam(settings.learning_rate, global_clipnorm=1.0)
    model.compile(optimizer, "mse")
    yield Flow(name, seed, False, **_flow(model, *examples))
    for _ in range(settings.steps):
        model.train_on_batch(*adding(settings.length, settings.batch_size, rng))
    yield Flow(name, seed, True, **_flow(model, *examples))


def _flow(model: keras.Model, inputs: np.ndarray, targets: np.ndarray) -> dict:
    flow = lstm_keras.gradient_flow(model, inputs, targets)[0]
    loss = model.evaluate(inputs, targets, batch_size=len(inputs), verbose=0)
    return {
        "loss": float(loss),
        "h": _relative(flow.h),
        "c": None if flow.c is None else _relative(flow.c),
    }


def _relative(norms: np.ndarray) -> list[float]:
    """Return the median over the examples of norms relative to their last step."""
    # In float32 the ratio of two small numbers could be 0.
    norms = np.asarray(norms, np.float64)
    return np.median(norms / norms[:, -1:], axis=0).tolist()


def ratios(flows: Sequence[Flow]) -> list[GradientRatios]:
    """Return the ratio of the gradients at lags `FAR` and `NEAR`.

    Returns:
        A value for each layer, untrained and trained, over all seeds.
    """
    grouped: dict = {}
    for flow in flows:
        grouped.setdefault((flow.layer, flow.trained), []).append(flow)
    found = []
    for (layer, trained), same in grouped.items():
        by_seed = [_ratio(flow.h) for flow in same]
        known = [ratio for ratio in by_seed if ratio is not None]
        found.append(
            GradientRatios(
                layer=layer,
                trained=trained,
                ratios=by_seed,
                median=float(np.median(known)) if known else None,
                loss=float(np.mean([flow.loss for flow in same])),
            )
        )
    return found


def _ratio(norms: list[float]) -> float | None:
    if len(norms) <= FAR + 1:
        return None
    return norms[-1 - FAR] / norms[-1 - NEAR]


def curves(flows: Sequence[Flow], trained: bool) -> dict[str, list[list[float]]]:
    """Return the curves of all seeds by layer, for `plots.plot_gradient_flow`."""
    found: dict = {}
    for flow in flows:
        if flow.trained is trained:
            found.setdefault(flow.layer, []).append(flow.h)
    return found


def csv_rows(flows: Sequence[Flow]) -> list[dict]:
    """Return a row for each layer, seed, training state and lag."""
    return [
        {
            "layer": flow.layer,
            "seed": flow.seed,
            "trained": flow.trained,
            "lag": len(flow.h) - 1 - t,
            "h": flow.h[t],
            "c": "" if flow.c is None else flow.c[t],
        }
        for flow in flows
        for t in range(len(flow.h))
    ]
