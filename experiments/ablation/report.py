"""What the report of an ablation tells."""

from collections.abc import Iterator, Mapping

from experiments.ablation.cells import CELLS
from experiments.ablation.results import Cell, Metrics
from experiments.ablation.settings import REFERENCE, Settings
from experiments.ablation.tasks import Task
from experiments.common.result import (
    Figure,
    Finding,
    Note,
    Paragraph,
    Section,
    Table,
)
from experiments.common.terminal import duration, significant
from lstm_keras import plots

LEVEL = 0.05

# What Greff et al. 2017 found: which parts matter most, and which hardly do.
MATTER = ("no_forget_gate", "no_output_activation")
HARDLY_MATTER = ("coupled", "peephole")

# Of their eight variants of an LSTM with peepholes those that are variants here, too.
TRIED_BY_GREFF = (
    "coupled",
    "full_gate_recurrence",
    "no_input_gate",
    "no_forget_gate",
    "no_output_gate",
    "no_input_activation",
    "no_output_activation",
)

# A larger gap between the numbers of parameters is told.
LARGEST_GAP = 0.05

HEADER = (
    "Cell",
    "Units",
    "Parameters",
    "Rate",
    "Forget bias",
    "Error",
    "From the LSTM",
    "95% interval",
    "p (Holm)",
)


def finding(metrics: Metrics) -> Finding:
    """Return how many cells differ from the LSTM, and which differs most at a task."""
    if not metrics.comparisons:
        return Finding("No cell has been compared with the LSTM yet.")
    if not any(is_tested(one) for one in metrics.cells):
        return Finding(
            "One seed: no comparison with the LSTM can be tested.", figure(metrics)
        )
    found = [one for one in metrics.cells if is_significant(one)]
    worse = sum(one.difference.mean > 0 for one in found)
    text = (
        f"{len(found)} of {metrics.comparisons} comparisons with the LSTM at equal "
        "size show a difference after Holm's correction"
    )
    if found:
        text += (
            f": {worse} worse, {len(found) - worse} better; the largest at each task: "
            + ", ".join(largest(metrics, found))
        )
    return Finding(f"{text}.", figure(metrics))


def largest(metrics: Metrics, found: list[Cell]) -> Iterator[str]:
    """Yield for each task the largest of some differences, with its cell."""
    for task, facts in metrics.tasks.items():
        at_task = [one for one in found if one.task == task]
        if at_task:
            most = max(at_task, key=lambda one: abs(one.difference.mean))
            yield f"{facts.title} {signed(most.difference.mean)} ({title_of(most)})"


def title_of(one: Cell) -> str:
    """Return the name of a cell."""
    return CELLS[one.cell].title


def is_tested(one: Cell) -> bool:
    """Return whether a cell was compared with the LSTM over several seeds."""
    return one.difference is not None and one.difference.p_holm is not None


def is_significant(one: Cell) -> bool:
    """Return whether a cell differs from the LSTM after the correction."""
    return is_tested(one) and one.difference.p_holm <= LEVEL


def figure(metrics: Metrics) -> Figure:
    """Return a row for each cell, a column for each task."""
    by_place = {(one.task, one.cell): one for one in metrics.cells if one.difference}
    compared = [cell for cell in CELLS if any(cell == one for _, one in by_place)]

    def row(task: str, cell: str) -> dict | None:
        one = by_place.get((task, cell))
        if one is None:
            return None
        mean, interval = one.difference.mean, one.difference.interval
        sure = is_significant(one)
        return {"mean": mean, "interval": interval, "significant": sure}

    drawn = plots.plot_differences(
        {
            f"{facts.title}\ndifference in\n{facts.measure}": {
                CELLS[cell].title: row(task, cell) for cell in compared
            }
            for task, facts in metrics.tasks.items()
        }
    )
    return Figure(
        "differences",
        drawn,
        "Error minus that of the plain LSTM, paired by seed: mean and 95% interval; to "
        "the right is worse. In color: still different after Holm's correction for "
        f"{metrics.comparisons} comparisons.",
    )


def sections(
    metrics: Metrics, settings: Settings, tasks: Mapping[str, Task], ending: str
) -> list[Section]:
    """Return the sections of the report.

    Args:
        metrics: The metrics of the run.
        settings: Its settings.
        tasks: Its tasks.
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
        *(task_section(metrics, name, task) for name, task in tasks.items()),
        Section("Beside Greff et al. (2017)", [Paragraph(beside_greff(metrics))]),
        Section("Method", [Paragraph(explanation(settings), page_only=True)]),
    ]


def task_section(metrics: Metrics, name: str, task: Task) -> Section:
    """Return what was found at a task; of an interrupted run it may be nothing."""
    cells = [one for one in metrics.cells if one.task == name]
    rows = [cell_row(one) for one in cells]
    parts = [Paragraph(task.description, page_only=True), Table(HEADER, rows)]
    if unequal := [*gaps(cells)]:
        parts.append(
            Note(f"Numbers of parameters beside the LSTM's: {', '.join(unequal)}.")
        )
    return Section(f"{task.title}: {task.measure}", parts if rows else [])


def gaps(cells: list[Cell]) -> Iterator[str]:
    """Yield each cell whose model differs in size from the LSTM's, and by how much."""
    sizes = {one.cell: one.parameters for one in cells}
    for one in cells:
        gap = one.parameters / sizes[REFERENCE] - 1
        if abs(gap) > LARGEST_GAP:
            yield f"{title_of(one)} {gap:+.0%}"


def cell_row(one: Cell) -> list[str]:
    """Return a row of a task's table."""
    bias = one.forget_bias
    return [
        title_of(one),
        f"{one.units}",
        f"{one.parameters:,}",
        f"{one.learning_rate:.4f}",
        "–" if bias is None else f"{bias:.1f}",
        with_deviation(one),
        *difference_columns(one),
    ]


def difference_columns(one: Cell) -> list[str]:
    """Return difference, interval and corrected p-value."""
    difference = one.difference
    if difference is None:
        return ["–"] * 3
    mean = signed(difference.mean)
    if difference.interval is None:
        return [mean, "–", "–"]
    low, high = map(signed, difference.interval)
    p = difference.p_holm
    return [mean, f"{low} to {high}", "< 0.001" if p < 0.001 else f"{p:.3f}"]


def with_deviation(one: Cell) -> str:
    """Return mean ± standard deviation, and how many runs diverged."""
    text, deviation = f"{one.error.mean:.3f}", one.error.standard_deviation
    text += "" if deviation is None else f" ± {significant(deviation)}"
    return text + (f" ({one.diverged} diverged)" if one.diverged else "")


def signed(value: float) -> str:
    """Return a number with its sign."""
    return f"{value:+.3f}"


def beside_greff(metrics: Metrics) -> str:
    """Return what Greff et al. found, and whether each of it was found here, too."""
    text = (
        "Greff, Srivastava, Koutník, Steunebrink & Schmidhuber, “LSTM: A Search Space "
        "Odyssey”, compared an LSTM with peepholes with eight variants of it, each "
        "changed in one part, on speech, handwriting and music: removing the forget "
        "gate or the output activation cost most; coupling the gates or removing the "
        "peepholes changed little; no variant was significantly better. The LSTM here "
        "has no peepholes: “peepholes” adds them."
    )
    tested = [one for one in metrics.cells if is_tested(one)]
    if not tested:
        return text
    told = [
        f"{CELLS[name].title}: {changes(metrics, name)}"
        for name in (*MATTER, *HARDLY_MATTER)
    ]
    variants = [one for one in tested if one.cell in TRIED_BY_GREFF]
    if variants:
        better = [
            f"{title_of(one)} at {metrics.tasks[one.task].title}"
            for one in variants
            if is_significant(one) and one.difference.mean < 0
        ]
        told.append(
            f"significantly better of the variants tried in both: "
            f"{', '.join(better) or 'none'} ({agreement(not better)})"
        )
    return f"{text} Here, as changes of the error: {'; '.join(told)}."


def changes(metrics: Metrics, cell: str) -> str:
    """Return how a cell differs from the LSTM at each task, and if they found that."""
    told = []
    for one in metrics.cells:
        if one.cell == cell and is_tested(one):
            sure = is_significant(one)
            found = (sure and one.difference.mean > 0) if cell in MATTER else not sure
            told.append(
                f"{metrics.tasks[one.task].title} {signed(one.difference.mean)}"
                f"{'' if sure else ', not significant'} ({agreement(found)})"
            )
    return ", ".join(told) or "not tried"


def agreement(found: bool) -> str:
    """Return whether something was found here as by Greff et al."""
    return "agrees" if found else "does not agree"


def explanation(settings: Settings) -> str:
    """Return what the numbers are."""
    return (
        "All models of a task have as nearly as possible as many parameters as that "
        f"with {CELLS[REFERENCE].title} of {settings.units} units, output layer "
        "included. For each cell and task a search of "
        f"{settings.trials} training runs tries the same learning rates, drawn from "
        f"{settings.lowest_rate:g} to {settings.highest_rate:g} log-uniformly, and "
        "biases of new forget gates, drawn from 0 to "
        f"{settings.highest_forget_bias:g}, with a fixed seed; each range is divided "
        "into as many parts, of which each is tried once. The validation loss chooses. "
        "Then "
        f"{settings.seeds} models are trained from other seeds, with Adam, gradients "
        f"clipped to a global norm of {settings.clip_norm:g}, batches of "
        f"{settings.batch_size}; the epoch with the lowest validation loss is tested. "
        "A seed has the same split, order and sequences for every cell, so errors are "
        "compared in pairs: the interval is Student's, p is that of a paired t test, "
        "corrected by Holm's method for all comparisons of this run. Both cover the "
        "randomness of the seeds alone: another search could choose other rates and "
        "biases, and so give another difference."
    )
