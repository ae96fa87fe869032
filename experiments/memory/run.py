"""Train every layer on every task and lag, and find the longest lag that it solves."""

from experiments.common.environment import fingerprint
from experiments.common.layers import described, engine_facts
from experiments.common.lifecycle import Context
from experiments.common.result import Result
from experiments.common.signals import INTERRUPTED
from experiments.memory import report
from experiments.memory.grid import Grid, Outcomes
from experiments.memory.progress import Progress, run_here, run_in_processes
from experiments.memory.results import Metrics, cells, csv_rows, longest, sizes
from experiments.memory.settings import Settings
from experiments.memory.train import engine_of, first_test_sequences
from experiments.memory.worker import trainer


def run(settings: Settings, context: Context) -> Result[Metrics]:
    """Run the jobs that are missing, and describe what was found."""
    grid = Grid.read(settings)
    engines = {layer: engine(settings, layer) for layer in grid.layers}
    print(*engines.values(), sep="\n")
    data = data_facts(settings, grid)
    context.begin(data)
    progress = Progress(context.checkpoints)
    outcomes = progress.outcomes()
    status, ending = train_all(settings, grid, progress, outcomes)
    found = cells(grid, outcomes)
    metrics = Metrics(
        data=data,
        engine=engines,
        # With those before an interruption.
        seconds=round(sum(one.seconds for one in outcomes.values()), 1),
        trainings=len(outcomes),
        lags=list(grid.lags),
        sizes=sizes(grid, settings.units),
        longest=longest(grid, found),
        cells=found,
    )
    return Result(
        title=f"Memory: {settings.name}",
        metrics=metrics,
        finding=report.finding(metrics),
        sections=report.sections(metrics, settings, ending),
        status=status,
        ending=ending,
        unfinished=bool(status),
        tables={"results.csv": csv_rows(outcomes)},
    )


def engine(settings: Settings, layer: str) -> str:
    """Return what computes a layer."""
    facts = engine_facts(layer, engine_of(settings, layer))
    # As earlier versions wrote it: their runs can be repeated.
    return described(facts).removeprefix("Layer: ").replace(" engine:", " path:")


def train_all(
    settings: Settings, grid: Grid, progress: Progress, outcomes: Outcomes
) -> tuple[int, str]:
    """Run all jobs that are missing.

    Args:
        settings: The settings.
        grid: The grid.
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
            run_here(grid, trainer(settings, progress), progress, outcomes)
            return 0, ""
        failures = run_in_processes(
            grid, progress, outcomes, settings.jobs, settings.ray
        )
    except KeyboardInterrupt:
        if not outcomes:
            raise
        left = len(grid.remaining(outcomes))
        ending = f"Interrupted: up to {left} of the training runs are missing."
        return INTERRUPTED, ending
    if failures and not outcomes:
        raise ValueError(f"all training runs failed: {'; '.join(failures)}")
    if failures and (left := len(grid.remaining(outcomes))):
        return 1, (
            f"Failed processes: {len(failures)} ({'; '.join(failures)}). Up to {left} "
            "of the training runs are missing; --resume tries them again."
        )
    return 0, ""


def data_facts(settings: Settings, grid: Grid) -> dict:
    """Return what `metrics.json` says of the data."""
    return {
        # As earlier versions wrote it: runs that they began can be resumed.
        "source": "made as needed by NumPy's default generator, seeded for each "
        "training, and with other seeds for validation and test",
        "training": f"at most {settings.steps * settings.batch_size:,} sequences",
        "validation": f"{settings.test_size:,} sequences",
        "test": f"{settings.test_size:,} sequences",
        "fingerprint": fingerprint(
            array
            for task in grid.tasks
            for lag in grid.lags
            for array in first_test_sequences(task, lag, settings.seed)
        ),
    }
