"""The report of the memory tasks, as a page and as text."""

import math
from collections.abc import Sequence
from pathlib import Path

from experiments import report, training
from experiments.memory_grid import Grid, Outcomes, duration
from experiments.memory_tasks import TASKS
from experiments.memory_training import (
    CHECKS_PASSED,
    Job,
    Outcome,
    equal_units,
    parameters,
)

LAYERS = {
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


def results(grid: Grid, outcomes: Outcomes, lstm_units: int) -> dict:
    """Return what `metrics.json` says of the trainings.

    Args:
        grid: Which trainings there are.
        outcomes: Those that were needed.
        lstm_units: Of an LSTM, for the sizes of all.
    """
    found = cells(grid, outcomes)
    return {
        "trainings": len(outcomes),
        "lags": list(grid.lags),
        "sizes": sizes(grid, lstm_units),
        "longest": longest(grid, found),
        "cells": found,
    }


def line(job: Job, outcome: Outcome) -> str:
    """Return a training in one line."""
    solved = "solved" if outcome.solved else "not solved"
    if outcome.diverged:
        solved += f", diverged at step {outcome.steps} (try a lower rate)"
    return (
        f"{job.label}, seed {job.seed}: error {significant(outcome.test)}, {solved}, "
        f"{outcome.steps:,} steps, {outcome.seconds:.1f} s"
    )


def cells(grid: Grid, outcomes: Outcomes) -> list[dict]:
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
                    {
                        "task": task,
                        "layer": layer,
                        "lag": lag,
                        "learning_rate": rate,
                        "seeds": len(by_seed),
                        "solved": sum(outcome.solved for outcome in by_seed),
                        "error": training.spread([one.test for one in by_seed]),
                        "steps": training.spread([one.steps for one in by_seed]),
                        "baseline": TASKS[task].baseline(lag),
                        "solved_below": by_seed[0].goal,
                    }
                )
    return found


def longest(grid: Grid, found: Sequence[dict]) -> dict[str, dict[str, int | None]]:
    """Return by task and layer the longest lag that more than half the seeds solved."""
    return {
        task: {
            layer: max(
                (
                    cell["lag"]
                    for cell in found
                    if (cell["task"], cell["layer"]) == (task, layer)
                    and cell["solved"] > cell["seeds"] / 2
                ),
                default=None,
            )
            for layer in grid.layers
        }
        for task in grid.tasks
    }


def sizes(grid: Grid, lstm_units: int) -> list[dict]:
    """Return how large the models are."""
    found = []
    for task in grid.tasks:
        for layer in grid.layers:
            units = equal_units(layer, lstm_units, TASKS[task])
            count = parameters(layer, units, TASKS[task])
            found.append(
                {"task": task, "layer": layer, "units": units, "parameters": count}
            )
    return found


def csv_rows(outcomes: Outcomes) -> list[dict]:
    """Return a row for each training."""
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


def longest_table(metrics: dict) -> tuple[list[str], list[list[str]]]:
    """Return header and rows: a row for each layer, a column for each task."""
    by_task = metrics["longest"]
    header = ["Layer", *(TASKS[task].title for task in by_task)]
    layers = next(iter(by_task.values()))
    rows = [
        [LAYERS[layer], *(_longest(metrics, task, layer) for task in by_task)]
        for layer in layers
    ]
    return header, rows


def _longest(metrics: dict, task: str, layer: str) -> str:
    lag = metrics["longest"][task][layer]
    if lag is None:
        return "none"
    (cell,) = [
        cell
        for cell in metrics["cells"]
        if (cell["task"], cell["layer"], cell["lag"]) == (task, layer, lag)
    ]
    return f"{lag} ({cell['solved']} of {cell['seeds']})"


def tried(metrics: dict) -> list[str]:
    """Return the tasks of which something is known: of an interrupted run not all."""
    known = {cell["task"] for cell in metrics["cells"]}
    return [task for task in metrics["longest"] if task in known]


def size_rows(metrics: dict) -> list[list[str]]:
    """Return the rows of the table of sizes."""
    return [
        [
            TASKS[row["task"]].title,
            LAYERS[row["layer"]],
            f"{row['units']}",
            f"{row['parameters']:,}",
        ]
        for row in metrics["sizes"]
    ]


def cell_rows(metrics: dict, task: str) -> list[list[str]]:
    """Return the rows of a task's table."""
    return [
        [
            LAYERS[cell["layer"]],
            f"{cell['lag']}",
            with_deviation(cell["error"]),
            f"{cell['solved']} of {cell['seeds']}",
            f"{cell['steps']['mean']:,.0f}",
            f"{cell['learning_rate']:g}",
            significant(cell["baseline"]),
            significant(cell["solved_below"]),
        ]
        for cell in metrics["cells"]
        if cell["task"] == task
    ]


def with_deviation(spread: dict) -> str:
    """Return mean ± standard deviation, to the digits that tell something."""
    mean, deviation = significant(spread["mean"]), spread["standard_deviation"]
    return mean if deviation is None else f"{mean} ± {significant(deviation)}"


def significant(value: float) -> str:
    """Return a number with three digits, and no more than five behind the point."""
    if value == 0:
        return "0"
    return f"{value:.{min(5, max(0, 2 - math.floor(math.log10(value))))}f}"


def figures(metrics: dict) -> dict:
    """Return the figures by name, each with its caption."""
    from lstm_keras import plots

    lags = metrics["lags"]
    found = {
        "longest_lag": (
            plots.plot_longest_lag(
                {
                    TASKS[task].title: {
                        LAYERS[layer]: lag for layer, lag in by_layer.items()
                    }
                    for task, by_layer in metrics["longest"].items()
                },
                lags,
            ),
            f"The longest lag of {', '.join(map(str, lags))} at which more than half "
            "of the seeds solve the task.",
        )
    }
    for task in tried(metrics):
        found[f"error_{task}"] = (
            plots.plot_error_by_lag(
                TASKS[task].title,
                TASKS[task].measure,
                _curves(metrics, task),
                {lag: TASKS[task].baseline(lag) for lag in lags},
                {lag: TASKS[task].goal(lag) for lag in lags},
            ),
            f"{TASKS[task].title}: error on the test sequences by lag, mean and "
            "standard deviation over the seeds; dashed: the best guess without memory; "
            "dotted: the error under which the task counts as solved. A curve that "
            "ends early was given up.",
        )
    return found


def _curves(metrics: dict, task: str) -> dict[str, tuple]:
    curves = {}
    for cell in metrics["cells"]:
        if cell["task"] == task:
            point = (
                cell["lag"],
                cell["error"]["mean"],
                cell["error"]["standard_deviation"] or 0.0,
            )
            curves.setdefault(LAYERS[cell["layer"]], []).append(point)
    return {name: tuple(zip(*points, strict=True)) for name, points in curves.items()}


def page(metrics: dict, settings: dict, pictures: Sequence) -> str:
    """Return the HTML report.

    Args:
        metrics: What `metrics.json` holds.
        settings: What `config.json` holds.
        pictures: PNG bytes and caption of each of `figures`, in that order.
    """
    first, *others = pictures
    parts = [report.note(metrics["ending"])] if metrics["ending"] else []
    parts += [
        report.heading("The longest lag that each layer solves"),
        report.paragraph(explanation(settings)),
        report.table(*longest_table(metrics)),
        report.figure(*first),
    ]
    for task, picture in zip(tried(metrics), others, strict=True):
        parts += [
            report.heading(TASKS[task].title),
            report.paragraph(TASKS[task].description),
            report.figure(*picture),
            report.table(CELL_HEADER, cell_rows(metrics, task)),
        ]
    parts += [
        report.heading("Sizes of the models"),
        report.paragraph(
            "Units are chosen so that each model has as nearly as possible as many "
            f"trainable parameters as that with an LSTM of {settings['units']} units."
        ),
        report.table(
            ("Task", "Layer", "Units", "Parameters, output layer included"),
            size_rows(metrics),
        ),
        *report.provenance(metrics, settings),
    ]
    return report.page(f"Memory: {settings['name']}", parts)


def explanation(settings: dict) -> str:
    """Return what the numbers are."""
    return (
        "In parentheses: the seeds that solved that lag. A training ends when "
        f"{CHECKS_PASSED} checks in a row on validation sequences find the task solved "
        f"(a check every {settings['check_every']} steps), or after "
        f"{settings['steps']:,} steps of {settings['batch_size']} new sequences; the "
        "weights of the best check are then tested on other sequences, and that is "
        "what is reported. All layers have equally many parameters, Keras's initial "
        "weights, Adam, gradients clipped to a global norm of "
        f"{settings['clip_norm']:g}, and the same learning rates to choose from: "
        f"{settings['learning_rates'].replace(',', ', ')}, tried in that order until "
        "all seeds learn the task; the validation chooses among them. A layer that "
        "learns a task with no seed at as many lags in a row as --give-up-after says "
        f"({settings['give_up_after']}) is not tried at longer ones."
    )


def text(metrics: dict, settings: dict, path: Path) -> str:
    """Return what the terminal shows at the end."""
    header, rows = longest_table(metrics)
    lines = ["", metrics["ending"]] if metrics["ending"] else []
    lines += [
        "",
        "The longest lag that each layer solves",
        *report.aligned([header, *rows]),
    ]
    for task in tried(metrics):
        title = f"{TASKS[task].title}: {TASKS[task].measure}"
        lines += ["", title, *report.aligned([CELL_HEADER, *cell_rows(metrics, task)])]
    lines += ["", explanation(settings)]
    lines.append(
        f"{metrics['trainings']} trainings, {duration(metrics['seconds'])} in all"
    )
    return "\n".join([*lines, f"Report: {path / 'report.html'}"])
