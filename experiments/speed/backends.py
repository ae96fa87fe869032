"""Measure time and memory of every backend, each in a process of its own."""

import json
import os
import time

import numpy as np

from experiments.common import processes
from experiments.common.result import Environment
from experiments.common.terminal import stage
from experiments.speed.metrics import LayerMetrics
from experiments.speed.settings import GROWTH_ROUNDS, Settings, read_backends
from experiments.speed.shapes import Shape, growing, read_shapes

CENTER = Shape(64, 200, 32, 64)  # of `growth`: the other sizes stay at these

# Size of the matrix product that gives the limit, and the number of repetitions.
PRODUCT_SIZE, PRODUCTS = 2048, 10


class Workers:
    """Starts the measuring processes.

    Args:
        flush_denormal: Whether torch treats denormal numbers as zero.

    Attributes:
        failures: The failures so far, in sentences.
    """

    def __init__(self, flush_denormal: bool):
        self.flush_denormal = flush_denormal
        self.failures: list[str] = []

    def ask(self, backend: str | None, task: str, **arguments) -> dict | None:
        """Return the answer of `experiments.speed.layers`, or None if it failed.

        Progress messages before the answer are printed. Without `backend`, Keras's
        default is used.
        """
        request = {"task": task, "flush_denormal": self.flush_denormal, **arguments}
        chosen = {"KERAS_BACKEND": backend} if backend else {}
        answer = ""

        def read(line: str) -> None:
            nonlocal answer
            if line.startswith("{"):
                answer = line
            else:
                print(line, end="", flush=True)

        ended = processes.run(
            f"{backend or 'Keras'} ({task})",
            ["experiments.speed.layers", json.dumps(request)],
            environment=os.environ | chosen,
            on_line=read,
        )
        if ended.status == 0:
            return json.loads(answer)
        self.failures.append(f"{ended.name} {ended.how}")
        print(self.failures[-1], flush=True)
        return None


def layers(settings: Settings) -> LayerMetrics:
    """Time every path of every backend.

    Raises:
        ValueError: No backend works.
    """
    shapes = [str(shape) for shape in read_shapes(settings.shape)]
    workers = Workers(settings.flush_denormal)
    peaks = [matrix_product_peak()]
    answers = {
        backend: workers.ask(backend, "times", shapes=shapes, rounds=settings.rounds)
        for backend in read_backends(settings.backends)
    }
    answers = {backend: answer for backend, answer in answers.items() if answer}
    if not answers:
        raise ValueError(f"expected a backend that works; received {workers.failures}")
    peaks.append(matrix_product_peak())
    results = {backend: answer["results"] for backend, answer in answers.items()}
    memory = path_memory(workers, results, shapes[0]) if settings.memory else {}
    growth = {}
    if settings.growth:
        growth = growth_of(workers, next(iter(answers)), settings.rounds)
    return LayerMetrics(
        data={
            "ids": "random, of 1,000 words",
            "labels": "random",
            "masked": "lengths from a quarter of the steps to all, padded on the left",
        },
        engine={backend: answer["engine"] for backend, answer in answers.items()},
        environment=together([answer["environment"] for answer in answers.values()]),
        operations_per_second=max(peaks),
        flush_denormal=settings.flush_denormal,
        failures=workers.failures,
        results=results,
        memory=memory,
        growth=growth,
    )


def matrix_product_peak() -> float:
    """Return the operations per second of NumPy's fastest float32 matrix product.

    Not the median, since other programs must not lower the limit.
    """
    rng = np.random.default_rng(0)
    left, right = rng.random((2, PRODUCT_SIZE, PRODUCT_SIZE), dtype=np.float32)
    seconds = []
    with stage("The machine's matrix products"):
        for _ in range(PRODUCTS):
            start = time.perf_counter()
            left @ right
            seconds.append(time.perf_counter() - start)
    return 2 * PRODUCT_SIZE**3 / min(seconds)


def path_memory(
    workers: Workers, results: dict, shape: str, kind: str = "training"
) -> dict:
    """Return the MiB that steps need at a shape, by backend and path.

    Args:
        workers: Starts the processes.
        results: The times by backend, which name the paths.
        shape: The shape.
        kind: Kind of step: training or prediction.
    """
    found = {}
    for backend, (first, *_) in results.items():
        found[backend] = {}
        for path in first["paths"]:
            with stage(f"{backend} {path}: memory of {kind}"):
                answer = workers.ask(
                    backend, "memory", shape=shape, path=path, kind=kind
                )
            if answer:
                found[backend][path] = answer["mebibytes"]
    return {"shape": shape, "mebibytes": found}


def growth_of(workers: Workers, backend: str, rounds: int) -> dict:
    """Return the times of one backend while each size doubles, or {} if it failed."""
    sizes = {
        size: [str(shape) for shape in shapes]
        for size, shapes in growing(CENTER).items()
    }
    distinct = list(
        dict.fromkeys(shape for shapes in sizes.values() for shape in shapes)
    )
    fewer = min(rounds, GROWTH_ROUNDS)
    answer = workers.ask(backend, "times", shapes=distinct, rounds=fewer)
    if answer is None:
        return {}
    return {"backend": backend, "shapes": sizes, "results": answer["results"]}


def together(environments: list[dict]) -> Environment:
    """Merge the environments of several backends."""
    versions = {}
    for environment in environments:
        versions |= environment["versions"]
    backends = ", ".join(one["backend"] for one in environments)
    return Environment(**environments[0] | {"backend": backends, "versions": versions})
