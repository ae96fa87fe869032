"""How gradients fade or grow on their way back through time: computed and measured."""

from collections.abc import Callable

from experiments import runner

# The multipliers of the textbook's product, and over how many steps.
MULTIPLIERS, PRODUCT_STEPS = (0.5, 2.0), 20

# Sequences whose gradients are measured.
EXAMPLES = 64

# The lags whose ratio tells how much of the gradient is left.
FAR, NEAR = 100, 1


def products() -> dict[str, list[float]]:
    """Return the textbook's gradient, u^n after n steps back, the last step's last.

    What a linear recurrence h_t = u h_{t-1} makes of the gradient by h: it fades for
    |u| < 1 and explodes for |u| > 1.
    """
    return {
        f"{u:g} at every step": [u**n for n in range(PRODUCT_STEPS, -1, -1)]
        for u in MULTIPLIERS
    }


def cells() -> dict[str, Callable]:
    """Return by name what makes each recurrent layer from its number of units."""
    import keras

    import lstm_keras

    def lstm(forget_bias: bool) -> Callable:
        return lambda units: lstm_keras.LSTM(units, unit_forget_bias=forget_bias)

    return {
        "SimpleRNN": keras.layers.SimpleRNN,
        "GRU": keras.layers.GRU,
        "LSTM, forget bias 0": lstm(False),
        "LSTM, forget bias 1": lstm(True),
    }


def measure(settings) -> list[dict]:
    """Return the flow through each layer, for each seed, before and after training.

    Every layer learns the adding problem (see `experiments.memory_tasks`) at `length`
    steps, where the loss is that of the last step's output.

    Args:
        settings: With `seed`, `seeds`, `length`, `units`, `steps`, `batch_size` and
            `learning_rate`.

    Returns:
        Rows of layer, seed, trained, loss, the norms by the hidden state and, if there
        is one, by the cell state: the median over the examples at each step, relative
        to the last step.
    """
    rows = []
    for seed in range(settings.seed, settings.seed + settings.seeds):
        for name, make in cells().items():
            with runner.stage(f"Gradients: {name}, seed {seed}"):
                rows += _measure_one(settings, name, make, seed)
    return rows


def _measure_one(settings, name: str, make: Callable, seed: int) -> list[dict]:
    import keras
    import numpy as np

    from experiments.memory_tasks import adding

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
    rows = [{"trained": False, **_flow(model, *examples)}]
    for _ in range(settings.steps):
        model.train_on_batch(*adding(settings.length, settings.batch_size, rng))
    rows.append({"trained": True, **_flow(model, *examples)})
    return [{"layer": name, "seed": seed, **row} for row in rows]


def _flow(model, inputs, targets) -> dict:
    import lstm_keras

    flow = lstm_keras.gradient_flow(model, inputs, targets)[0]
    loss = model.evaluate(inputs, targets, batch_size=len(inputs), verbose=0)
    return {
        "loss": float(loss),
        "h": _relative(flow.h),
        "c": None if flow.c is None else _relative(flow.c),
    }


def _relative(norms) -> list[float]:
    """Return the median over the examples of norms relative to their last step."""
    import numpy as np

    # Float64, or the ratio of two small numbers would be 0 too early.
    norms = np.asarray(norms, np.float64)
    return np.median(norms / norms[:, -1:], axis=0).tolist()


def ratios(rows: list[dict]) -> list[dict]:
    """Return for each layer, untrained and trained, what is left at lag FAR.

    Returns:
        Rows of layer, trained, the seeds' ratios of the norm at lag `FAR` to that at
        lag `NEAR`, their median, and the mean loss; ratios are None for shorter
        sequences, and 0 of a gradient below the smallest float32.
    """
    import numpy as np

    grouped: dict = {}
    for row in rows:
        grouped.setdefault((row["layer"], row["trained"]), []).append(row)
    found = []
    for (layer, trained), same in grouped.items():
        by_seed = [_ratio(row["h"]) for row in same]
        known = [ratio for ratio in by_seed if ratio is not None]
        found.append(
            {
                "layer": layer,
                "trained": trained,
                "ratios": by_seed,
                "median": float(np.median(known)) if known else None,
                "loss": float(np.mean([row["loss"] for row in same])),
            }
        )
    return found


def _ratio(norms: list[float]) -> float | None:
    if len(norms) <= FAR + 1:
        return None
    return norms[-1 - FAR] / norms[-1 - NEAR]


def mean_curves(rows: list[dict], trained: bool) -> dict[str, list[list[float]]]:
    """Return by layer the seeds' curves, for `plots.plot_gradient_flow`."""
    curves: dict = {}
    for row in rows:
        if row["trained"] is trained:
            curves.setdefault(row["layer"], []).append(row["h"])
    return curves


def csv_rows(rows: list[dict]) -> list[dict]:
    """Return a row for each layer, seed, state of training and lag."""
    return [
        {
            "layer": row["layer"],
            "seed": row["seed"],
            "trained": row["trained"],
            "lag": len(row["h"]) - 1 - t,
            "h": row["h"][t],
            "c": "" if row["c"] is None else row["c"][t],
        }
        for row in rows
        for t in range(len(row["h"]))
    ]
