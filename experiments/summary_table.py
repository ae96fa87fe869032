"""The table of many runs, in rows and in words."""

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from experiments import report, summary
from experiments.summary import Group, Trial
from experiments.training import spread
from lstm_keras.evaluation import intervals

NUMBERS = ("seeds", "mean", "deviation", "95% bootstrap")


@dataclass(frozen=True)
class Table:
    """What is printed and written.

    Attributes:
        title: A line above it.
        names: The columns that, beside `measure`, say what a row is of.
        rows: `measure`, the names, `seeds`, `interrupted` (how many of the seeds were,
            left out or not), `mean`, `standard deviation`, and `low` and `high` of the
            interval; a number that does not exist is None.
        notes: Sentences below it.
    """

    title: str
    names: list[str]
    rows: list[dict]
    notes: list[str]


def summarised(groups: Sequence[Group], include: bool) -> Table:
    """Return the table of groups of trials.

    Args:
        groups: At least one.
        include: Whether interrupted trials count.

    Raises:
        ValueError: A group has a seed twice.
    """
    names = summary.differing([group.settings for group in groups])
    trials = [trial for group in groups for trial in group.trials]
    counted = [summary.counted(group.trials, include) for group in groups]
    rows = [
        row(
            measure,
            {name: group.settings.get(name) for name in names},
            [trial.values.get(measure) for trial in those],
            interrupted=sum(trial.interrupted for trial in group.trials),
        )
        for measure in measures(trials)
        for group, those in zip(groups, counted, strict=True)
    ]
    unlike = [
        (label(group, names), summary.facts_that_differ(t.run for t in group.trials))
        for group in groups
    ]
    notes = [
        f"Warning: the runs{f' of {of}' if of else ''} differ in {facts}."
        for of, facts in unlike
        if facts
    ]
    notes += [*interrupted_notes(trials, include), *few_seeds(rows)]
    what = f"{len(groups)} groups" if len(groups) > 1 else "1 group"
    return Table(f"{counts(trials)} in {what}", names, rows, notes)


def compared(first: Group, second: Group, include: bool) -> Table:
    """Return the table of two groups and their difference, seed by seed.

    Args:
        first: One group.
        second: The one that is subtracted.
        include: Whether interrupted trials count.

    Raises:
        ValueError: A group has a seed twice, or they have no seed or no measure in
            common, or other data.
    """
    both = [summary.counted(group.trials, include) for group in (first, second)]
    paired = summary.pairs(*both)
    names = summary.differing([first.settings, second.settings])
    labels = [label(group, names) for group in (first, second)]
    if not names:
        labels = ["the first", "the second"]
    rows, meanings = [], []
    for measure in measures(trial for pair in paired for trial in pair):
        pairs = [p for p in paired if all(t.values.get(measure) is not None for t in p)]
        if not pairs:
            continue
        sides = [[t.values[measure] for t in side] for side in zip(*pairs, strict=True)]
        found = intervals.paired_difference(*sides)
        for of, values in zip(
            (*labels, "difference"), (*sides, found["values"]), strict=True
        ):
            interrupted = sum(any(t.interrupted for t in pair) for pair in pairs)
            rows.append(row(measure, {"set": of}, values, interrupted))
        meanings.append(meaning(measure, labels, found))
    if not rows:
        received = [measures(side) for side in zip(*paired, strict=True)]
        raise ValueError(
            f"expected a measure that both sets have; received {received[0]} and "
            f"{received[1]}"
        )
    notes = [
        *meanings,
        *unpaired(both, paired),
        *warnings(*zip(*paired, strict=True)),
        *interrupted_notes([*first.trials, *second.trials], include),
        *few_seeds(rows),
    ]
    title = f"{counts([*first.trials, *second.trials])} in two sets"
    return Table(title, ["set"], rows, notes)


def measures(trials: Iterable[Trial]) -> list[str]:
    """Return the measures of which there is a value."""
    return list(
        dict.fromkeys(
            measure
            for trial in trials
            for measure, value in trial.values.items()
            if value is not None
        )
    )


def row(measure: str, names: dict, values: Sequence, interrupted: int) -> dict:
    """Return a row of `Table`, from values of which some may be None."""
    known = [value for value in values if value is not None]
    found = {"mean": None, "standard_deviation": None}
    low = high = None
    if known:
        found = spread(known)
        low, high = intervals.bootstrap_interval(known) or (None, None)
    return {
        "measure": measure,
        **names,
        "seeds": len(known),
        "interrupted": interrupted,
        "mean": found["mean"],
        "standard deviation": found["standard_deviation"],
        "low": low,
        "high": high,
    }


def label(group: Group, names: Iterable[str]) -> str:
    """Return a group's settings of some names."""
    return ", ".join(f"{name}={shown(group.settings.get(name))}" for name in names)


def counts(trials: Sequence[Trial]) -> str:
    """Return what there is."""
    runs = len({trial.run.path for trial in trials})
    experiment = trials[0].run.experiment
    return f"{experiment}: {runs} {'runs' if runs > 1 else 'run'}"


def meaning(measure: str, labels: Sequence[str], found: dict) -> str:
    """Return what a paired difference says, in a sentence or two.

    Args:
        measure: Of what.
        labels: Of the two sets.
        found: See `intervals.paired_difference`.
    """
    first, second = labels
    mean, seeds = found["mean"], "seeds" if found["seeds"] > 1 else "seed"
    over = f"over {found['seeds']} {seeds}"
    if not any(found["values"]):
        return f"{measure}: no difference of {first} and {second} {over}."
    way = f"{'higher' if mean > 0 else 'lower'} by {number(abs(mean))} than with"
    text = f"{measure}: with {first} {way if mean else 'on average as with'} {second}"
    if found["interval"] is None:
        return f"{text} {over}, which says nothing of others."
    ends = {"bootstrap": found["bootstrap_interval"], "Student": found["interval"]}
    given = ", ".join(f"{name} {interval(*two)}" for name, two in ends.items())
    around = [name for name, (low, high) in ends.items() if low <= 0 <= high]
    verdict = "Neither interval contains 0: the two differ."
    if around:
        verdict = f"0 lies within that of {' and '.join(around)}: it may be chance."
    return f"{text} {over} (95% intervals: {given}). {verdict}"


def unpaired(both: Sequence[Sequence[Trial]], paired: Sequence) -> list[str]:
    """Return which seeds of the two sets have no partner."""
    notes = []
    for of, trials, those in zip(
        ("first", "second"), both, zip(*paired, strict=True), strict=True
    ):
        alone = {one.seed for one in trials} - {one.seed for one in those}
        if alone:
            seeds = ", ".join(map(str, sorted(alone)))
            notes.append(f"Left out of the {of} set, without a partner: seed {seeds}.")
    return notes


def warnings(first: Sequence[Trial], second: Sequence[Trial]) -> list[str]:
    """Return what differs, or may differ, between trials that are paired."""
    notes = []
    pairs = zip(first, second, strict=True)
    if not any(one.fingerprint and other.fingerprint for one, other in pairs):
        notes.append(
            "Warning: the runs have no fingerprints of their data, which may differ."
        )
    if facts := summary.facts_that_differ(one.run for one in (*first, *second)):
        notes.append(f"Warning: the runs differ in {facts}.")
    return notes


def interrupted_notes(trials: Iterable[Trial], include: bool) -> list[str]:
    """Return which trials were interrupted, and what became of them."""
    named = [f"seed {t.seed} of {t.run.path}" for t in trials if t.interrupted]
    if not named:
        return []
    if include:
        return [f"Interrupted, but counted: {', '.join(named)}."]
    return [
        f"Interrupted and left out: {', '.join(named)} (--include-interrupted counts "
        "them)."
    ]


def few_seeds(rows: Iterable[dict]) -> list[str]:
    """Return how much an interval over few seeds says."""
    least = min((row["seeds"] for row in rows if row["seeds"] > 1), default=None)
    if least not in intervals.COVERAGE:
        return []
    return [
        f"A bootstrap interval over {least} seeds "
        f"{'means little' if least == 2 else 'is too narrow'}: of normally distributed "
        f"values it holds the true mean in about {intervals.COVERAGE[least]:.0%} of "
        "all cases."
    ]


def cells(table: Table) -> list[list[str]]:
    """Return the header and the rows as a reader sees them."""
    header = ["measure", *table.names, *NUMBERS]
    return [header] + [
        [
            row["measure"],
            *(shown(row[name]) for name in table.names),
            f"{row['seeds']}"
            + (f" ({row['interrupted']} interrupted)" if row["interrupted"] else ""),
            number(row["mean"]),
            number(row["standard deviation"]),
            interval(row["low"], row["high"]),
        ]
        for row in table.rows
    ]


def text(table: Table) -> str:
    """Return what the terminal shows."""
    lines = [table.title, "", *report.aligned(cells(table))]
    return "\n".join([*lines, *(["", *table.notes] if table.notes else [])])


def markdown(table: Table) -> str:
    """Return the table as Markdown, with title and notes."""
    header, *rows = [[escaped(cell) for cell in row] for row in cells(table)]
    lines = [header, ["---"] * len(header), *rows]
    parts = [
        escaped(table.title),
        "\n".join(f"| {' | '.join(line)} |" for line in lines),
        "\n".join(f"- {escaped(note)}" for note in table.notes),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def escaped(text: str) -> str:
    """Return a text that Markdown shows as it is, in one cell."""
    text = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"\\{c}" if c in r"\|*_`[]" else c for c in text)


def shown(value) -> str:
    """Return a setting."""
    return "–" if value is None else str(value)


def interval(low: float | None, high: float | None) -> str:
    """Return the ends of an interval."""
    return "–" if low is None else f"{number(low)} to {number(high)}"


def number(value: float | None) -> str:
    """Return a number with the digits that tell something; only zero looks like it."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    if abs(value) < 0.0005:
        return f"{value:.1e}"
    return f"{value:,.{4 if abs(value) < 10 else 2}f}"
