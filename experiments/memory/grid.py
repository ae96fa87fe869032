"""The grid of training runs: what each is, how it ended, and which are still needed."""

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from experiments.common.options import names, numbers
from experiments.common.settings import LAYERS
from experiments.common.terminal import significant

TASK_NAMES = ("adding", "copying", "order")

# The shortest sequence of the temporal order: start, two signals, end.
LEAST_LAG = 4

# The costs of a job that do not depend on its lag (compiling, the other parts of the
# model, test sequences), as the lag that would cost the same.
OVERHEAD = 50


@dataclass(frozen=True)
class Job:
    """One training run of the grid."""

    task: str
    lag: int
    layer: str
    rate: float
    seed: int

    @property
    def setting(self) -> tuple:
        """Everything but the seed."""
        return dataclasses.astuple(self)[:-1]

    @property
    def file_name(self) -> str:
        """What its files are called, without a suffix."""
        return "-".join(map(str, dataclasses.astuple(self)))


@dataclass(frozen=True)
class Outcome:
    """How a training run ended.

    Attributes:
        validation: The lowest error on the validation sequences.
        test: The error on the test sequences, with the weights of that check.
        goal: The error below which the task counts as solved.
        steps: Number of training steps.
        seconds: Its duration, compiling included.
        diverged: Whether a loss that was NaN or infinite ended it.
    """

    validation: float
    test: float
    goal: float
    steps: int
    seconds: float
    diverged: bool = False

    @property
    def learned(self) -> bool:
        """Whether the task is solved on the validation sequences: choices use this."""
        return self.validation < self.goal

    @property
    def solved(self) -> bool:
        """Whether it is solved on the test sequences: this is reported."""
        return self.test < self.goal


Outcomes = dict[Job, Outcome]


@dataclass(frozen=True)
class Grid:
    """The training runs that there may be.

    Attributes:
        tasks: The tasks, from `TASK_NAMES`.
        lags: The lags, from the shortest to the longest.
        layers: The layers, from `settings.LAYERS`.
        rates: The learning rates, in the order in which they are tried.
        seeds: The seeds of weights and sequences.
        give_up_after: A layer that learned a task with no seed at this number of lags
            in a row is not tried at longer ones.
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
            ValueError: A list in the settings cannot be read.
        """
        tasks = ",".join(TASK_NAMES) if settings.tasks == "all" else settings.tasks
        return cls(
            tasks=names(tasks, TASK_NAMES, "--tasks"),
            lags=tuple(sorted(numbers(settings.lags, int, LEAST_LAG, "--lags"))),
            layers=names(settings.layers, LAYERS, "--layers"),
            rates=numbers(settings.learning_rates, float, 1e-9, "--learning-rates"),
            seeds=tuple(range(settings.seed, settings.seed + settings.seeds)),
            give_up_after=settings.give_up_after,
        )

    def remaining(self, outcomes: Outcomes) -> list[Job]:
        """Return the jobs that may still be needed, in the order to run them.

        The first one is needed. Of those after it some may turn out not to be.
        """
        return [
            job
            for lag in self.lags
            for task in self.tasks
            for layer in self.layers
            if not self._given_up(outcomes, task, lag, layer)
            for job in self._needed(outcomes, task, lag, layer)
            if job not in outcomes
        ]

    def ready(
        self, outcomes: Outcomes, besides: Collection[Job] = ()
    ) -> list[list[Job]]:
        """Return the jobs that are needed, in groups that differ in their seeds alone.

        See `experiments.common.trainings.Plan`.
        """
        remaining, settings = self.remaining(outcomes), {}
        for job in remaining:
            settings.setdefault((job.task, job.layer), job.setting)
        groups = (
            [job for job in remaining if job.setting == one and job not in besides]
            for one in settings.values()
        )
        return [group for group in groups if group]

    def is_independent(self, group: Sequence[Job]) -> bool:
        """Return True: jobs of a group differ in their seeds alone."""
        return True

    def label(self, group: Sequence[Job]) -> str:
        """Return the name of jobs that differ in their seeds alone."""
        one, seeds = group[0], ", ".join(str(job.seed) for job in group)
        return (
            f"{one.task}, lag {one.lag}, {one.layer}, rate {one.rate:g}, seed {seeds}"
        )

    def described(self, job: Job, outcome: Outcome) -> str:
        """Return an outcome in one line."""
        solved = "solved" if outcome.solved else "not solved"
        if outcome.diverged:
            solved += f", diverged by step {outcome.steps} (try a lower rate)"
        return (
            f"{self.label([job])}: error {significant(outcome.test)}, {solved}, "
            f"{outcome.steps:,} steps, {outcome.seconds:.1f} s"
        )

    def cost(self, job: Job) -> float:
        """Return how long a job may take relative to others."""
        return job.lag + OVERHEAD

    def chosen(
        self, outcomes: Outcomes, task: str, lag: int, layer: str
    ) -> tuple[float, list[Outcome]] | None:
        """Return the best learning rate of a layer at a lag, and its outcomes by seed.

        The best rate is the one with which most seeds learned the task; of several
        such, the one with the lowest mean error. Both are the validation's.

        Returns:
            None if no rate has been tried with all seeds.
        """
        tried = {}
        for rate in self.rates:
            found = [outcomes.get(job) for job in self._jobs(task, lag, layer, rate)]
            if None not in found:
                tried[rate] = found
        if not tried:
            return None

        def quality(rate: float) -> tuple[int, float]:
            learned = sum(outcome.learned for outcome in tried[rate])
            return learned, -sum(outcome.validation for outcome in tried[rate])

        rate = max(tried, key=quality)
        return rate, tried[rate]

    def _jobs(self, task: str, lag: int, layer: str, rate: float) -> list[Job]:
        return [Job(task, lag, layer, rate, seed) for seed in self.seeds]

    def _needed(self, outcomes: Outcomes, task: str, lag: int, layer: str) -> list[Job]:
        """Return the jobs up to the first rate with which every seed learned."""
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
            jobs = self._needed(outcomes, task, shorter, layer)
            done = all(job in outcomes for job in jobs)
            learned = any(outcomes[job].learned for job in jobs if job in outcomes)
            failed = failed + 1 if done and not learned else 0
            if failed == self.give_up_after:
                return True
        return False
