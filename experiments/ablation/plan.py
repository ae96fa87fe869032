"""The training runs: a search for each cell and task, then several seeds."""

import math
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from experiments.ablation.settings import SEARCH_SEED, Settings
from experiments.common.terminal import significant


@dataclass(frozen=True)
class Job:
    """One training run.

    Attributes:
        task: The task.
        cell: The cell.
        trial: Its number in the search; None after the search.
        seed: Seed of weights, split, order and sequences.
    """

    task: str
    cell: str
    trial: int | None
    seed: int

    @property
    def file_name(self) -> str:
        """What its files are called, without a suffix."""
        number = self.seed if self.trial is None else f"trial-{self.trial}"
        return f"{self.task}-{self.cell}-{number}"


@dataclass(frozen=True)
class Choice:
    """What the search chooses.

    Attributes:
        rate: The learning rate.
        forget_bias: The bias of a new forget gate; cells without one ignore it.
    """

    rate: float
    forget_bias: float


@dataclass(frozen=True)
class Outcome:
    """How a training run ended.

    Attributes:
        rate: The learning rate.
        forget_bias: The bias of the new forget gate; None without one.
        validation: The error on validation data of the best epoch, by which the search
            chooses.
        test: The error on test data with its weights.
        epochs: Number of epochs.
        seconds: Its duration, compiling included.
        diverged: Whether a loss that was NaN or infinite ended it.
    """

    rate: float
    forget_bias: float | None
    validation: float
    test: float
    epochs: int
    seconds: float
    diverged: bool = False


Outcomes = dict[Job, Outcome]


@dataclass(frozen=True)
class Plan:
    """The training runs, task by task; see `experiments.common.trainings.Plan`.

    Attributes:
        tasks: The tasks.
        cells: The cells.
        choices: What the trials of the search try; the same for each cell and task.
        seeds: The seeds after the search.
        costs: By task how long a training run takes relative to others.
    """

    tasks: tuple[str, ...]
    cells: tuple[str, ...]
    choices: tuple[Choice, ...]
    seeds: tuple[int, ...]
    costs: Mapping[str, float]

    @classmethod
    def read(cls, settings: Settings, costs: Mapping[str, float]) -> "Plan":
        """Return the plan of an experiment's settings."""
        return cls(
            settings.chosen_tasks(),
            settings.chosen_cells(),
            choices(settings),
            tuple(range(settings.seed, settings.seed + settings.seeds)),
            costs,
        )

    def search(self, task: str, cell: str) -> list[Job]:
        """Return the jobs of a search."""
        return [Job(task, cell, n, SEARCH_SEED) for n in range(len(self.choices))]

    def runs(self, task: str, cell: str) -> list[Job]:
        """Return the jobs after it, a job for each seed."""
        return [Job(task, cell, None, seed) for seed in self.seeds]

    def chosen(self, outcomes: Outcomes, task: str, cell: str) -> Choice | None:
        """Return what the search found best; None before it is complete."""
        search = self.search(task, cell)
        if not all(job in outcomes for job in search):
            return None
        return self.choices[min(search, key=lambda job: outcomes[job].validation).trial]

    def choice(self, outcomes: Outcomes, job: Job) -> Choice:
        """Return what a job of `ready` is to be trained with."""
        if job.trial is not None:
            return self.choices[job.trial]
        return self.chosen(outcomes, job.task, job.cell)

    def remaining(self, outcomes: Outcomes) -> list[Job]:
        """Return the jobs that are missing, in the order to run them."""
        return [
            job
            for task in self.tasks
            for cell in self.cells
            for job in (*self.search(task, cell), *self.runs(task, cell))
            if job not in outcomes
        ]

    def ready(
        self, outcomes: Outcomes, besides: Collection[Job] = ()
    ) -> list[list[Job]]:
        """Return groups of jobs that can be run now.

        A search is followed by the seeds, unless another process has a part of it.
        """

        def missing(jobs: list[Job]) -> list[Job]:
            return [job for job in jobs if job not in outcomes and job not in besides]

        groups = []
        for task in self.tasks:
            for cell in self.cells:
                search, runs = self.search(task, cell), self.runs(task, cell)
                whole = all(job in outcomes or job not in besides for job in search)
                groups.append(missing([*search, *runs] if whole else search))
        return [group for group in groups if group]

    def is_independent(self, group: Sequence[Job]) -> bool:
        """Return whether there are no seeds behind jobs of their search."""
        return len({job.trial is None for job in group}) == 1

    def label(self, group: Sequence[Job]) -> str:
        """Return the name of a group."""
        trials = ", ".join(str(job.trial + 1) for job in group if job.trial is not None)
        seeds = ", ".join(str(job.seed) for job in group if job.trial is None)
        what = [f"trial {trials}"] * bool(trials) + [f"seed {seeds}"] * bool(seeds)
        return f"{group[0].task}, {group[0].cell}, {', '.join(what)}"

    def described(self, job: Job, outcome: Outcome) -> str:
        """Return an outcome in one line."""
        bias = outcome.forget_bias
        about = "" if bias is None else f", forget bias {bias:.2f}"
        ended = f", diverged in epoch {outcome.epochs}" if outcome.diverged else ""
        return (
            f"{self.label([job])}, rate {outcome.rate:.5f}{about}: validation "
            f"{significant(outcome.validation)}, test {significant(outcome.test)}"
            f"{ended}, {outcome.seconds:.0f} s"
        )

    def cost(self, job: Job) -> float:
        """Return how long a job may take relative to others."""
        return self.costs[job.task]


def choices(settings: Settings) -> tuple[Choice, ...]:
    """Return what the trials of a search try.

    Rates are log-uniform and forget biases uniform within their bounds, both
    stratified: each of as many equal parts of a range as there are trials is tried once
    (McKay, Beckman & Conover, "A Comparison of Three Methods for Selecting Values of
    Input Variables", Technometrics 21(2), 1979).
    """
    draw = random.Random(0)

    def stratified(low: float, high: float) -> list[float]:
        places = [(n + draw.random()) / settings.trials for n in range(settings.trials)]
        draw.shuffle(places)
        return [low + (high - low) * place for place in places]

    rates = stratified(math.log(settings.lowest_rate), math.log(settings.highest_rate))
    biases = stratified(0.0, settings.highest_forget_bias)
    return tuple(map(Choice, map(math.exp, rates), biases))
