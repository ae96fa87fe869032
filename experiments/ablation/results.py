"""What was found of all training runs together."""

from collections.abc import Sequence

from experiments.ablation.cells import equal_units, parameters
from experiments.ablation.plan import Outcomes, Plan
from experiments.ablation.settings import REFERENCE
from experiments.ablation.tasks import Task
from experiments.common.result import RunMetrics, Spread, metrics
from lstm_keras.evaluation import holm, paired_difference, paired_p_value, spread


@metrics
class Difference:
    """A cell's error minus the LSTM's, seed by seed; above 0 it is worse."""

    values: list[float]
    """The difference of each seed."""
    mean: float
    """Their mean."""
    interval: tuple[float, float] | None
    """95% interval of the mean by Student's t; null of a single seed."""
    p: float | None
    """Probability of a mean as far from 0 if there were no difference (two-sided paired
    t test); null of a single seed."""
    p_holm: float | None
    """The same, corrected by Holm's method for the number of comparisons of the run."""


@metrics
class Cell:
    """What a cell achieved at a task, with what the search chose."""

    task: str
    """The task."""
    cell: str
    """The cell, from --cells."""
    units: int
    """Its units."""
    parameters: int
    """Number of parameters of the cell and the layer of outputs after it."""
    learning_rate: float
    """The learning rate that the search chose."""
    forget_bias: float | None
    """The bias of a new forget gate that it chose; null without one."""
    validation: float
    """The lowest validation loss of the search."""
    seeds: int
    """Number of training runs after the search, one for each seed."""
    diverged: int
    """Number of these that a loss ended that was NaN or infinite."""
    errors: list[float]
    """The error on the test data, of each seed."""
    error: Spread
    """Their mean and deviation."""
    difference: Difference | None
    """The difference from the LSTM; null for the LSTM itself."""


@metrics
class TaskFacts:
    """A task of the run."""

    title: str
    """Its name."""
    measure: str
    """What the error is."""


@metrics
class Metrics(RunMetrics):
    """What an ablation found."""

    trainings: int
    """Number of training runs."""
    tasks: dict[str, TaskFacts]
    """The tasks."""
    comparisons: int
    """Number of comparisons with the LSTM, for which Holm's method corrects."""
    cells: list[Cell]
    """Each task and cell for which all training runs are done."""


def found(
    plan: Plan, tasks: dict[str, Task], outcomes: Outcomes, lstm_units: int
) -> list[Cell]:
    """Return what each cell achieved at each task, as far as both and the LSTM's."""
    cells = [
        of_cell(plan, name, task, cell, outcomes, lstm_units)
        for name, task in tasks.items()
        for cell in plan.cells
        if all(
            job in outcomes for one in (REFERENCE, cell) for job in plan.runs(name, one)
        )
    ]
    compared = [one.difference for one in cells if one.difference]
    if compared and compared[0].p is not None:
        for difference, p in zip(
            compared, holm([one.p for one in compared]), strict=True
        ):
            difference.p_holm = p
    return cells


def of_cell(
    plan: Plan,
    name: str,
    task: Task,
    cell: str,
    outcomes: Outcomes,
    lstm_units: int,
) -> Cell:
    """Return what a cell achieved at a task."""
    runs = [outcomes[job] for job in plan.runs(name, cell)]
    reference = [outcomes[job].test for job in plan.runs(name, REFERENCE)]
    errors = [one.test for one in runs]
    units = equal_units(cell, lstm_units, task.features, task.outputs)
    return Cell(
        task=name,
        cell=cell,
        units=units,
        parameters=parameters(cell, units, task.features, task.outputs),
        learning_rate=runs[0].rate,
        forget_bias=runs[0].forget_bias,
        validation=min(outcomes[job].validation for job in plan.search(name, cell)),
        seeds=len(runs),
        diverged=sum(one.diverged for one in runs),
        errors=errors,
        error=Spread(**spread(errors)),
        difference=None if cell == REFERENCE else difference(errors, reference),
    )


def difference(errors: Sequence[float], reference: Sequence[float]) -> Difference:
    """Return the difference of paired errors, not yet corrected."""
    paired = paired_difference(errors, reference)
    return Difference(
        values=paired["values"],
        mean=paired["mean"],
        interval=paired["interval"],
        p=paired_p_value(errors, reference),
        p_holm=None,
    )


def csv_rows(plan: Plan, outcomes: Outcomes) -> list[dict]:
    """Return a row for each training run, in the order of the plan."""
    return [
        {
            "task": job.task,
            "cell": job.cell,
            "trial": "" if job.trial is None else job.trial + 1,
            "seed": job.seed,
            "learning_rate": outcome.rate,
            "forget_bias": "" if outcome.forget_bias is None else outcome.forget_bias,
            "validation": outcome.validation,
            "test_error": outcome.test,
            "epochs": outcome.epochs,
            "diverged": outcome.diverged,
            "seconds": round(outcome.seconds, 2),
        }
        for job in plan.remaining({})
        if (outcome := outcomes.get(job))
    ]
