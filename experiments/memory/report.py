"""What the report of a memory run tells."""

from experiments.common.result import (
    Figure,
    Finding,
    Note,
    Paragraph,
    Section,
    Table,
)
from experiments.common.terminal import duration, significant
from experiments.memory.results import Cell, Metrics, Spread
from experiments.memory.settings import Settings
from experiments.memory.tasks import TASKS
from experiments.memory.train import CHECKS_PASSED
from lstm_keras import plots

LAYER_NAMES = {
    "simple_rnn": "SimpleRNN",
    "gru": "GRU",
    "builtin": "LSTM (Keras)",
    "custom": "LSTM (lstm_keras)",
}

CELL_HEADER = (
    "Layer",
    "Lag",
    "Error",
    "Solved",
    "Steps",
    "Rate",
    "Baseline",
    "Solved below",
)


def finding(metrics: Metrics) -> Finding:
    """Return the longest lags of our LSTM, or else the last layer, and of the first."""
    names, longest = layers(metrics), metrics.longest
    first, chosen = names[0], "custom" if "custom" in names else names[-1]
    reached = [
        f"{longest[task][chosen] or 'none'} ({TASKS[task].title})" for task in longest
    ]
    text = f"{LAYER_NAMES[chosen]} solves lags up to {', '.join(reached)}"
    if first != chosen:
        reached = [f"{by_layer[first] or 'none'}" for by_layer in longest.values()]
        text += f"; {LAYER_NAMES[first]} up to {', '.join(reached)}"
    return Finding(f"{text}.", longest_figure(metrics))


def sections(metrics: Metrics, settings: Settings, ending: str) -> list[Section]:
    """Return the sections of the report.

    Args:
        metrics: The metrics of the run.
        settings: Its settings.
        ending: How it ended early; empty if it did not.
    """
    seconds = duration(metrics.seconds)
    return [
        Section(
            None,
            [
                Paragraph(f"{metrics.trainings} training runs, {seconds} in all."),
                *([Note(ending)] if ending else []),
            ],
        ),
        Section(
            "The longest lag that each layer solves",
            [
                longest_table(metrics),
                Paragraph("In parentheses: the number of seeds that solved that lag."),
            ],
        ),
        *(task_section(metrics, task) for task in metrics.longest),
        Section(
            "Method",
            [
                Paragraph(explanation(settings), page_only=True),
                Paragraph(
                    "Units are chosen so that each model has as nearly as possible as "
                    "many trainable parameters as that with an LSTM of "
                    f"{settings.units} units.",
                    page_only=True,
                ),
                size_table(metrics),
            ],
        ),
    ]


def longest_table(metrics: Metrics) -> Table:
    """Return a row for each layer, and a column for each task."""
    cells = {(one.task, one.layer, one.lag): one for one in metrics.cells}

    def text(task: str, layer: str) -> str:
        lag = metrics.longest[task][layer]
        if lag is None:
            return "none"
        cell = cells[task, layer, lag]
        return f"{lag} ({cell.solved} of {cell.seeds})"

    header = ["Layer", *(TASKS[task].title for task in metrics.longest)]
    rows = [
        [LAYER_NAMES[layer], *(text(task, layer) for task in metrics.longest)]
        for layer in layers(metrics)
    ]
    return Table(header, rows)


def longest_figure(metrics: Metrics) -> Figure:
    """Return the longest lags as a figure."""
    lags = {
        TASKS[task].title: {LAYER_NAMES[layer]: lag for layer, lag in found.items()}
        for task, found in metrics.longest.items()
    }
    return Figure(
        "longest_lag",
        plots.plot_longest_lag(lags, metrics.lags),
        f"The longest lag of {', '.join(map(str, metrics.lags))} at which more than "
        "half of the seeds solve the task.",
    )


def task_section(metrics: Metrics, name: str) -> Section:
    """Return what was found at a task; of an interrupted run it may be nothing."""
    task, cells = TASKS[name], [one for one in metrics.cells if one.task == name]
    if not cells:
        return Section(task.title, [])
    figure = plots.plot_error_by_lag(
        task.title,
        task.measure,
        curves(cells),
        {lag: task.baseline(lag) for lag in metrics.lags},
        {lag: task.goal(lag) for lag in metrics.lags},
    )
    caption = (
        f"{task.title}: error on the test sequences by lag, mean and standard "
        "deviation over the seeds; dashed: the best guess without memory; dotted: the "
        "error below which the task counts as solved. A curve that ends early was "
        "given up."
    )
    return Section(
        f"{task.title}: {task.measure}",
        [
            Paragraph(task.description, page_only=True),
            Figure(f"error_{name}", figure, caption),
            Table(CELL_HEADER, list(map(cell_row, cells))),
        ],
    )


def cell_row(cell: Cell) -> list[str]:
    """Return a row of a task's table."""
    return [
        LAYER_NAMES[cell.layer],
        f"{cell.lag}",
        with_deviation(cell.error),
        f"{cell.solved} of {cell.seeds}",
        f"{cell.steps.mean:,.0f}",
        f"{cell.learning_rate:g}",
        significant(cell.baseline),
        significant(cell.solved_below),
    ]


def curves(cells: list[Cell]) -> dict[str, tuple]:
    """Return lags, means and standard deviations of the errors by layer."""
    points = {}
    for cell in cells:
        point = (cell.lag, cell.error.mean, cell.error.standard_deviation or 0.0)
        points.setdefault(LAYER_NAMES[cell.layer], []).append(point)
    return {layer: tuple(zip(*found, strict=True)) for layer, found in points.items()}


def size_table(metrics: Metrics) -> Table:
    """Return the sizes of the models."""
    rows = [
        [
            TASKS[one.task].title,
            LAYER_NAMES[one.layer],
            f"{one.units}",
            f"{one.parameters:,}",
        ]
        for one in metrics.sizes
    ]
    header = ("Task", "Layer", "Units", "Parameters, output layer included")
    return Table(header, rows, page_only=True)


def layers(metrics: Metrics) -> list[str]:
    """Return the layers of a run."""
    return list(next(iter(metrics.longest.values())))


def with_deviation(spread: Spread) -> str:
    """Return mean ± standard deviation, with the digits that matter."""
    mean, deviation = significant(spread.mean), spread.standard_deviation
    return mean if deviation is None else f"{mean} ± {significant(deviation)}"


def explanation(settings: Settings) -> str:
    """Return what the numbers are."""
    return (
        f"A training run ends when {CHECKS_PASSED} checks in a row on validation "
        f"sequences find the task solved (a check every {settings.check_every} steps), "
        f"or after {settings.steps:,} steps of {settings.batch_size} new sequences; "
        "the weights of the best check are then tested on other sequences, and that is "
        "what is reported. All layers have the same number of parameters, Keras's "
        "initial weights, Adam, gradients clipped to a global norm of "
        f"{settings.clip_norm:g}, and the same learning rates to choose from: "
        f"{settings.learning_rates.replace(',', ', ')}, tried in that order until all "
        "seeds learn the task; the validation chooses among them. A layer that learns "
        f"a task with no seed at {settings.give_up_after} lags in a row "
        "(--give-up-after) is not tried at longer ones."
    )
