"""Run the jobs of a grid, write each outcome at once, and show how it goes."""

import dataclasses
import json
import math
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from experiments.common.files import read_json, write_json
from experiments.common.fit import Checkpoint
from experiments.common.processes import Jobs
from experiments.common.terminal import duration
from experiments.memory.grid import Grid, Job, Outcome, Outcomes, label

# The remaining time is estimated from this number of the latest jobs.
RECENT = 20

# The costs of a job that do not depend on its lag (compiling, the other parts of the
# model, test sequences), as the lag that would cost the same.
OVERHEAD = 50

BAR_WIDTH = 30

CHECKPOINT = "checkpoint.npz"  # what earlier versions wrote to `JOB.npz` is ignored


class Progress:
    """The outcomes of a grid, a file for each, and the checkpoints of running jobs.

    Args:
        checkpoints: The folder of the run's checkpoints.
    """

    def __init__(self, checkpoints: Path):
        self.folder = checkpoints / "jobs"
        self.folder.mkdir(exist_ok=True)

    def outcomes(self) -> Outcomes:
        """Return the outcomes so far, the oldest first."""
        files = list(self.folder.glob("*.json"))
        files.sort(key=lambda file: file.stat().st_mtime)
        return dict(map(_read, files))

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


def run_here(
    grid: Grid,
    train: Callable[[Job], Outcome],
    progress: Progress,
    outcomes: Outcomes,
) -> None:
    """Run all jobs that are needed, one after the other.

    Args:
        grid: The grid.
        train: Runs a job.
        progress: Where each outcome is written.
        outcomes: The outcomes so far; the others are added.
    """
    while remaining := grid.remaining(outcomes):
        job = remaining[0]
        outcomes[job] = train(job)
        progress.write(job, outcomes[job])
        show(job, outcomes, grid.remaining(outcomes))


def run_in_processes(
    grid: Grid, progress: Progress, outcomes: Outcomes, count: int, ray: str | None
) -> list[str]:
    """Run all jobs that are needed in processes of their own, several at a time.

    Args:
        grid: The grid.
        progress: Where the processes write each outcome.
        outcomes: The outcomes so far; the others are added.
        count: Number of processes at a time.
        ray: The address of a Ray cluster, or None.

    Returns:
        A sentence for each process that failed. The job that it was at is left out.
    """
    failures: list[str] = []
    failed: set[Job] = set()
    running: dict[str, list[Job]] = {}
    with Jobs(count, ray) as jobs:

        def start_more() -> None:
            begun = failed.union(*running.values())
            free = count - len(running)
            for group in split(grid.ready(outcomes, begun), free)[:free]:
                running[label(group)] = group
                jobs.start(label(group), worker_command(progress, group))

        start_more()
        for ended in jobs:
            group, found = running.pop(ended.name), progress.outcomes()
            for job in filter(found.__contains__, group):
                outcomes[job] = found[job]
                show(job, outcomes, grid.remaining(outcomes), count)
            # It was at the first that is missing, and did not begin the others.
            failed.update([job for job in group if job not in found][:1])
            if ended.status:
                failures.append(f"{ended.name} {ended.how}")
                print(f"\n{failures[-1]}", file=sys.stderr)
            start_more()
    return failures


def worker_command(progress: Progress, group: Collection[Job]) -> list[str]:
    """Return the command that runs jobs and writes their outcomes; see `worker`."""
    jobs = (json.dumps(dataclasses.asdict(job)) for job in group)
    folder = progress.folder.parent.resolve()
    return ["experiments.memory.worker", str(folder), *jobs]


def split(groups: Sequence[list[Job]], count: int) -> list[list[Job]]:
    """Split groups of jobs until there are `count`, or each has a single job.

    A process runs a whole group, since it takes seconds to start.
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


def show(job: Job, outcomes: Outcomes, remaining: Sequence[Job], at_once=1) -> None:
    """Print how a job ended, the progress of the grid, and an estimate of the rest.

    A terminal gets a bar below the lines, which moves on with them.
    """
    text = described(job, outcomes[job])
    done, total = len(outcomes), len(outcomes) + len(remaining)
    seconds = seconds_left(outcomes, remaining) / at_once
    rest = f"about {duration(seconds)} left" if remaining else "done"
    if not sys.stdout.isatty():
        print(f"{done}/{total}  {text}; {rest}", flush=True)
        return
    bar = "█" * (BAR_WIDTH * done // total)
    line = f"{bar:░<{BAR_WIDTH}} {done}/{total}, {rest}"
    # Go to the start of the line, and clear what the last bar left of it.
    print(f"\r\x1b[K{text}\n{line}", end="" if remaining else "\n", flush=True)


def described(job: Job, outcome: Outcome) -> str:
    """Return an outcome in one line."""
    solved = "solved" if outcome.solved else "not solved"
    if outcome.diverged:
        solved += f", diverged by step {outcome.steps} (try a lower rate)"
    return (
        f"{job}: error {significant(outcome.test)}, {solved}, "
        f"{outcome.steps:,} steps, {outcome.seconds:.1f} s"
    )


def seconds_left(outcomes: Outcomes, remaining: Sequence[Job]) -> float:
    """Estimate how long the remaining jobs take, from the latest ones.

    A job that solves its task ends early, and some may turn out not to be needed.
    """

    def size(jobs: Collection[Job]) -> int:
        return sum(job.lag + OVERHEAD for job in jobs)

    recent = dict(list(outcomes.items())[-RECENT:])
    seconds = sum(outcome.seconds for outcome in recent.values())
    return seconds / size(recent) * size(remaining)


def significant(value: float) -> str:
    """Return a number with three digits, and at most five behind the point."""
    if value == 0:
        return "0"
    return f"{value:.{min(5, max(0, 2 - math.floor(math.log10(value))))}f}"


def _read(path: Path) -> tuple[Job, Outcome]:
    content = read_json(path)
    return Job(**content.pop("job")), Outcome(**content)
