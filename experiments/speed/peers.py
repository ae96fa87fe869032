"""Time our layer in turn with what a user may take instead.

Each has a process of its own: TensorFlow, torch and onnxruntime keep threads that would
get into one another's way, and flushing denormal numbers holds for a whole process.
"""

import contextlib
import importlib.util
import multiprocessing
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import keras
import numpy as np

from experiments.speed.agenda import Agenda
from experiments.speed.layers import TOLERANCE, WORDS, around, data, step_times
from experiments.speed.metrics import TableMetrics
from experiments.speed.settings import Settings
from experiments.speed.shapes import DEFAULT, KINDS, Shape, read_shapes
from lstm_keras import LSTM

ROUNDS = 9

OURS, KERAS, ONNX, NO_LSTM = "lstm_keras", "Keras", "onnxruntime", "no LSTM"
TORCH, FLUSHED = "torch", "torch, denormals flushed"

Step = Callable[[], Any]  # does its work, and returns a number or a NumPy array


def peers(settings: Settings, agenda: Agenda) -> TableMetrics:
    """Time training and prediction of every path at each shape."""
    shapes = {str(shape): shape for shape in read_shapes(DEFAULT)}
    rows: list[dict] = []
    agenda.plan(shapes)
    with agenda, contextlib.ExitStack() as stack:
        workers = {path: stack.enter_context(worker(path)) for path in available()}
        for name, shape in shapes.items():
            with agenda.measurement(name):
                rows += measure(workers, shape, ROUNDS)
    return TableMetrics(
        measure="peers",
        finding=finding(rows),
        data={"ids": "random, of 1,000 words", "labels": "random"},
        engine={
            "layer": "lstm_keras.LSTM",
            "path": LSTM(1).explain_engine(True).engine,
        },
        notes=[
            f"Not installed, so not measured: {name}."
            for name in ("torch", "onnxruntime")
            if not importlib.util.find_spec(name)
        ],
        results={"Our layer, and how many times as fast as others it is": rows},
    )


def available() -> list[str]:
    """Return the paths whose packages are installed."""
    needed = {TORCH: "torch", FLUSHED: "torch", ONNX: "onnxruntime"}
    return [
        path
        for path in BUILDERS
        if path not in needed or importlib.util.find_spec(needed[path])
    ]


@contextlib.contextmanager
def worker(path: str) -> Iterator[Connection]:
    """Start a process that answers as `serve` does, and end it."""
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    context.Process(target=serve, args=(theirs, path), daemon=True).start()
    theirs.close()  # so that the end of the process is the end of the pipe
    try:
        yield ours
    finally:
        with contextlib.suppress(BrokenPipeError):
            ours.send(None)


def serve(pipe: Connection, path: str) -> None:
    """Answer requests until None comes.

    A shape builds the path's model, and is answered by the kinds of step that it can
    do; such a kind does a step, and is answered by its seconds and its result.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # its starter ends it
    steps: dict[str, Step] = {}
    while (request := pipe.recv()) is not None:
        if isinstance(request, Shape):
            keras.utils.clear_session()
            steps = BUILDERS[path](request)
            pipe.send(list(steps))
            continue
        start = time.perf_counter()
        result = steps[request]()
        pipe.send((time.perf_counter() - start, result))


def ask(pipe: Connection, request: Shape | str) -> Any:
    """Return a worker's answer."""
    pipe.send(request)
    return pipe.recv()


def measure(workers: dict[str, Connection], shape: Shape, rounds: int) -> list[dict]:
    """Time every path at a shape, in turn.

    Args:
        workers: The process of each path.
        shape: The shape.
        rounds: Number of rounds, in each of which each path does an untimed and a timed
            step of each kind.

    Returns:
        A row for each kind of step; what a path cannot do is "–" there.

    Raises:
        ValueError: Paths compute different results, so that times cannot be compared.
    """
    able = {path: ask(pipe, shape) for path, pipe in workers.items()}
    rows = []
    for kind in KINDS:
        pipes = {path: workers[path] for path in workers if kind in able[path]}
        firsts = {path: ask(pipe, kind) for path, pipe in pipes.items()}
        agree({path: result for path, (_, result) in firsts.items()})
        seconds: dict[str, list[float]] = {path: [] for path in pipes}
        for _ in range(rounds):
            for path, pipe in pipes.items():
                ask(pipe, kind)
                seconds[path].append(ask(pipe, kind)[0])
        later = firsts[OURS][0] - firsts[KERAS][0]
        rows.append(row(shape, kind, seconds) | {"first call, s longer": later})
    return rows


def agree(results: dict[str, Any]) -> None:
    """Raise a ValueError if the results of the paths with an LSTM differ."""
    for path, result in results.items():
        difference = float(np.abs(result - results[KERAS]).max())
        if path != NO_LSTM and not difference <= TOLERANCE:  # NaN fails as well
            raise ValueError(
                f"expected {path!r} to compute what Keras computes; received results "
                f"that differ by {difference:g}"
            )


def row(shape: Shape, kind: str, seconds: dict[str, list[float]]) -> dict:
    """Return our milliseconds, and the speed relative to each other path.

    Of torch with and without denormal numbers it is the faster one.
    """
    medians = {path: float(np.median(found)) for path, found in seconds.items()}
    torch = [path for path in (TORCH, FLUSHED) if path in medians]
    others = {"Keras": KERAS, "torch": min(torch, key=medians.get, default="")}
    times = {
        f"over {name}": step_times(seconds[OURS], seconds[path])["ratio"]
        if path in seconds
        else "–"
        for name, path in (others | {"onnxruntime": ONNX}).items()
    }
    return {
        "shape": str(shape),
        "step": kind,
        "ms": 1000 * medians[OURS],
        **times,
        "no LSTM, ms": 1000 * medians[NO_LSTM],
    }


def finding(rows: Sequence[dict]) -> str:
    """Return how fast training is at the first shape, in a sentence."""
    if not rows:
        return ""
    times = {name: rows[0][f"over {name}"] for name in ("Keras", "torch")}
    said = [
        f"{times_as_fast:.1f} times as fast as {name}"
        for name, times_as_fast in times.items()
        if times_as_fast != "–"
    ]
    return f"At {rows[0]['shape']} our LSTM trains {', '.join(said)}."


def weights(shape: Shape) -> list[np.ndarray]:
    """Return the weights of a model of `layers.around`, the same in every process."""
    rng = np.random.default_rng(0)
    sizes = (
        (WORDS, shape.features),
        (shape.features, 4 * shape.units),
        (shape.units, 4 * shape.units),
        (4 * shape.units,),
        (shape.units, 1),
        (1,),
    )
    return [rng.uniform(-0.05, 0.05, size).astype("float32") for size in sizes]


def model_steps(model, shape: Shape) -> dict[str, Step]:
    """Return what a model with the methods of Keras's can do."""
    ids, labels = data(shape)
    return {
        "training": lambda: model.train_on_batch(ids, labels),
        "prediction": lambda: model.predict_on_batch(ids),
    }


def keras_steps(layer: type, shape: Shape) -> dict[str, Step]:
    """Return the steps of a model around a layer."""
    model = around(layer(shape.units), shape)
    model.set_weights(weights(shape))
    return model_steps(model, shape)


def torch_steps(flush: bool, shape: Shape) -> dict[str, Step]:
    """Return the steps of plain torch."""
    from experiments.speed import plain_torch

    if flush:
        plain_torch.flush_denormal()
    model = plain_torch.PlainModel(WORDS, shape)
    model.set_weights(weights(shape))
    return model_steps(model, shape)


def onnx_steps(shape: Shape) -> dict[str, Step]:
    """Return the prediction of an exported file."""
    import onnxruntime

    from lstm_keras import export_onnx

    model = around(LSTM(shape.units), shape)
    model.set_weights(weights(shape))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        export_onnx(model, file)
        session = onnxruntime.InferenceSession(str(file))
    (given,) = (one.name for one in session.get_inputs())
    ids, _ = data(shape)
    return {"prediction": lambda: session.run(None, {given: ids})[0]}


def bare_steps(shape: Shape) -> dict[str, Step]:
    """Return the steps of Embedding and Dense alone, which is what the rest costs."""
    return model_steps(around(keras.layers.Flatten(), shape), shape)


BUILDERS: dict[str, Callable[[Shape], dict[str, Step]]] = {
    OURS: lambda shape: keras_steps(LSTM, shape),
    KERAS: lambda shape: keras_steps(keras.layers.LSTM, shape),
    TORCH: lambda shape: torch_steps(False, shape),
    FLUSHED: lambda shape: torch_steps(True, shape),
    ONNX: onnx_steps,
    NO_LSTM: bare_steps,
}
