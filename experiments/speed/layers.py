"""Time every engine of one backend, in one process.

`backends.Workers` runs this module with KERAS_BACKEND set. Its only argument is a JSON
object with `task`, `flush_denormal` and the task's arguments. It answers with JSON
objects, one a line, as soon as it has measured something.

  {"task": "times", "shapes": ["64,200,32,64"], "rounds": 20, "flush_denormal": false}
  {"task": "memory", "shape": "64,200,32,64", "path": "keras", "flush_denormal": false}
"""

import dataclasses
import json
import math
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import keras
import numpy as np

from experiments.common.environment import environment
from experiments.common.processes import end_with_starter
from experiments.speed.shapes import Shape
from lstm_keras import LSTM, engines

KERAS, LOOP, TORCH = "keras", "loop", "torch.nn.LSTM"

WORDS = 1000  # rows of the embedding
MEMORY_STEPS = 5
# The first predictions of all paths must agree to this, in float32.
TOLERANCE = 1e-3


def main(argv: Sequence[str]) -> None:
    """Run the task on the command line, and print its answers."""
    end_with_starter()
    request = json.loads(argv[0])
    task = TASKS[request.pop("task")]
    flush = request.pop("flush_denormal")
    keras.utils.set_random_seed(0)
    if keras.backend.backend() == "torch":
        from experiments.speed import plain_torch

        if flush:
            plain_torch.flush_denormal()
    for answer in task(**request):
        print(json.dumps(answer), flush=True)


def times(
    shapes: Sequence[str], rounds: int, until: float = math.inf
) -> Iterator[dict]:
    """Yield environment and engine, then the answers of `measure` for each shape.

    Args:
        shapes: The shapes.
        rounds: See `measure`.
        until: The `time.time()` at which to end; no shape but the first one is begun
            if one that takes as long as the one before it would be late.
    """
    yield {
        "environment": dataclasses.asdict(environment()),
        "engine": str(LSTM(1).explain_engine(training=True)),
    }
    begun, seconds = time.time(), -math.inf
    for shape in shapes:
        if time.time() + seconds > until:
            return
        yield from measure(Shape.read(shape), rounds, until)
        keras.utils.clear_session()
        begun, seconds = time.time(), time.time() - begun


def measure(shape: Shape, rounds: int, until: float = math.inf) -> Iterator[dict]:
    """Time every path at one shape, in turn, so that noise affects all alike.

    In each round each path runs an untimed and a timed step of each kind. The first
    calls, which compile, are timed separately.

    Args:
        shape: The shape.
        rounds: Number of rounds.
        until: The `time.time()` after which no round but the first one is begun.

    Yields:
        The shape; with the "round" 0 once all is compiled; and after each round with
        its number what `metrics.Times` has, of all rounds so far.
    """
    yield {"shape": str(shape)}
    ids, labels = data(shape)
    models = equal_models(shape)
    steps = {
        "prediction": lambda model: model.predict_on_batch(ids),
        "training": lambda model: model.train_on_batch(ids, labels),
    }
    firsts = {kind: first_calls(step, models) for kind, step in steps.items()}
    seconds = {kind: {path: [] for path in models} for kind in steps}
    real = int(np.count_nonzero(ids))
    operations = {kind: shape.operations(kind, real) for kind in steps}
    yield {"shape": str(shape), "round": 0}
    for number in range(1, rounds + 1):
        if number > 1 and time.time() > until:
            return
        for path, model in models.items():
            for kind, step in steps.items():
                step(model)
                seconds[kind][path].append(_timed(step, model)[0])
        paths = {
            path: {
                kind: {"first": firsts[kind][path]}
                | step_times(seconds[kind][path], seconds[kind][KERAS])
                for kind in steps
            }
            for path in models
        }
        yield {
            "shape": str(shape),
            "round": number,
            "operations": operations,
            "paths": paths,
        }


def step_times(seconds: Sequence[float], keras_seconds: Sequence[float]) -> dict:
    """Return what `metrics.Step` has of the rounds.

    The speed relative to Keras's layer is the median of the ratios within each round.
    """
    low, median, high = np.quantile(seconds, (0.1, 0.5, 0.9)).tolist()
    ratio = float(np.median(np.divide(keras_seconds, seconds)))
    return {
        "low": low,
        "median": median,
        "high": high,
        "ratio": ratio,
        "rounds": len(seconds),
    }


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
    if path == KERAS:
        return around(keras.layers.LSTM(shape.units), shape)
    return around(LSTM(shape.units, engine=path), shape)


def around(layer: keras.Layer, shape: Shape) -> keras.Model:
    """Return Embedding -> layer -> Dense."""
    model = keras.Sequential(
        [
            keras.Input((shape.steps,), dtype="int32"),
            keras.layers.Embedding(WORDS, shape.features, mask_zero=shape.masked),
            layer,
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile("adam", "binary_crossentropy")
    return model


def memory(shape: str, path: str, kind: str = "training") -> Iterator[dict]:
    """Yield the MiB by which some steps of a kind raise this process's peak memory."""
    before = _peak_mebibytes()
    sizes = Shape.read(shape)
    ids, labels = data(sizes)
    model = build(path, sizes)
    for _ in range(MEMORY_STEPS):
        if kind == "training":
            model.train_on_batch(ids, labels)
        else:
            model.predict_on_batch(ids)
    yield {"mebibytes": _peak_mebibytes() - before}


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
