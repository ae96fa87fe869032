"""What was found of all training runs together."""

from collections.abc import Sequence

from experiments.common.result import RunMetrics, Spread, metrics
from experiments.memory.grid import Grid, Outcomes
from experiments.memory.tasks import TASKS
from experiments.memory.train import equal_units, parameters
from lstm_keras.evaluation import spread


@metrics
class Size:
    """How large a model is."""

    task: str
    """The task."""
    layer: str
    """The layer, from --layers."""
    units: int
    """Size of its state."""
    parameters: int
    """Number of trainable parameters of the model, output layer included."""


@metrics
class Cell:
    """What a layer achieved on a task at a lag, with the best learning rate."""

    task: str
    """The task."""
    layer: str
    """The layer, from --layers."""
    lag: int
    """The lag in steps."""
    learning_rate: float
    """The learning rate that the validation chose."""
    seeds: int
    """Number of training runs with it, one for each seed."""
    solved: int
    """Number of these that solved the task on the test sequences."""
    error: Spread
    """Error on the test sequences."""
    steps: Spread
    """Number of training steps."""
    baseline: float
    """Error of the best guess without memory."""
    solved_below: float
    """Error below which the task counts as solved."""


@metrics
class Metrics(RunMetrics):
    """What a memory run found."""

    trainings: int
    """Number of training runs that were needed."""
    lags: list[int]
    """The lags in steps, from the shortest to the longest."""
    sizes: list[Size]
    """The sizes of the models, each as near as possible to that with an LSTM."""
    longest: dict[str, dict[str, int | None]]
    """By task and layer the longest lag that more than half of the seeds solved; null
    if none."""
    cells: list[Cell]
    """Each task, layer and lag that was tried."""


def cells(grid: Grid, outcomes: Outcomes) -> list[Cell]:
    """Return what each layer achieved at each task and lag that it was tried at."""
    found = []
    for task in grid.tasks:
        for layer in grid.layers:
            for lag in grid.lags:
                chosen = grid.chosen(outcomes, task, lag, layer)
                if chosen is None:
                    continue
                rate, by_seed = chosen
                found.append(
                    Cell(
                        task=task,
                        layer=layer,
                        lag=lag,
                        learning_rate=rate,
                        seeds=len(by_seed),
                        solved=sum(one.solved for one in by_seed),
                        error=Spread(**spread([one.test for one in by_seed])),
                        steps=Spread(**spread([one.steps for one in by_seed])),
                        baseline=TASKS[task].baseline(lag),
                        solved_below=by_seed[0].goal,
                    )
                )
    return found


def longest(grid: Grid, found: Sequence[Cell]) -> dict[str, dict[str, int | None]]:
    """Return by task and layer the longest lag that more than half the seeds solved."""
    longest = {task: dict.fromkeys(grid.layers) for task in grid.tasks}
    for cell in found:  # longer lags come later
        if cell.solved > cell.seeds / 2:
            longest[cell.task][cell.layer] = cell.lag
    return longest


def sizes(grid: Grid, lstm_units: int) -> list[Size]:
    """Return the sizes of the models."""
    return [
        Size(
            task=task,
            layer=layer,
            units=(units := equal_units(layer, lstm_units, TASKS[task])),
            parameters=parameters(layer, units, TASKS[task]),
        )
        for task in grid.tasks
        for layer in grid.layers
    ]


def csv_rows(outcomes: Outcomes) -> list[dict]:
    """Return a row for each training run."""
    return [
        {
            "task": job.task,
            "layer": job.layer,
            "lag": job.lag,
            "learning_rate": job.rate,
            "seed": job.seed,
            "validation_error": outcome.validation,
            "test_error": outcome.test,
            "baseline": TASKS[job.task].baseline(job.lag),
            "solved_below": outcome.goal,
            "solved": outcome.solved,
            "steps": outcome.steps,
            "seconds": round(outcome.seconds, 2),
        }
        for job, outcome in outcomes.items()
    ]
