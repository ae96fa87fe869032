"""Time the variants of the LSTM, beside Keras's loop around the same cells."""

import time
from collections.abc import Callable
from functools import partial

import keras
import numpy as np

import lstm_keras
from experiments.speed.agenda import Agenda
from experiments.speed.layers import KERAS, around, data, first_calls, step_times
from experiments.speed.metrics import TableMetrics
from experiments.speed.settings import Settings
from experiments.speed.shapes import KINDS, Shape
from lstm_keras import variants as cells

SHAPES = (Shape(64, 200, 32, 64), Shape(128, 100, 128, 256))
ROUNDS = 9
OURS = "lstm_keras"


def variants(settings: Settings, agenda: Agenda) -> TableMetrics:
    """Time training and prediction with each variant at two shapes."""
    jobs = {
        f"{name} {shape}": (make, shape)
        for shape in SHAPES
        for name, make in makers().items()
    }
    rows = []
    agenda.plan(jobs)
    with agenda:
        for name, (make, shape) in jobs.items():
            with agenda.measurement(name):
                times = measure(make, shape, ROUNDS)
            rows.append({"cell": name.partition(" ")[0], "shape": str(shape), **times})
            keras.utils.clear_session()
    return TableMetrics(
        measure="variants",
        finding=finding(rows),
        data={"ids": "random, of 1,000 words", "labels": "random"},
        engine={"layer": "lstm_keras.RNN", "path": str(engine())},
        notes=[],
        results={"Beside keras.layers.RNN around the same cell": rows},
    )


def makers() -> dict[str, Callable[[int], keras.Layer]]:
    """Return by name what makes each variant, given its units."""
    classes = {
        name: found
        for name, found in vars(cells).items()
        if name.endswith("LSTMCell") and found is not lstm_keras.LSTMCell
    }
    own = {
        "ProjectedLSTMCell": lambda units: {"projection": units // 2},
        "SLSTMCell": lambda units: {"heads": 4},
    }
    return {
        name: partial(_made, found, own.get(name, lambda units: {}))
        for name, found in classes.items()
    }


def _made(kind, own, units):
    return kind(units, **own(units))


def engine() -> str:
    """Return what runs a variant."""
    return lstm_keras.RNN(cells.CoupledLSTMCell(1)).explain_engine(True).engine


def finding(rows: list[dict]) -> str:
    """Return the range of the ratios at the first shape, in a sentence."""
    first = [row for row in rows if row["shape"] == str(SHAPES[0])]
    ranges = [
        f"{min(values):.1f} to {max(values):.1f} times as fast in {kind}"
        for kind in KINDS
        if (values := [row[f"{kind}, times as fast"] for row in first])
    ]
    if not ranges:
        return ""
    return f"Our layer around a variant is {' and '.join(ranges)} as Keras's."


def measure(make: Callable[[int], keras.Layer], shape: Shape, rounds: int) -> dict:
    """Time both layers around a cell, in turn.

    Args:
        make: Takes the units, and returns the cell.
        shape: The shape.
        rounds: Number of rounds, in each of which each layer runs an untimed and a
            timed step of each kind.

    Returns:
        For each kind of step our milliseconds, and how many times as fast as Keras's
        it is in wall-clock and in processor time, medians of the rounds' ratios.
    """
    ids, labels = data(shape)
    models = {
        KERAS: around(keras.layers.RNN(make(shape.units)), shape),
        OURS: around(lstm_keras.RNN(make(shape.units)), shape),
    }
    models[OURS].set_weights(models[KERAS].get_weights())
    steps = {
        "training": lambda model: model.train_on_batch(ids, labels),
        "prediction": lambda model: model.predict_on_batch(ids),
    }
    for kind in ("prediction", "training"):
        first_calls(steps[kind], models)
    found = {}
    for kind in KINDS:
        clocks = {name: ([], []) for name in models}
        for _ in range(rounds):
            for name, model in models.items():
                steps[kind](model)
                before = time.perf_counter(), time.process_time()
                steps[kind](model)
                after = time.perf_counter(), time.process_time()
                for clock, seconds in zip(
                    clocks[name], np.subtract(after, before), strict=True
                ):
                    clock.append(seconds)
        wall, processor = (
            step_times(ours, theirs)
            for ours, theirs in zip(clocks[OURS], clocks[KERAS], strict=True)
        )
        found |= {
            f"{kind}, ms": 1000 * wall["median"],
            f"{kind}, times as fast": wall["ratio"],
            f"{kind}, in processor time": processor["ratio"],
        }
    return found
