"""Search and train for every cell and task, and compare with the plain LSTM."""

from collections.abc import Sequence

from experiments.ablation import report
from experiments.ablation.cells import CELLS
from experiments.ablation.plan import Plan
from experiments.ablation.results import Metrics, TaskFacts, csv_rows, found
from experiments.ablation.settings import Settings
from experiments.ablation.tasks import load
from experiments.ablation.worker import TRAININGS
from experiments.common.environment import fingerprint
from experiments.common.lifecycle import Context
from experiments.common.result import Result
from lstm_keras import RNN


def run(settings: Settings, context: Context) -> Result[Metrics]:
    """Run the jobs that are missing, and describe what was found."""
    tasks = {name: load(name, settings) for name in settings.chosen_tasks()}
    plan = Plan.read(settings, {name: task.cost for name, task in tasks.items()})
    data = {
        **{name: task.facts for name, task in tasks.items()},
        "fingerprint": fingerprint(
            array for task in tasks.values() for array in task.arrays
        ),
    }
    context.begin(data)
    progress = TRAININGS.progress(context.checkpoints)
    outcomes = progress.outcomes()
    status, ending = TRAININGS.run(settings, plan, progress, outcomes)
    cells = found(plan, tasks, outcomes, settings.units)
    metrics = Metrics(
        data=data,
        engine={"layer": "lstm_keras.RNN", **engines(plan.cells)},
        # With those before an interruption.
        seconds=round(sum(one.seconds for one in outcomes.values()), 1),
        trainings=len(outcomes),
        tasks={
            name: TaskFacts(title=task.title, measure=task.measure)
            for name, task in tasks.items()
        },
        comparisons=sum(one.difference is not None for one in cells),
        cells=cells,
    )
    return Result(
        title=f"Ablation: {settings.name}",
        metrics=metrics,
        finding=report.finding(metrics),
        sections=report.sections(metrics, settings, tasks, ending),
        status=status,
        ending=ending,
        unfinished=bool(status),
        tables={"results.csv": csv_rows(plan, outcomes)},
    )


def engines(cells: Sequence[str]) -> dict[str, str]:
    """Return the engine that trains each cell."""
    layers = {cell: RNN(CELLS[cell].make(CELLS[cell].multiple)) for cell in cells}
    return {
        cell: layer.explain_engine(training=True).engine
        for cell, layer in layers.items()
    }
