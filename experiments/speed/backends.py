"""Measure time and memory of every backend, each in a process of its own."""

import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from experiments.common import processes
from experiments.common.result import Environment
from experiments.common.terminal import stage
from experiments.speed.agenda import Agenda
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
        agenda: What is to be measured.

    Attributes:
        failures: The failures so far, in sentences.
    """

    def __init__(self, flush_denormal: bool, agenda: Agenda | None = None):
        self.flush_denormal = flush_denormal
        self.agenda = agenda or Agenda()
        self.failures: list[str] = []

    def time(
        self, backend: str, shapes: Sequence[str], rounds: int, label: str, into: dict
    ) -> None:
        """Time the shapes in their share of the agenda's time.

        Args:
            backend: The backend.
            shapes: The shapes.
            rounds: Number of rounds.
            label: What the agenda has before each shape.
            into: See `ask`.
        """
        until = self.agenda.share(len(shapes))
        times = {"shapes": shapes, "rounds": rounds, "until": until}
        self.ask(backend, "times", label=label, into=into, **times)
        self.agenda.leave_out(f"{label} {shape}" for shape in shapes)

    def ask(
        self,
        backend: str | None,
        task: str,
        label: str = "",
        into: dict | None = None,
        **arguments,
    ) -> dict | None:
        """Return the answer of `experiments.speed.layers`, or None if it failed.

        Args:
            backend: The backend; None for Keras's default.
            task: The task.
            label: What to show before each shape.
            into: A dictionary that has the answer as soon as it comes, and keeps it if
                the process fails, or Ctrl-C ends it.
            **arguments: The task's arguments.
        """
        request = {"task": task, "flush_denormal": self.flush_denormal, **arguments}
        chosen = {"KERAS_BACKEND": backend} if backend else {}
        answer = {} if into is None else into

        def read(line: str) -> None:
            # One that was killed may end within a line.
            if line.startswith("{") and line.endswith("\n"):
                self._note(json.loads(line), answer, label, arguments.get("rounds"))
            else:
                print(line, end="", flush=True)

        ended = processes.run(
            f"{backend or 'Keras'} ({task})",
            ["experiments.speed.layers", json.dumps(request)],
            environment=os.environ | chosen,
            on_line=read,
        )
        if ended.status == 0:
            return answer
        self.failures.append(f"{ended.name} {ended.how}")
        print(self.failures[-1], flush=True)
        return None

    def _note(self, said: dict, answer: dict, label: str, rounds: int | None) -> None:
        """Add what a process said to its answer, and show how far it is."""
        if "shape" not in said:
            answer.update(said)
            return
        name = f"{label} {said['shape']}".lstrip()
        if "round" not in said:
            self.agenda.compiling(name)
            return
        done = said.pop("round")
        self.agenda.round(name, done, rounds)
        if done:
            results = answer.setdefault("results", [])
            if done > 1:  # in place of those of one round less
                results.pop()
            results.append(said)


@dataclass
class Found:
    """What has been measured so far: it stays when Ctrl-C comes.

    Attributes:
        answers: By backend the answers of its process with the times.
        peaks: Results of `matrix_product_peak`, before the times and after them.
        memory: MiB by backend and path.
        growth: The answers with the times at growing shapes.
    """

    answers: dict[str, dict]
    peaks: list[float] = field(default_factory=list)
    memory: dict[str, dict[str, float]] = field(default_factory=dict)
    growth: dict = field(default_factory=dict)

    @property
    def results(self) -> dict[str, list[dict]]:
        """The times of each backend that has any."""
        return {
            backend: answer["results"]
            for backend, answer in self.answers.items()
            if "results" in answer
        }


def layers(settings: Settings, agenda: Agenda) -> LayerMetrics:
    """Time every path of every backend.

    Raises:
        ValueError: No backend works.
        KeyboardInterrupt: It came before anything was measured.
    """
    workers = Workers(settings.flush_denormal, agenda)
    shapes = [str(shape) for shape in read_shapes(settings.shape)]
    found = Found({backend: {} for backend in read_backends(settings.backends)})
    with agenda:
        measure(settings, shapes, workers, found)
    if not found.results:
        if agenda.interrupted:
            raise KeyboardInterrupt
        raise ValueError(f"expected a backend that works; received {workers.failures}")
    answers = [found.answers[backend] for backend in found.results]
    memory = {"shape": shapes[0], "mebibytes": found.memory}
    return LayerMetrics(
        data={
            "ids": "random, of 1,000 words",
            "labels": "random",
            "masked": "lengths from a quarter of the steps to all, padded on the left",
        },
        engine={
            answer["environment"]["backend"]: answer["engine"] for answer in answers
        },
        environment=together([answer["environment"] for answer in answers]),
        operations_per_second=max(found.peaks),
        flush_denormal=settings.flush_denormal,
        failures=workers.failures,
        results=found.results,
        memory=memory if any(found.memory.values()) else {},
        growth=growth_of(found.growth),
    )


def measure(
    settings: Settings, shapes: Sequence[str], workers: Workers, found: Found
) -> None:
    """Measure one part after the other, as long as there is time.

    At least the first shape of a backend that works is measured in any case.
    """
    agenda, rounds = workers.agenda, settings.rounds
    growing = growing_shapes() if settings.growth else []
    agenda.plan(f"{backend} {shape}" for backend in found.answers for shape in shapes)
    agenda.plan(f"memory of {backend}" for backend in found.answers if settings.memory)
    agenda.plan(f"growth {shape}" for shape in growing)
    found.peaks.append(matrix_product_peak())
    for backend, answer in found.answers.items():
        if not (found.results and agenda.is_over):
            workers.time(backend, shapes, rounds, backend, answer)
    found.peaks.append(matrix_product_peak())
    for backend, (first, *_) in found.results.items():
        if settings.memory and not agenda.is_over:
            memory = path_memory(workers, backend, first["paths"], shapes[0])
            found.memory[backend] = {}
            found.memory[backend].update(memory)
            agenda.done(f"memory of {backend}")
    if growing and found.results and not agenda.is_over:
        rounds = min(rounds, GROWTH_ROUNDS)
        workers.time(next(iter(found.results)), growing, rounds, "growth", found.growth)


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
    workers: Workers,
    backend: str,
    paths: Iterable[str],
    shape: str,
    kind: str = "training",
) -> Iterator[tuple[str, float]]:
    """Yield paths of a backend, and the MiB that steps of a kind need at a shape."""
    for path in paths:
        with stage(f"{backend} {path}: memory of {kind}"):
            answer = workers.ask(backend, "memory", shape=shape, path=path, kind=kind)
        if answer:
            yield path, answer["mebibytes"]


def growing_shapes() -> list[str]:
    """Return the shapes in which one size grows; they share `CENTER`."""
    shapes = chain.from_iterable(growing(CENTER).values())
    return list(dict.fromkeys(map(str, shapes)))


def growth_of(answer: dict) -> dict:
    """Return the `metrics.Growth` of an answer; {} if it has no times."""
    results = answer.get("results", [])
    there = [result["shape"] for result in results]
    sizes = {
        size: [str(shape) for shape in shapes if str(shape) in there]
        for size, shapes in growing(CENTER).items()
    }
    if not results:
        return {}
    return {
        "backend": answer["environment"]["backend"],
        "shapes": {size: shapes for size, shapes in sizes.items() if shapes},
        "results": results,
    }


def together(environments: list[dict]) -> Environment:
    """Merge the environments of several backends."""
    versions = {}
    for environment in environments:
        versions |= environment["versions"]
    backends = ", ".join(one["backend"] for one in environments)
    return Environment(**environments[0] | {"backend": backends, "versions": versions})
