"""The table of many runs, with notes in sentences, on the terminal and in files."""

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from experiments.common import render, result
from experiments.common.files import atomic_write
from experiments.common.terminal import printable
from experiments.summarise import runs

# How often the bootstrap interval over a number of normally distributed values contains
# their true mean.
COVERAGE = {2: 0.50, 3: 0.75, 4: 0.80, 5: 0.83, 6: 0.86, 7: 0.87, 8: 0.88, 9: 0.90}


@dataclass(frozen=True)
class Summary:
    """What is printed and written.

    Attributes:
        title: A line above the table.
        rows: The numbers: a row for each measure, and each group or set of runs, with
            the columns `seeds`, `interrupted` (the number of seeds that were, counted
            or not), `mean`, `standard deviation`, and `low` and `high` of the 95%
            bootstrap interval; of a difference `t low` and `t high`, too.
        cells: The header and the rows as a reader sees them.
        notes: Sentences below the table.
    """

    title: str
    rows: pd.DataFrame
    cells: list[list[str]]
    notes: list[str]


def of(places: Sequence[str], against: Sequence[str] | None, include: bool) -> Summary:
    """Summarise the runs of some places.

    Args:
        places: Folders of runs.
        against: The places of a second set, to compare the first one with.
        include: Whether interrupted runs count.

    Raises:
        ValueError: The runs can't be read, or do not go together.
        FileNotFoundError: There are none.
    """
    first, second = runs.find(places), runs.find(against or ())
    if both := {*map(Path.resolve, first)} & {*map(Path.resolve, second)}:
        raise ValueError(f"expected each run in one set; received {min(both)} in both")
    trials = runs.read([*first, *second])
    in_first = trials["trial", "run"].isin(map(str, first))
    title, rows, cells, notes = (
        _compared(trials[in_first], trials[~in_first], include)
        if against
        else _summarised(trials, include)
    )
    count = len(first) + len(second)
    return Summary(
        f"{trials['trial', 'experiment'].iloc[0]}: {_plural(count, 'run')} in {title}",
        rows,
        cells,
        [*notes, *_interrupted(trials, include), *_few_seeds(rows["seeds"])],
    )


def show(summary: Summary) -> None:
    """Print a summary."""
    header, *rows = summary.cells
    notes = map(result.Paragraph, summary.notes)
    render.show([result.Section(summary.title, [result.Table(header, rows), *notes])])


def write_csv(summary: Summary, path: Path) -> None:
    """Write the numbers with all digits."""
    with atomic_write(path, newline="") as file:
        summary.rows.to_csv(file, index=False, lineterminator="\r\n")


def write_markdown(summary: Summary, path: Path) -> None:
    """Write title, table and notes."""
    header, *rows = [[_escaped(cell) for cell in row] for row in summary.cells]
    lines = [header, ["---"] * len(header), *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    notes = "\n".join(f"- {_escaped(note)}" for note in summary.notes)
    with atomic_write(path) as file:
        file.write("\n\n".join(filter(None, [summary.title, table, notes])) + "\n")


def _summarised(trials: pd.DataFrame, include: bool) -> tuple:
    groups, names = _groups(trials)
    measures = list(trials["measure"].dropna(axis=1, how="all"))
    rows, notes, cells = [], [], [["runs", *names, "seeds", *measures]]
    for group in groups:
        counted, interrupted = _counted(group, include), group["trial", "interrupted"]
        about = {"runs": _run_names(group)}
        about |= {name: group["setting", name].iloc[0] for name in names}
        found = {
            measure: _numbers(values, interrupted)
            for measure in measures
            for values in [counted["measure", measure].dropna()]
            if len(values) or counted.empty
        }
        rows += [{"measure": name, **about, **one} for name, one in found.items()]
        cells.append(
            [
                *(value or "–" for value in about.values()),
                _seeds(len(counted), interrupted),
                *(_cell(found.get(name), len(counted)) for name in measures),
            ]
        )
        if facts := _differing_facts(group):
            notes.append(f"Warning: the runs {about['runs']} differ in {facts}.")
    if not rows:
        raise ValueError("expected a run with results; received none")
    return _plural(len(groups), "group"), pd.DataFrame(rows), cells, notes


def _compared(first: pd.DataFrame, second: pd.DataFrame, include: bool) -> tuple:
    names = _groups(pd.concat([first, second]))[1]
    labels = [
        ", ".join(f"{name}={side['setting', name].iloc[0] or '–'}" for name in names)
        or f"the {ordinal}"
        for side, ordinal in ((first, "first"), (second, "second"))
    ]
    both = [_counted(_only_group(side), include) for side in (first, second)]
    one, other = _paired(*both)
    differences = one["measure"] - other["measure"]
    rows, cells = [], [["measure", "seeds", *labels, "difference"]]
    for measure in differences.dropna(axis=1, how="all"):
        values = differences[measure].dropna()
        sides = [side.loc[values.index] for side in (one, other)]
        stopped = [side["trial", "interrupted"] for side in sides]
        found = [
            _numbers(side["measure", measure], interrupted)
            for side, interrupted in zip(sides, stopped, strict=True)
        ]
        either = stopped[0] | stopped[1]
        found.append(_numbers(values, either) | _student(values))
        rows += [
            {"measure": measure, "set": label, **numbers}
            for label, numbers in zip(cells[0][2:], found, strict=True)
        ]
        count = len(values)
        cells.append(
            [measure, _seeds(count, either), *(_cell(one, count) for one in found)]
        )
    if not rows:
        raise ValueError("expected a measure that both sets have; received none")
    rows = pd.DataFrame(rows)
    notes = [*_verdicts(rows), *_unpaired(*both), *_warnings(one, other)]
    return "two sets", rows, cells, notes


def _groups(trials: pd.DataFrame) -> tuple[list[pd.DataFrame], list[str]]:
    """Return the trials by their settings, and the settings in which these differ."""
    settings = trials["setting"]
    groups = trials.groupby(settings.apply(tuple, axis=1), sort=False)
    names = [name for name in settings if settings[name].nunique() > 1]
    return [group for _, group in groups], names


def _only_group(trials: pd.DataFrame) -> pd.DataFrame:
    groups, names = _groups(trials)
    if len(groups) > 1:
        raise ValueError(
            "expected runs of equal settings on each side of --against; received some "
            f"that differ in {', '.join(names)}: "
            f"{', '.join(trials['trial', 'run'].unique())}"
        )
    return trials


def _counted(group: pd.DataFrame, include: bool) -> pd.DataFrame:
    """Return the trials of a group that count, by seed.

    Raises:
        ValueError: A seed is there twice.
    """
    if not include:
        group = group[~group["trial", "interrupted"]]
    by_seed = group.set_index(("trial", "seed")).sort_index()
    for seed in by_seed.index[by_seed.index.duplicated()]:
        raise ValueError(
            "expected each seed once among runs of equal settings; received seed "
            f"{seed} in {' and in '.join(by_seed.loc[seed, ('trial', 'run')])}"
        )
    return by_seed


def _paired(first: pd.DataFrame, second: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the trials of the seeds that two sets share.

    Raises:
        ValueError: There is none, or those of a seed are of different data.
    """
    seeds = first.index.intersection(second.index)
    if seeds.empty:
        had = [", ".join(map(str, one.index)) or "none" for one in (first, second)]
        raise ValueError(
            "expected seeds that both sets have, since they are compared seed by seed; "
            f"received {had[0]} and {had[1]}: make the missing runs with --seed, or "
            "summarise all runs in one table, without --against"
        )
    paired = [first.loc[seeds], second.loc[seeds]]
    prints = [one["trial", "fingerprint"] for one in paired]
    for seed in seeds[prints[0].notna() & prints[1].notna() & (prints[0] != prints[1])]:
        where = [f"{one['trial'].at[seed, 'run']}" for one in paired]
        raise ValueError(
            "expected two sets of runs on the same data; received, with seed "
            f"{seed}, {prints[0][seed]} in {where[0]} and {prints[1][seed]} in "
            f"{where[1]}"
        )
    return paired


def _numbers(values: pd.Series, interrupted: pd.Series) -> dict:
    """Return the numbers of a row from the values of its seeds."""
    low = high = np.nan
    if len(values) > 1:
        low, high = stats.bootstrap(
            (values.to_numpy(),),
            np.mean,
            method="percentile",
            random_state=np.random.default_rng(0),
        ).confidence_interval
    return {
        "seeds": len(values),
        "interrupted": interrupted.sum(),
        "mean": values.mean(),
        "standard deviation": values.std(),
        "low": low,
        "high": high,
    }


def _student(values: pd.Series) -> dict:
    """Return the ends of Student's 95% interval, which do not exist of one value."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.sem()
    return {"t low": values.mean() - half, "t high": values.mean() + half}


def _verdicts(rows: pd.DataFrame) -> Iterator[str]:
    """Yield what the differences say, in a sentence for all measures of one verdict."""
    found = rows[rows["set"] == "difference"]
    for verdict, some in found.groupby(found.apply(_verdict, axis=1), sort=False):
        yield f"{', '.join(some['measure'])}: {verdict}."


def _verdict(row: pd.Series) -> str:
    if row["seeds"] == 1:
        return "a single seed says nothing about others"
    if row["low"] == row["high"] == 0:
        return "no difference"
    if min(row["low"], row["t low"]) > 0 or max(row["high"], row["t high"]) < 0:
        return "neither interval of the difference contains 0, so the sets differ"
    return "an interval of the difference contains 0, so it may be chance"


def _unpaired(first: pd.DataFrame, second: pd.DataFrame) -> Iterator[str]:
    for of, one, other in (("first", first, second), ("second", second, first)):
        alone = one.index.difference(other.index)
        if len(alone):
            seeds = ", ".join(map(str, alone))
            yield f"Left out of the {of} set, without a partner: seed {seeds}."


def _warnings(first: pd.DataFrame, second: pd.DataFrame) -> Iterator[str]:
    """Yield what differs, or may differ, between trials that are paired."""
    if (
        first["trial", "fingerprint"].isna() | second["trial", "fingerprint"].isna()
    ).all():
        yield "Warning: the runs have no fingerprints of their data, which may differ."
    if facts := _differing_facts(pd.concat([first, second])):
        yield f"Warning: the runs differ in {facts}."


def _differing_facts(trials: pd.DataFrame) -> str:
    return "; ".join(
        f"{name} {' / '.join(values.unique())}"
        for name, values in trials["fact"].items()
        if values.nunique() > 1
    )


def _interrupted(trials: pd.DataFrame, include: bool) -> Iterator[str]:
    found = trials["trial"][trials["trial", "interrupted"]]
    named = ", ".join(f"seed {one.seed} of {one.run}" for one in found.itertuples())
    if named and include:
        yield f"Interrupted, but counted: {named}."
    elif named:
        yield f"Interrupted and left out: {named} (--include-interrupted counts them)."


def _few_seeds(counts: pd.Series) -> Iterator[str]:
    """Yield how much an interval over few seeds says."""
    least = counts[counts > 1].min()
    if least in COVERAGE:
        yield (
            f"A bootstrap interval over {least} seeds "
            f"{'means little' if least == 2 else 'is too narrow'}: of normally "
            f"distributed values it contains the true mean in about "
            f"{COVERAGE[least]:.0%} of all cases."
        )


def _seeds(count: int, interrupted: pd.Series) -> str:
    more = f" ({interrupted.sum()} interrupted)" if interrupted.any() else ""
    return f"{count}{more}"


def _cell(numbers: dict | None, seeds: int) -> str:
    """Return mean and deviation, and below them the intervals.

    Args:
        numbers: See `_numbers`; None if no seed has this measure.
        seeds: The number of seeds that the line of the table says.
    """
    if numbers is None or pd.isna(numbers["mean"]):
        return "–"
    lines = [number(numbers["mean"])]
    if not pd.isna(numbers["low"]):
        lines[0] += f" ± {number(numbers['standard deviation'])}"
        lines.append(f"{number(numbers['low'])} to {number(numbers['high'])}")
    if not pd.isna(numbers.get("t low")):
        ends = f"{number(numbers['t low'])} to {number(numbers['t high'])}"
        lines.append(f"{ends} (Student)")
    if numbers["seeds"] < seeds:
        lines.append(f"{numbers['seeds']} of {seeds} seeds")
    return "\n".join(lines)


def _run_names(trials: pd.DataFrame) -> str:
    """Return the names of the runs, or of the first and last of many."""
    names = [Path(run).name for run in trials["trial", "run"].unique()]
    return ", ".join(names) if len(names) < 4 else f"{names[0]} … {names[-1]}"


def _plural(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count > 1 else ''}"


def _escaped(text: str) -> str:
    """Return a text that Markdown shows as it is, in one cell."""
    lines = [
        html.escape(" ".join(line.split()), quote=False)
        for line in printable(text).split("\n")
    ]
    escaped = (
        "".join(f"\\{c}" if c in r"\|*_`[]" else c for c in line) for line in lines
    )
    return "<br>".join(escaped)


def number(value: float) -> str:
    """Return a number with its significant digits; only zero looks like zero."""
    if value == 0:
        return "0"
    if abs(value) < 0.0005:
        return f"{value:.1e}"
    return f"{value:,.{4 if abs(value) < 10 else 2}f}"
