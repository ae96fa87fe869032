"""Many training runs of one experiment, here or in processes, each written at once."""

import contextlib
import dataclasses
import json
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import filelock
import keras

from experiments.common import checkpoint, processes, resume
from experiments.common.command_line import readable_errors
from experiments.common.environment import environment, make_deterministic
from experiments.common.experiment import Experiment
from experiments.common.files import read_json, write_json
from experiments.common.fit import (
    Checkpoint,
    Fit,
    StopOnInterrupt,
    fit,
    stop_on_interrupt,
)
from experiments.common.processes import Jobs
from experiments.common.run_folder import check_versions
from experiments.common.signals import INTERRUPTED, sigterm_as_ctrl_c
from experiments.common.terminal import duration

# The remaining time is estimated from this number of the latest jobs.
RECENT = 20

BAR_WIDTH = 30

LOOK = 5.0  # seconds between two looks at what processes have written

CHECKPOINT = "checkpoint.npz"  # what earlier versions wrote to `JOB.npz` is ignored

# Seconds: what a killed run has left may need some to notice it, and may finish a job.
WAIT = 300

# A training run, a frozen dataclass with a `file_name`; and how it ended, a dataclass
# with its `seconds`.
Job = Any
Outcome = Any
Outcomes = dict[Job, Outcome]


class Plan(Protocol):
    """The jobs that there may be."""

    def remaining(self, outcomes: Outcomes) -> list[Job]:
        """Return the jobs that may still be needed, in the order to run them.

        The first one is needed. Of those after it some may turn out not to be.
        """

    def ready(
        self, outcomes: Outcomes, besides: Collection[Job] = ()
    ) -> list[list[Job]]:
        """Return the jobs that are needed, whatever the others' outcomes are.

        Args:
            outcomes: The outcomes so far.
            besides: Jobs to leave out, as they run or have failed. What depends on
                their outcomes is left out, too.

        Returns:
            Groups of jobs that one process should run, in their order.
        """

    def is_independent(self, group: Sequence[Job]) -> bool:
        """Return whether no job of a group needs the outcomes of others before it."""

    def label(self, group: Sequence[Job]) -> str:
        """Return the name of such a group, or of a part of it."""

    def described(self, job: Job, outcome: Outcome) -> str:
        """Return an outcome in one line."""

    def cost(self, job: Job) -> float:
        """Return how long a job may take relative to others."""


class Progress:
    """The outcomes of a run, a file for each, and the checkpoints of running jobs.

    Args:
        checkpoints: The folder of the run's checkpoints.
        job: The type of the jobs.
        outcome: The type of the outcomes.
    """

    def __init__(self, checkpoints: Path, job: type, outcome: type):
        self.folder = checkpoints / "jobs"
        self.folder.mkdir(exist_ok=True)
        self._job, self._outcome = job, outcome

    def outcomes(self) -> Outcomes:
        """Return the outcomes so far, the oldest first."""
        files = list(self.folder.glob("*.json"))
        files.sort(key=lambda file: file.stat().st_mtime)
        contents = map(read_json, files)
        return {self._job(**one.pop("job")): self._outcome(**one) for one in contents}

    def write(self, job: Job, outcome: Outcome) -> None:
        """Write an outcome, and remove the checkpoint of its job."""
        content = {"job": dataclasses.asdict(job), **dataclasses.asdict(outcome)}
        write_json(self.path(job, "json"), content)
        self.path(job, CHECKPOINT).unlink(missing_ok=True)

    def checkpoint(self, job: Job, seconds: float) -> Checkpoint:
        """Return where the checkpoint of a job is, written every few seconds."""
        return Checkpoint(self.path(job, CHECKPOINT), seconds)

    def path(self, job: Job, suffix: str) -> Path:
        """Return a file of a job."""
        return self.folder / f"{job.file_name}.{suffix}"


class SharedModel:
    """A compiled model that begins each training run as a new one would.

    Compiling takes seconds, so the jobs of one kind share it.
    """

    def __init__(self):
        self._kind = self._model = self._start = None

    def new(
        self,
        kind: Any,
        seed: int,
        build: Callable[[], keras.Model],
        compile: Callable[[keras.Model], Any],
        rate: float,
    ) -> keras.Model:
        """Return it with new weights and a new state of the optimizer.

        Args:
            kind: What the jobs have in common that share it.
            seed: Seed of the weights.
            build: Returns a model that is not compiled.
            compile: Compiles it.
            rate: The learning rate.
        """
        if kind == self._kind:
            checkpoint.restore(self._model, self._start)
        keras.utils.set_random_seed(seed)
        model = build()
        if kind == self._kind:
            # With the random state of zoneout, which `get_weights` leaves out.
            pairs = zip(self._model.variables, model.variables, strict=True)
            for variable, new in pairs:
                variable.assign(new)
        else:
            compile(model)
            self._kind, self._model = kind, model
            self._start = checkpoint.capture(model, {}, metrics=False)
        self._model.optimizer.learning_rate = rate
        return self._model


@contextlib.contextmanager
def interruptible() -> Iterator[StopOnInterrupt]:
    """Raise `KeyboardInterrupt` at the end of the block if Ctrl-C came.

    While TensorFlow traces it can lose the exception that Ctrl-C raises.
    """
    with stop_on_interrupt() as interrupt:
        yield interrupt
    if interrupt.asked:
        raise KeyboardInterrupt


def fit_job(model: keras.Model, *batches, interrupt: StopOnInterrupt, **options) -> Fit:
    """Train all epochs of a job; if it diverges in the first one, train nothing.

    Args:
        model: The model, compiled.
        *batches: Those of training and validation; see `fit`.
        interrupt: What `interruptible` gives.
        **options: See `fit`.

    Raises:
        KeyboardInterrupt: Ctrl-C came; there is a checkpoint.
    """
    initial = model.get_weights()
    if interrupt.asked:
        raise KeyboardInterrupt
    fitted = fit(
        model, *batches, patience=None, verbose=0, stop_if_diverged=True, **options
    )
    if fitted.interrupted:
        raise KeyboardInterrupt
    if not fitted.best_epoch:
        model.set_weights(initial)
    return fitted


@dataclasses.dataclass(frozen=True)
class Trainings:
    """The training runs of an experiment.

    Attributes:
        experiment: The experiment, whose settings are `JobSettings`, too.
        job: The type of its jobs.
        outcome: The type of their outcomes.
        worker: The module that calls `work`, in processes of their own.
        trainer: Takes settings and `Progress`, and returns what runs a job.
    """

    experiment: Experiment
    job: type
    outcome: type
    worker: str
    trainer: Callable[[Any, Progress], Callable[[Job], Outcome]]

    def progress(self, checkpoints: Path) -> Progress:
        """Return the progress of a run, given the folder of its checkpoints."""
        return Progress(checkpoints, self.job, self.outcome)

    def run(
        self, settings: Any, plan: Plan, progress: Progress, outcomes: Outcomes
    ) -> tuple[int, str]:
        """Run all jobs that are missing.

        Args:
            settings: The settings.
            plan: The jobs.
            progress: Where outcomes and checkpoints are written.
            outcomes: The outcomes so far; the others are added.

        Returns:
            The exit status, and a sentence on how it ended early; empty if it did not.

        Raises:
            KeyboardInterrupt: Ctrl-C came before any job was done.
            ValueError: All processes failed.
        """
        if outcomes:
            print(f"Resuming: {len(outcomes)} training runs are done already.")
        try:
            if settings.jobs == 1 and settings.ray is None:
                run_here(plan, self.trainer(settings, progress), progress, outcomes)
                return 0, ""
            failures = run_in_processes(
                plan, progress, outcomes, settings.jobs, settings.ray, self.worker
            )
        except KeyboardInterrupt:
            if not outcomes:
                raise
            left = len(plan.remaining(outcomes))
            ending = f"Interrupted: up to {left} of the training runs are missing."
            return INTERRUPTED, ending
        if failures and not outcomes:
            raise ValueError(f"all training runs failed: {'; '.join(failures)}")
        if failures and (left := len(plan.remaining(outcomes))):
            return 1, (
                f"Failed processes: {len(failures)} ({'; '.join(failures)}). Up to "
                f"{left} of the training runs are missing; --resume tries them again."
            )
        return 0, ""

    def work(self, argv: Sequence[str]) -> None:
        """Run jobs in a process of their own, and write their outcomes.

        Args:
            argv: The folder of a run's checkpoints, and each job as JSON.
        """
        processes.end_with_starter()
        with sigterm_as_ctrl_c(), readable_errors():
            folder = Path(argv[0])
            settings = resume.settings_of(self.experiment, folder)
            if settings.deterministic:
                make_deterministic()
            check_versions(folder, environment())
            progress = self.progress(folder)
            train = self.trainer(settings, progress)
            for job in (self.job(**json.loads(text)) for text in argv[1:]):
                with filelock.FileLock(progress.path(job, "lock"), timeout=WAIT):
                    if not progress.path(job, "json").exists():
                        progress.write(job, train(job))


def run_here(
    plan: Plan,
    train: Callable[[Job], Outcome],
    progress: Progress,
    outcomes: Outcomes,
) -> None:
    """Run all jobs that are needed, one after the other.

    Args:
        plan: The jobs.
        train: Runs a job.
        progress: Where each outcome is written.
        outcomes: The outcomes so far; the others are added.
    """
    while remaining := plan.remaining(outcomes):
        job = remaining[0]
        outcomes[job] = train(job)
        progress.write(job, outcomes[job])
        show(plan, job, outcomes, plan.remaining(outcomes))


def run_in_processes(
    plan: Plan,
    progress: Progress,
    outcomes: Outcomes,
    count: int,
    ray: str | None,
    worker: str,
) -> list[str]:
    """Run all jobs that are needed in processes of their own, several at a time.

    Args:
        plan: The jobs.
        progress: Where the processes write each outcome.
        outcomes: The outcomes so far; the others are added.
        count: Number of processes at a time.
        ray: The address of a Ray cluster, or None.
        worker: The module that runs jobs.

    Returns:
        A sentence for each process that failed. The job that it was at is left out.
    """
    failures: list[str] = []
    failed: set[Job] = set()
    running: dict[str, list[Job]] = {}

    def note_outcomes() -> None:
        """Note and show those of jobs that have ended since the last time."""
        found = progress.outcomes()
        for job in [one for one in found if one not in outcomes]:
            outcomes[job] = found[job]
            show(plan, job, outcomes, plan.remaining(outcomes), count)

    with Jobs(count, ray, every=LOOK) as jobs:

        def start_more() -> None:
            begun = failed.union(*running.values())
            free = count - len(running)
            for group in split(plan, plan.ready(outcomes, begun), free)[:free]:
                running[plan.label(group)] = group
                jobs.start(plan.label(group), worker_command(worker, progress, group))

        start_more()
        for ended in jobs:
            note_outcomes()
            if ended is None:
                continue
            # It was at the first that is missing, and did not begin the others.
            group = running.pop(ended.name)
            failed.update([job for job in group if job not in outcomes][:1])
            if ended.status:
                failures.append(f"{ended.name} {ended.how}")
                print(f"\n{failures[-1]}", file=sys.stderr)
            start_more()
    return failures


def worker_command(
    worker: str, progress: Progress, group: Collection[Job]
) -> list[str]:
    """Return the command that runs jobs and writes their outcomes; see `work`."""
    jobs = (json.dumps(dataclasses.asdict(job)) for job in group)
    return [worker, str(progress.folder.parent.resolve()), *jobs]


def split(plan: Plan, groups: Sequence[list[Job]], count: int) -> list[list[Job]]:
    """Split groups of jobs until there are `count`, or none can be split any more.

    A process runs a whole group, since it takes seconds to start.
    """
    whole = [group for group in groups if not plan.is_independent(group)]
    parts = [group for group in groups if plan.is_independent(group)]
    while parts and len(whole) + len(parts) < count:
        parts.sort(key=len)
        largest = parts.pop()
        half = len(largest) // 2
        if not half:
            return [*whole, *parts, largest]
        parts += [largest[:half], largest[half:]]
    return [*whole, *parts]


def show(
    plan: Plan,
    job: Job,
    outcomes: Outcomes,
    remaining: Sequence[Job],
    at_once: int = 1,
) -> None:
    """Print how a job ended, the progress of the plan, and an estimate of the rest.

    A terminal gets a bar below the lines, which moves on with them.
    """
    text = plan.described(job, outcomes[job])
    done, total = len(outcomes), len(outcomes) + len(remaining)
    seconds = seconds_left(plan, outcomes, remaining) / at_once
    rest = f"about {duration(seconds)} left" if remaining else "done"
    if not sys.stdout.isatty():
        print(f"{done}/{total}  {text}; {rest}", flush=True)
        return
    bar = "█" * (BAR_WIDTH * done // total)
    line = f"{bar:░<{BAR_WIDTH}} {done}/{total}, {rest}"
    # Go to the start of the line, and clear what the last bar left of it.
    print(f"\r\x1b[K{text}\n{line}", end="" if remaining else "\n", flush=True)


def seconds_left(plan: Plan, outcomes: Outcomes, remaining: Sequence[Job]) -> float:
    """Estimate how long the remaining jobs take, from the latest ones.

    A job may end early, and some may turn out not to be needed.
    """
    recent = dict(list(outcomes.items())[-RECENT:])
    seconds = sum(outcome.seconds for outcome in recent.values())
    return seconds / sum(map(plan.cost, recent)) * sum(map(plan.cost, remaining))
