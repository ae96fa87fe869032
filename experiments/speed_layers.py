"""Time all the ways through an LSTM that one backend has, in one process.

Run by `experiments.speed` with KERAS_BACKEND set: the only argument is a JSON object,
`task` and its arguments, and the last line printed is the answer.

  {"task": "times", "shapes": ["64,200,32,64"], "rounds": 20, "flush_denormal": false}
  {"task": "memory", "shape": "64,200,32,64", "path": "keras", "flush_denormal": false}
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Sequence

from experiments import runner
from experiments.speed_shapes import Shape

KERAS, LOOP, TORCH = "keras", "loop", "torch.nn.LSTM"

WORDS = 1000  # rows of the embedding
MEMORY_STEPS = 5
# By so much the paths' first predictions may differ, in float32.
TOLERANCE = 1e-3


def main(argv: Sequence[str]) -> None:
    """Do the task of the command line, and print the answer."""
    request = json.loads(argv[0])
    task = TASKS[request.pop("task")]
    flush = request.pop("flush_denormal")
    import keras

    keras.utils.set_random_seed(0)
    if flush and keras.backend.backend() == "torch":
        from experiments import speed_torch

        speed_torch.flush_denormal()
    print(json.dumps(task(**request)))


def times(shapes: Sequence[str], rounds: int) -> dict:
    """Return what `measure` finds at each shape, and what computed it."""
    import keras

    from lstm_keras import LSTM

    results = []
    for shape in shapes:
        with runner.stage(f"{keras.backend.backend()} {shape}"):
            results.append(measure(Shape.read(shape), rounds))
            keras.utils.clear_session()
    return {
        "environment": runner.environment(),
        "engine": str(LSTM(1).explain_engine(training=True)),
        "results": results,
    }


def measure(shape: Shape, rounds: int) -> dict:
    """Time every path at one shape, in turn, so that noise meets all alike.

    In each round each path does an untimed and a timed step of each kind. The first
    calls, which compile, are timed apart.

    Returns:
        The shape, the operations of a step by kind, and by path and kind the seconds:
        of the first call, the median, the quantiles of 10% and 90%, and the median of
        the rounds' ratios of Keras's layer to it.
    """
    import numpy as np

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
                | spread(seconds[kind][path], seconds[kind][KERAS])
                for kind in steps
            }
            for path in models
        },
    }


def spread(seconds: Sequence[float], keras_seconds: Sequence[float]) -> dict:
    """Return median and quantiles, and how many times as fast as Keras it was.

    That is the median of the ratios of the same rounds.
    """
    import numpy as np

    low, median, high = np.quantile(seconds, (0.1, 0.5, 0.9)).tolist()
    ratio = float(np.median(np.divide(keras_seconds, seconds)))
    return {"low": low, "median": median, "high": high, "ratio": ratio}


def first_calls(step: Callable, models: dict) -> dict[str, float]:
    """Return the seconds of each model's first call; the results must be the same.

    Raises:
        ValueError: They are not: what is timed is not the same work.
    """
    import numpy as np

    calls = {path: _timed(step, model) for path, model in models.items()}
    for path, (_, result) in calls.items():
        difference = float(np.abs(result - calls[KERAS][1]).max())
        if not difference <= TOLERANCE:  # NaN fails as well
            raise ValueError(
                f"expected of {path!r} what Keras computes; received what differs by "
                f"{difference:g}"
            )
    return {path: seconds for path, (seconds, _) in calls.items()}


def _timed(step: Callable, model) -> tuple[float, object]:
    start = time.perf_counter()
    result = step(model)  # a number or a NumPy array: the work is done
    return time.perf_counter() - start, result


def data(shape: Shape) -> tuple:
    """Return random ids `(batch, time)`, padded on the left if masked, and labels.

    Lengths of masked sequences are drawn from a quarter of the steps to all of them.
    """
    import numpy as np

    rng = np.random.default_rng(0)
    ids = rng.integers(1, WORDS, (shape.batch, shape.steps), dtype=np.int32)
    if shape.masked:
        lengths = rng.integers(-(-shape.steps // 4), shape.steps + 1, (shape.batch, 1))
        ids[np.arange(shape.steps) < shape.steps - lengths] = 0
    return ids, rng.integers(0, 2, (shape.batch, 1)).astype(np.float32)


def paths(shape: Shape) -> list[str]:
    """Return the names of the ways that this backend has at this shape."""
    import keras

    from lstm_keras import engines

    able = [name for name in engines.BACKENDS if can(name)]
    torch = [TORCH] if keras.backend.backend() == "torch" else []
    return [KERAS, LOOP, *able, *torch]


def can(engine: str) -> bool:
    """Return whether an engine can train here."""
    from lstm_keras import LSTM

    try:
        LSTM(1, engine=engine)
    except ValueError:
        return False
    return True


def equal_models(shape: Shape) -> dict:
    """Return a model for every path, all with the same weights."""
    models = {path: build(path, shape) for path in paths(shape)}
    weights = models[KERAS].get_weights()
    for model in models.values():
        model.set_weights(weights)
    return models


def build(path: str, shape: Shape):
    """Return Embedding -> LSTM -> Dense, where the LSTM is that of the path."""
    if path == TORCH:
        from experiments.speed_torch import PlainModel

        return PlainModel(WORDS, shape)
    import keras

    from lstm_keras import LSTM

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
    """Return the MiB by which some steps of a kind raise the peak of this process."""
    import lstm_keras  # noqa: F401  its memory is not the model's

    if path == TORCH:
        from experiments import speed_torch  # noqa: F401

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
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2 ** (20 if sys.platform == "darwin" else 10)  # bytes; or KiB


TASKS = {"times": times, "memory": memory}


if __name__ == "__main__":
    main(sys.argv[1:])
