"""The grid of trainings: which are left, what is kept of each, how long it takes."""

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments import recurrent
from experiments.memory_tasks import LEAST_LAG, TASKS
from experiments.memory_training import Job, Outcome
from experiments.run_folder import write_json

Outcomes = dict[Job, Outcome]

# The time that is left is guessed from so many of the latest trainings.
RECENT = 20

# What a training costs beside its lag (compiling, the model's other parts, sequences to
# test on), as a lag that would cost as much.
OVERHEAD = 50

BAR_WIDTH = 30


@dataclass(frozen=True)
class Grid:
    """Which trainings there may be.

    Attributes:
        tasks: Keys of `TASKS`.
        lags: From the shortest to the longest.
        layers: Names of `recurrent.LAYERS`.
        rates: Learning rates, in the order in which they are tried.
        seeds: Of weights and sequences.
        give_up_after: A layer that learned a task with no seed at so many lags in a row
            is not tried at longer ones.
    """

    tasks: tuple[str, ...]
    lags: tuple[int, ...]
    layers: tuple[str, ...]
    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    give_up_after: int

    @classmethod
    def read(cls, settings) -> "Grid":
        """Return the grid of an experiment's settings.

        Raises:
            ValueError: A list of the settings can't be read.
        """
        tasks = ",".join(TASKS) if settings.tasks == "all" else settings.tasks
        return cls(
            tasks=_names(tasks, tuple(TASKS), "tasks"),
            lags=tuple(sorted(_numbers(settings.lags, int, LEAST_LAG, "lags"))),
            layers=_names(settings.layers, recurrent.LAYERS, "layers"),
            rates=_numbers(settings.learning_rates, float, 1e-9, "learning rates"),
            seeds=tuple(range(settings.seed, settings.seed + settings.seeds)),
            give_up_after=settings.give_up_after,
        )

    def remaining(self, outcomes: Outcomes) -> list[Job]:
        """Return the trainings that may still be needed, in the order to make them.

        The next is one that is needed. Of those after it some may turn out not to be.
        """
        return [
            job
            for lag in self.lags
            for task in self.tasks
            for layer in self.layers
            if not self._given_up(outcomes, task, lag, layer)
            for job in self._cell(outcomes, task, lag, layer)
            if job not in outcomes
        ]

    def chosen(
        self, outcomes: Outcomes, task: str, lag: int, layer: str
    ) -> tuple[float, list[Outcome]] | None:
        """Return what counts of a cell: the best rate, and its outcomes by seed.

        The best rate is the one with which most seeds learned the task; of such it is
        the one with the lowest error on average. Both are the validation's.

        Returns:
            None if the cell was not tried.
        """
        tried = {
            rate: [outcomes[job] for job in self._jobs(task, lag, layer, rate)]
            for rate in self.rates
            if all(job in outcomes for job in self._jobs(task, lag, layer, rate))
        }
        if not tried:
            return None

        def quality(rate: float) -> tuple[int, float]:
            learned = sum(outcome.learned for outcome in tried[rate])
            return learned, -sum(outcome.validation for outcome in tried[rate])

        rate = max(tried, key=quality)
        return rate, tried[rate]

    def _jobs(self, task: str, lag: int, layer: str, rate: float) -> list[Job]:
        return [Job(task, lag, layer, rate, seed) for seed in self.seeds]

    def _cell(self, outcomes: Outcomes, task: str, lag: int, layer: str) -> list[Job]:
        """Return a cell's jobs up to the first rate with which every seed learned."""
        found = []
        for rate in self.rates:
            jobs = self._jobs(task, lag, layer, rate)
            found += jobs
            if all(job in outcomes and outcomes[job].learned for job in jobs):
                break
        return found

    def _given_up(self, outcomes: Outcomes, task: str, lag: int, layer: str) -> bool:
        failed = 0
        for shorter in self.lags[: self.lags.index(lag)]:
            jobs = self._cell(outcomes, task, shorter, layer)
            done = all(job in outcomes for job in jobs)
            learned = any(outcomes[job].learned for job in jobs if job in outcomes)
            failed = failed + 1 if done and not learned else 0
            if failed == self.give_up_after:
                return True
        return False


class Progress:
    """The outcomes of a grid that is not finished, a file for each.

    A file is there whole or not at all, whenever the program ends.

    Args:
        path: Their folder.
        origin: What every outcome depends on: settings and versions, as JSON has them.
    """

    def __init__(self, path: Path, origin: dict):
        self.path = path
        self._origin = origin

    def begin(self, resume: bool) -> Outcomes:
        """Go on with the folder, or make a new one in its place.

        Returns:
            The outcomes that it holds, the oldest first.

        Raises:
            ValueError: It was begun with other settings or versions.
        """
        if resume:
            self._check_origin(_read_json(self.path / "origin.json"))
            files = list((self.path / "jobs").glob("*.json"))
            files.sort(key=lambda file: file.stat().st_mtime)
            return dict(map(_read, files))
        if self.path.exists():
            shutil.rmtree(self.path)
        (self.path / "jobs").mkdir(parents=True)
        _write_whole(self.path / "origin.json", self._origin)
        return {}

    def keep(self, job: Job, outcome: Outcome) -> None:
        """Write an outcome."""
        name = "-".join(map(str, dataclasses.astuple(job)))
        content = {"job": dataclasses.asdict(job), **dataclasses.asdict(outcome)}
        _write_whole(self.path / "jobs" / f"{name}.json", content)

    def remove(self) -> None:
        """Remove the folder: the grid is finished, and its results are elsewhere."""
        shutil.rmtree(self.path)

    def _check_origin(self, begun: dict) -> None:
        differ = [
            f"{key} {self._origin.get(key)!r} instead of {begun.get(key)!r}"
            for key in {**begun, **self._origin}
            if begun.get(key) != self._origin.get(key)
        ]
        if differ:
            raise ValueError(
                f"expected the settings and versions with which {self.path} was begun; "
                f"received {', '.join(differ)}"
            )


def check_begin(path: Path, resume: bool, overwrite: bool) -> None:
    """Refuse to go on with nothing, or to lose what was done.

    Args:
        path: The folder of a `Progress`.
        resume: Whether to go on with it.
        overwrite: Whether, if not, it may be replaced.

    Raises:
        FileExistsError: It is there, and is to be neither gone on with nor replaced.
        FileNotFoundError: There is nothing to go on with.
    """
    begun = (path / "origin.json").is_file()
    if resume and not begun:
        raise FileNotFoundError(
            f"expected an unfinished run to go on with; there is no {path} "
            "(--name says which run)"
        )
    if begun and not (resume or overwrite):
        raise FileExistsError(
            f"expected a run that was not begun yet; {path} holds what was done of it "
            "(go on with --resume, or begin anew with --overwrite)"
        )


def run(
    grid: Grid,
    train: Callable[[Job], Outcome],
    progress: Progress,
    outcomes: Outcomes,
    described: Callable[[Job, Outcome], str],
) -> None:
    """Make all trainings that are needed, and say how it goes.

    Args:
        grid: Which may be needed.
        train: Makes one.
        progress: Where each outcome is kept at once.
        outcomes: Those that there are already; the others are added.
        described: What to say of one.
    """
    while left := grid.remaining(outcomes):
        job = left[0]
        outcome = train(job)
        progress.keep(job, outcome)
        outcomes[job] = outcome
        show(described(job, outcome), outcomes, grid.remaining(outcomes))


def show(text: str, outcomes: Outcomes, left: Sequence[Job]) -> None:
    """Print what was done, how much of the grid that is, and how long the rest takes.

    A terminal gets a bar below the lines, which moves on with them.
    """
    done, total = len(outcomes), len(outcomes) + len(left)
    rest = f"about {duration(seconds_left(outcomes, left))} left" if left else "done"
    if not sys.stdout.isatty():
        print(f"{done}/{total}  {text}; {rest}", flush=True)
        return
    bar = "█" * (BAR_WIDTH * done // total)
    line = f"{bar:░<{BAR_WIDTH}} {done}/{total}, {rest}"
    # Go to the start of the line, and clear what the last bar left of it.
    print(f"\r\x1b[K{text}\n{line}", end="" if left else "\n", flush=True)


def seconds_left(outcomes: Outcomes, left: Sequence[Job]) -> float:
    """Return how long the trainings that are left take, if they are as the latest were.

    It is a guess: a training that solves its task ends early, and some may turn out not
    to be needed.
    """

    def size(jobs: Iterable[Job]) -> int:
        return sum(job.lag + OVERHEAD for job in jobs)

    recent = dict(list(outcomes.items())[-RECENT:])
    seconds = sum(outcome.seconds for outcome in recent.values())
    return seconds / size(recent) * size(left)


def duration(seconds: float) -> str:
    """Return a time in the unit in which it is read best."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _read(path: Path) -> tuple[Job, Outcome]:
    content = _read_json(path)
    return Job(**content.pop("job")), Outcome(**content)


def _read_json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def _write_whole(path: Path, content: dict) -> None:
    partial = path.with_suffix(".partial")
    write_json(partial, content)
    partial.replace(path)


def _names(text: str, allowed: tuple[str, ...], what: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    if not set(names) <= set(allowed):
        raise ValueError(
            f"expected {what} of {', '.join(allowed)}, between commas; "
            f"received {text!r}"
        )
    return names


def _numbers(text: str, kind: type, least: float, what: str) -> tuple:
    try:
        numbers = tuple(dict.fromkeys(map(kind, text.split(","))))
    except ValueError:
        numbers = ()
    if not numbers or not all(least <= number < float("inf") for number in numbers):
        raise ValueError(
            f"expected {what} of at least {least:g}, between commas; received {text!r}"
        )
    return numbers
