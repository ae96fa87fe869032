"""The grid of trainings: which are left, what is kept of each, how long it takes."""

import dataclasses
import sys
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from experiments import jobs, recurrent
from experiments.memory_tasks import LEAST_LAG, TASKS
from experiments.memory_training import Job, Outcome
from experiments.whole_files import read_json, write_json

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

    def ready(
        self, outcomes: Outcomes, lost: Set[Job] = frozenset()
    ) -> list[list[Job]]:
        """Return the trainings that are needed, whatever each other's outcomes are.

        Args:
            outcomes: Of those that are done.
            lost: Those that could not be done, and the longer lags of their task and
                layer, are left out.

        Returns:
            Groups that differ in the seed alone.
        """
        groups: dict[tuple[str, str], list[Job]] = {}
        for job in self.remaining(outcomes):
            group = groups.setdefault((job.task, job.layer), [job])
            if (
                dataclasses.replace(job, seed=0)
                == dataclasses.replace(group[0], seed=0)
                and job not in group
            ):
                group.append(job)
        kept = ([job for job in group if job not in lost] for group in groups.values())
        return [group for group in kept if group]

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
    """The outcomes of a grid, a file for each, and the training that is going on.

    A file is there whole or not at all, whenever the program ends.

    Args:
        folder: That of the run's checkpoint.
    """

    def __init__(self, folder: Path):
        self.path = folder / "jobs"
        self.path.mkdir(exist_ok=True)

    def outcomes(self) -> Outcomes:
        """Return the outcomes that there are, the oldest first."""
        files = list(self.path.glob("*.json"))
        files.sort(key=lambda file: file.stat().st_mtime)
        return dict(map(_read, files))

    def keep(self, job: Job, outcome: Outcome) -> None:
        """Write an outcome; the training itself need not be kept any longer."""
        content = {"job": dataclasses.asdict(job), **dataclasses.asdict(outcome)}
        write_json(self.outcome(job), content)
        self.training(job).unlink(missing_ok=True)

    def outcome(self, job: Job) -> Path:
        """Return where its outcome is kept."""
        return self.path / f"{job.name}.json"

    def training(self, job: Job) -> Path:
        """Return where a training is kept while it goes on."""
        return self.path / f"{job.name}.npz"


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


def run_in_processes(
    grid: Grid,
    command: Callable[[Sequence[Job]], Sequence[str]],
    progress: Progress,
    outcomes: Outcomes,
    described: Callable[[Job, Outcome], str],
    count: int,
    ray: str | None,
) -> list[str]:
    """Do what `run` does by processes of their own, so many at a time.

    Args:
        grid: See `run`.
        command: What makes some trainings that differ in the seed alone, and keeps
            their outcomes; see `jobs.run_all`.
        progress: See `run`.
        outcomes: See `run`.
        described: See `run`.
        count: How many at a time.
        ray: See `jobs.run_all`.

    Returns:
        A sentence for each process that died; its trainings are left out.
    """
    died, lost = [], set()
    while groups := spread(grid.ready(outcomes, lost), count):
        by_name = {_label(group): group for group in groups}
        commands = {name: command(group) for name, group in by_name.items()}
        for ended in jobs.run_all(commands, count, ray):
            found = progress.outcomes()
            group = by_name[ended.name]
            for job in filter(found.__contains__, group):
                outcomes[job] = found[job]
                left = grid.remaining(outcomes)
                show(described(job, found[job]), outcomes, left, count)
            # Those after the first that is missing were not begun.
            lost.update([job for job in group if job not in found][:1])
            if ended.status:
                died.append(f"{ended.name} {ended.how}")
                print(f"\n{died[-1]}", file=sys.stderr)
    return died


def spread(groups: Sequence[list[Job]], count: int) -> list[list[Job]]:
    """Return groups of trainings in parts, until there are `count`, or no larger ones.

    A process makes a whole part, since it takes seconds to start.
    """
    parts = list(groups)
    while parts and len(parts) < count:
        parts.sort(key=len)
        largest = parts.pop()
        half = len(largest) // 2
        if not half:
            return [*parts, largest]
        parts += [largest[:half], largest[half:]]
    return parts


def _label(group: Sequence[Job]) -> str:
    seeds = ", ".join(str(job.seed) for job in group)
    return f"{group[0].label}, seed {seeds}"


def show(text: str, outcomes: Outcomes, left: Sequence[Job], at_once: int = 1) -> None:
    """Print what was done, how much of the grid that is, and how long the rest takes.

    A terminal gets a bar below the lines, which moves on with them.
    """
    done, total = len(outcomes), len(outcomes) + len(left)
    seconds = seconds_left(outcomes, left) / at_once
    rest = f"about {duration(seconds)} left" if left else "done"
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
    content = read_json(path)
    return Job(**content.pop("job")), Outcome(**content)


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
