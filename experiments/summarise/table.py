"""The table of many runs, with notes in sentences, on the terminal and in files."""

import html
import re
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
    sets = [trials[in_first], trials[~in_first]] if against else [trials]
    kind, rows, cells, notes = (_compared if against else _summarised)(*sets, include)
    if not rows:
        whose = "both sets have" if against else "the runs have"
        raise ValueError(f"expected a measure that {whose}; received none")
    rows, count = pd.DataFrame(rows), _plural(len(first) + len(second), "run")
    title = f"{trials['trial', 'experiment'].iloc[0]}: {count} in {kind}"
    notes = [*notes, *_interrupted(trials, include), *_few_seeds(rows["seeds"])]
    return Summary(title, rows, cells, notes)


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
    groups = trials.groupby(trials["setting"].apply(tuple, axis=1), sort=False)
    names, measures = differing(trials), trials["measure"].dropna(axis=1, how="all")
    rows, notes, cells = [], [], [["runs", *names, "seeds", *measures]]
    for _, group in groups:
        counted, stopped = (
            countable(group, include),
            group["trial", "interrupted"].sum(),
        )
        about = {"runs": _run_names(group), **group["setting"][names].iloc[0]}
        found = {
            name: _numbers(counted["measure", name].dropna(), stopped)
            for name in measures
        }
        rows += [
            {"measure": name, **about, **numbers}
            for name, numbers in found.items()
            if numbers["seeds"] or counted.empty
        ]
        line = _line(len(counted), stopped, found)
        cells.append([*(value or "–" for value in about.values()), *line])
        if facts := _differing_facts(group):
            notes.append(f"Warning: the runs {about['runs']} differ in {facts}.")
    return _plural(len(groups), "group"), rows, cells, notes


def _compared(first: pd.DataFrame, second: pd.DataFrame, include: bool) -> tuple:
    names = differing(pd.concat([first, second]))
    labels = [
        ", ".join(f"{name}={side['setting', name].iloc[0] or '–'}" for name in names)
        or f"the {ordinal}"
        for side, ordinal in ((first, "first"), (second, "second"))
    ]
    one, other, notes = _paired(first, second, include)
    stopped = [side["trial", "interrupted"] for side in (one, other)]
    stopped.append(stopped[0] | stopped[1])
    differences = (one["measure"] - other["measure"]).dropna(axis=1, how="all")
    rows, verdicts, cells = [], {}, [["measure", "seeds", *labels, "difference"]]
    for measure, values in differences.items():
        values = values.dropna()
        sides = [side["measure", measure][values.index] for side in (one, other)]
        counts = [which[values.index].sum() for which in stopped]
        numbers = map(_numbers, [*sides, values], counts)
        found = dict(zip(cells[0][2:], numbers, strict=True))
        found["difference"] |= _student(values)
        rows += [{"measure": measure, "set": name} | found[name] for name in found]
        cells.append([measure, *_line(len(values), counts[-1], found)])
        verdicts.setdefault(_verdict(found["difference"]), []).append(measure)
    said = (f"{', '.join(of)}: {verdict}." for verdict, of in verdicts.items())
    return "two sets", rows, cells, [*said, *notes]


def differing(trials: pd.DataFrame) -> list[str]:
    """Return the settings in which some trials differ."""
    return [name for name, values in trials["setting"].items() if values.nunique() > 1]


def countable(group: pd.DataFrame, include: bool) -> pd.DataFrame:
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


def _paired(first: pd.DataFrame, second: pd.DataFrame, include: bool) -> tuple:
    """Return the trials of the seeds that two sets share, and notes.

    Raises:
        ValueError: A set has several settings, there is no common seed, or the trials
            of a seed are of different data.
    """
    for side in (first, second):
        if names := differing(side):
            raise ValueError(
                "expected runs of equal settings on each side of --against; received "
                f"some that differ in {', '.join(names)}: "
                f"{', '.join(side['trial', 'run'].unique())}"
            )
    sides = [countable(side, include) for side in (first, second)]
    seeds = sides[0].index.intersection(sides[1].index)
    if seeds.empty:
        had = [", ".join(map(str, side.index)) or "none" for side in sides]
        raise ValueError(
            "expected seeds that both sets have, since they are compared seed by seed; "
            f"received {had[0]} and {had[1]}: make the missing runs with --seed, or "
            "summarise all runs in one table, without --against"
        )
    one, other = (side.loc[seeds] for side in sides)
    prints = [side["trial", "fingerprint"] for side in (one, other)]
    known = prints[0].notna() & prints[1].notna()
    for seed in seeds[known & (prints[0] != prints[1])]:
        places = [side.at[seed, ("trial", "run")] for side in (one, other)]
        raise ValueError(
            f"expected two sets of runs on the same data; received, with seed {seed}, "
            f"{prints[0][seed]} in {places[0]} and {prints[1][seed]} in {places[1]}"
        )
    notes = [
        f"Left out of the {ordinal} set, without a partner: seed {', '.join(alone)}."
        for ordinal, side in (("first", sides[0]), ("second", sides[1]))
        if (alone := [*map(str, side.index.difference(seeds))])
    ]
    if not known.any():
        notes.append(
            "Warning: the runs have no fingerprints of their data, which may differ."
        )
    if facts := _differing_facts(pd.concat([one, other])):
        notes.append(f"Warning: the runs differ in {facts}.")
    return one, other, notes


def _numbers(values: pd.Series, interrupted: int) -> dict:
    """Return the numbers of a row from the values of its seeds."""
    low = high = np.nan
    if len(values) > 1:
        rng = np.random.default_rng(0)
        options = {"method": "percentile", "random_state": rng}
        low, high = stats.bootstrap([values], np.mean, **options).confidence_interval
    return {
        "seeds": len(values),
        "interrupted": interrupted,
        "mean": values.mean(),
        "standard deviation": values.std(),
        "low": low,
        "high": high,
    }


def _student(values: pd.Series) -> dict:
    """Return the ends of Student's 95% interval, which do not exist of one value."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.sem()
    return {"t low": values.mean() - half, "t high": values.mean() + half}


def _verdict(row: dict) -> str:
    if row["seeds"] == 1:
        return "a single seed says nothing about others"
    if row["low"] == row["high"] == 0:
        return "no difference"
    if min(row["low"], row["t low"]) > 0 or max(row["high"], row["t high"]) < 0:
        return "neither interval of the difference contains 0, so the sets differ"
    return "an interval of the difference contains 0, so it may be chance"


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
        how = "means little" if least == 2 else "is too narrow"
        yield (
            f"A bootstrap interval over {least} seeds {how}: of normally distributed "
            f"values it contains the true mean in about {COVERAGE[least]:.0%} of all "
            "cases."
        )


def _line(seeds: int, interrupted: int, found: dict[str, dict]) -> list[str]:
    """Return the number of seeds, and the cell of each row of numbers."""
    more = f" ({interrupted} interrupted)" if interrupted else ""
    return [f"{seeds}{more}", *(_cell(numbers, seeds) for numbers in found.values())]


def _cell(numbers: dict, seeds: int) -> str:
    """Return mean and deviation, and below them the intervals."""
    shown = {name: number(value) for name, value in numbers.items() if pd.notna(value)}
    if "mean" not in shown:
        return "–"
    lines = [shown["mean"]]
    if "low" in shown:
        lines[0] += f" ± {shown['standard deviation']}"
        lines.append(f"{shown['low']} to {shown['high']}")
    if "t low" in shown:
        lines.append(f"{shown['t low']} to {shown['t high']} (Student)")
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
    lines = (" ".join(line.split()) for line in printable(text).split("\n"))
    escaped = html.escape("\n".join(lines), quote=False)
    return re.sub(r"[\\|*_`\[\]]", r"\\\g<0>", escaped).replace("\n", "<br>")


def number(value: float) -> str:
    """Return a number with its significant digits; only zero looks like zero."""
    if value == 0:
        return "0"
    if abs(value) < 0.0005:
        return f"{value:.1e}"
    return f"{value:,.{4 if abs(value) < 10 else 2}f}"
