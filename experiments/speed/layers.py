"""Time every engine of one backend, in one process.

`backends.Workers` runs this module with KERAS_BACKEND set. Its only argument is a JSON
object with `task`, `flush_denormal` and the task's arguments; the answer is the last
line that it prints.

  {"task": "times", "shapes": ["64,200,32,64"], "rounds": 20, "flush_denormal": false}
  {"task": "memory", "shape": "64,200,32,64", "path": "keras", "flush_denormal": false}
"""

import dataclasses
import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np

from experiments.common.environment import environment
from experiments.common.processes import end_with_starter
from experiments.common.terminal import stage
from experiments.speed.shapes import Shape
from lstm_keras import LSTM, engines

KERAS, LOOP, TORCH = "keras", "loop", "torch.nn.LSTM"

WORDS = 1000  # rows of the embedding
MEMORY_STEPS = 5
# The first predictions of all paths must agree to this, in float32.
TOLERANCE = 1e-3


def main(argv: Sequence[str]) -> None:
    """Run the task on the command line, and print the answer."""
    end_with_starter()
    request = json.loads(argv[0])
    task = TASKS[request.pop("task")]
    flush = request.pop("flush_denormal")
    keras.utils.set_random_seed(0)
    if keras.backend.backend() == "torch":
        from experiments.speed import plain_torch

        if flush:
            plain_torch.flush_denormal()
    print(json.dumps(task(**request)))


def times(shapes: Sequence[str], rounds: int) -> dict:
    """Return the times at each shape, with environment and engine."""
    results = []
    for shape in shapes:
        with stage(f"{keras.backend.backend()} {shape}"):
            results.append(measure(Shape.read(shape), rounds))
            keras.utils.clear_session()
    return {
        "environment": dataclasses.asdict(environment()),
        "engine": str(LSTM(1).explain_engine(training=True)),
        "results": results,
    }


def measure(shape: Shape, rounds: int) -> dict:
    """Time every path at one shape, in turn, so that noise affects all alike.

    In each round each path runs an untimed and a timed step of each kind. The first
    calls, which compile, are timed separately.

    Returns:
        The JSON of a `backends.Times`.
    """
    ids, labels = data(shape)
    models = equal_models(shape)
    steps = {
        "prediction": lambda model: model.predict_on_batch(ids),
        "training": lambda model: model.train_on_batch(ids, labels),
    }
    firsts = {kind: first_calls(step, models) for kind, step in steps.items()}
    seconds = {kind: {path: [] for path in models} for kind in steps}
    for _ in range(rounds):
        for path, model in models.items():
            for kind, step in steps.items():
                step(model)
                seconds[kind][path].append(_timed(step, model)[0])
    return {
        "shape": str(shape),
        "operations": {
            kind: shape.operations(kind, int(np.count_nonzero(ids))) for kind in steps
        },
        "paths": {
            path: {
                kind: {"first": firsts[kind][path]}
                | step_times(seconds[kind][path], seconds[kind][KERAS])
                for kind in steps
            }
            for path in models
        },
    }


def step_times(seconds: Sequence[float], keras_seconds: Sequence[float]) -> dict:
    """Return median, 10% and 90% quantiles, and the speed relative to Keras's layer.

    That is the median of the ratios within each round.
    """
    low, median, high = np.quantile(seconds, (0.1, 0.5, 0.9)).tolist()
    ratio = float(np.median(np.divide(keras_seconds, seconds)))
    return {"low": low, "median": median, "high": high, "ratio": ratio}


def first_calls(step: Callable, models: dict) -> dict[str, float]:
    """Return the seconds of each model's first call, and check that results agree.

    Raises:
        ValueError: They do not, so that times would not be comparable.
    """
    calls = {path: _timed(step, model) for path, model in models.items()}
    for path, (_, result) in calls.items():
        difference = float(np.abs(result - calls[KERAS][1]).max())
        if not difference <= TOLERANCE:  # NaN fails as well
            raise ValueError(
                f"expected {path!r} to compute what Keras computes; received results "
                f"that differ by {difference:g}"
            )
    return {path: seconds for path, (seconds, _) in calls.items()}


def _timed(step: Callable, model) -> tuple[float, object]:
    start = time.perf_counter()
    result = step(model)  # a number or a NumPy array, so the work is done
    return time.perf_counter() - start, result


def data(shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Return random ids `(batch, time)`, padded on the left if masked, and labels.

    Lengths of masked sequences are drawn from a quarter of the steps to all of them.
    """
    rng = np.random.default_rng(0)
    ids = rng.integers(1, WORDS, (shape.batch, shape.steps), dtype=np.int32)
    if shape.masked:
        lengths = rng.integers(-(-shape.steps // 4), shape.steps + 1, (shape.batch, 1))
        ids[np.arange(shape.steps) < shape.steps - lengths] = 0
    return ids, rng.integers(0, 2, (shape.batch, 1)).astype(np.float32)


def paths() -> list[str]:
    """Return the paths of this backend: Keras's layer, engines, plain torch."""
    able = [name for name in engines.BACKENDS if can(name)]
    torch = [TORCH] if keras.backend.backend() == "torch" else []
    return [KERAS, LOOP, *able, *torch]


def can(engine: str) -> bool:
    """Return whether an engine runs here."""
    try:
        LSTM(1, engine=engine)
    except ValueError:
        return False
    return True


def equal_models(shape: Shape) -> dict:
    """Return a model for each path, with the same weights."""
    models = {path: build(path, shape) for path in paths()}
    weights = models[KERAS].get_weights()
    for model in models.values():
        model.set_weights(weights)
    return models


def build(path: str, shape: Shape):
    """Return Embedding -> LSTM -> Dense, with the LSTM of a path."""
    if path == TORCH:
        from experiments.speed.plain_torch import PlainModel

        return PlainModel(WORDS, shape)
    model = keras.Sequential(
        [
            keras.Input((shape.steps,), dtype="int32"),
            keras.layers.Embedding(WORDS, shape.features, mask_zero=shape.masked),
            keras.layers.LSTM(shape.units)
            if path == KERAS
            else LSTM(shape.units, engine=path),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile("adam", "binary_crossentropy")
    return model


def memory(shape: str, path: str, kind: str = "training") -> dict:
    """Return the MiB by which some steps of a kind raise this process's peak memory."""
    before = _peak_mebibytes()
    sizes = Shape.read(shape)
    ids, labels = data(sizes)
    model = build(path, sizes)
    for _ in range(MEMORY_STEPS):
        if kind == "training":
            model.train_on_batch(ids, labels)
        else:
            model.predict_on_batch(ids)
    return {"mebibytes": _peak_mebibytes() - before}


def _peak_mebibytes() -> float:
    """Return the peak resident memory of this process.

    On Linux ru_maxrss would include the peak of the parent process.
    """
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2 ** (20 if sys.platform == "darwin" else 10)  # bytes; or KiB


TASKS = {"times": times, "memory": memory}


if __name__ == "__main__":
    main(sys.argv[1:])
