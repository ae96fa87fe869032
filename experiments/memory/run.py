"""Train every layer on every task and lag, and find the longest lag that it solves."""

from experiments.common.environment import fingerprint
from experiments.common.layers import described, engine_facts
from experiments.common.lifecycle import Context
from experiments.common.result import Result
from experiments.memory import report
from experiments.memory.grid import Grid
from experiments.memory.results import Metrics, cells, csv_rows, longest, sizes
from experiments.memory.settings import Settings
from experiments.memory.train import engine_of, first_test_sequences
from experiments.memory.worker import TRAININGS


def run(settings: Settings, context: Context) -> Result[Metrics]:
    """Run the jobs that are missing, and describe what was found."""
    grid = Grid.read(settings)
    engines = {layer: engine(settings, layer) for layer in grid.layers}
    print(*engines.values(), sep="\n")
    data = data_facts(settings, grid)
    context.begin(data)
    progress = TRAININGS.progress(context.checkpoints)
    outcomes = progress.outcomes()
    status, ending = TRAININGS.run(settings, grid, progress, outcomes)
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
