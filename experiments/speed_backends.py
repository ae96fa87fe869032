"""Ask every backend for its times, each in a process of its own.

This process loads no backend: on Linux a new process starts with the peak of memory of
the one that made it, and a peak beyond the workers' own would hide what they need.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time

from experiments import runner
from experiments.speed_shapes import DEFAULT, QUICK, Shape, growing, read_shapes

BACKENDS = ("tensorflow", "jax", "torch")

QUICK_ROUNDS = 5
GROWTH_ROUNDS = 7
CENTER = Shape(64, 200, 32, 64)

# The matrix product whose speed is the limit, and how often it is timed.
PRODUCT_SIZE, PRODUCTS = 2048, 10


class Workers:
    """Starts processes that measure.

    Args:
        flush_denormal: Whether torch takes numbers next to zero for zero.

    Attributes:
        failures: What went wrong so far.
    """

    def __init__(self, flush_denormal: bool):
        self.flush_denormal = flush_denormal
        self.failures: list[str] = []

    def ask(self, backend: str | None, task: str, **arguments) -> dict | None:
        """Return the answer of `experiments.speed_layers`, or None if it failed.

        What the worker prints before its answer is shown as it comes. Without a
        backend it is the one that Keras takes by itself.
        """
        request = {"task": task, "flush_denormal": self.flush_denormal, **arguments}
        answer = ""
        with (
            tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors,
            subprocess.Popen(
                [sys.executable, "-m", "experiments.speed_layers", json.dumps(request)],
                env=os.environ
                | ({"KERAS_BACKEND": backend} if backend else {})
                | {"PYTHONIOENCODING": "utf-8"},
                stdout=subprocess.PIPE,
                stderr=errors,
                encoding="utf-8",
            ) as worker,
        ):
            try:
                for line in worker.stdout:
                    if line.startswith("{"):
                        answer = line
                    else:
                        print(line, end="", flush=True)
            except BaseException:  # a Ctrl-C may have reached this process alone
                worker.kill()
                raise
            if worker.wait() == 0:
                return json.loads(answer)
            errors.seek(0)
            said = errors.read().split("\n")
        last = next(filter(None, reversed(said)), f"exit status {worker.returncode}")
        self.failures.append(f"{backend or 'Keras'} failed ({task}): {last}")
        print(self.failures[-1], flush=True)
        return None


def read_backends(text: str | None) -> list[str]:
    """Return the backends of a text, between commas; without one the installed ones.

    Raises:
        ValueError: A name is none of `BACKENDS`.
    """
    if text is None:
        return [name for name in BACKENDS if importlib.util.find_spec(name)]
    names = list(dict.fromkeys(text.split(",")))
    if not set(names) <= set(BACKENDS):
        raise ValueError(f"expected backends of {BACKENDS}; received {text!r}")
    return names


def quick_choices(shape: str, rounds: int) -> dict:
    """Return the settings that `--quick` changes."""
    return {
        "shape": QUICK if shape == DEFAULT else shape,
        "rounds": min(rounds, QUICK_ROUNDS),
        "growth": False,
        "memory": False,
    }


def layers(settings) -> dict:
    """Return what `metrics.json` says of the times of every way through an LSTM.

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
    return {
        "data": {
            "ids": "random, of 1,000 words",
            "labels": "random",
            "masked": "lengths from a quarter of the steps to all, padded on the left",
        },
        "engine": {backend: answer["engine"] for backend, answer in answers.items()},
        "environment": together([answer["environment"] for answer in answers.values()]),
        "operations_per_second": max(peaks),
        "flush_denormal": settings.flush_denormal,
        "failures": workers.failures,
        "results": results,
        "memory": memory,
        "growth": growth,
    }


def matrix_product_peak() -> float:
    """Return the most operations a second that NumPy's float32 matrix product reached.

    The fastest, not the median: another program's work must not lower the limit.
    """
    import numpy as np

    rng = np.random.default_rng(0)
    left, right = rng.random((2, PRODUCT_SIZE, PRODUCT_SIZE), dtype=np.float32)
    seconds = []
    with runner.stage("The machine's matrix products"):
        for _ in range(PRODUCTS):
            start = time.perf_counter()
            left @ right
            seconds.append(time.perf_counter() - start)
    return 2 * PRODUCT_SIZE**3 / min(seconds)


def path_memory(
    workers: Workers, results: dict, shape: str, kind: str = "training"
) -> dict:
    """Return by backend and path the MiB that steps take at a shape.

    Args:
        workers: Whom to ask.
        results: By backend the times, which name the paths.
        shape: Of the sequences.
        kind: Of the steps: training or prediction.
    """
    found = {}
    for backend, (first, *_) in results.items():
        found[backend] = {}
        for path in first["paths"]:
            with runner.stage(f"{backend} {path}: memory of {kind}"):
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


def together(environments: list[dict]) -> dict:
    """Return the environments of several backends as one."""
    versions = {}
    for environment in environments:
        versions |= environment["versions"]
    return environments[0] | {
        "backend": ", ".join(one["backend"] for one in environments),
        "versions": versions,
    }
