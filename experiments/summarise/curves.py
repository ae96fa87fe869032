"""A figure of measures over the values of one setting, with a curve for each other."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from experiments.common.files import atomic_write
from experiments.summarise import runs
from experiments.summarise.table import countable, differing
from lstm_keras import plots


def write(
    places: Sequence[str],
    by: str,
    measures: Sequence[str],
    path: Path,
    include: bool,
) -> None:
    """Draw the means over the seeds, with their deviation.

    Args:
        places: Folders of runs.
        by: The setting along the figure; its values are numbers.
        measures: Names of measures.
        path: The file to write.
        include: Whether interrupted runs count.

    Raises:
        ValueError: The runs have no such setting or measure, or its values are no
            numbers.
    """
    trials = runs.read(runs.find(places))
    if by in trials["setting"]:  # other runs may lie in the same folder
        trials = trials[trials["setting", by] != ""]
    for part, names in (("setting", [by]), ("measure", measures)):
        known = trials[part].dropna(axis=1, how="all").columns
        for name in names:
            if name not in known:
                raise ValueError(
                    f"expected a {part} of the runs, one of {', '.join(known)}; "
                    f"received {name!r}"
                )
    curves = {}
    for measure in measures:
        found = dict(of(trials, by, measure, include))
        if measure != measures[0] and all(
            curve == one for one in found.values() for curve in found.values()
        ):  # of a model that is the same in all, such as a baseline
            found = {measure: next(iter(found.values()))}
        curves |= found
    figure = plots.plot_by_setting(by, " or ".join(measures), curves)
    with atomic_write(path, "wb") as file:
        figure.savefig(file, format=path.suffix[1:], transparent=True)


def of(
    trials: pd.DataFrame, by: str, measure: str, include: bool
) -> Iterator[tuple[str, tuple]]:
    """Yield each curve: its label; the setting's values, means and deviations."""
    trials = trials[trials["measure", measure].notna()]
    others = [name for name in differing(trials) if name != by]
    keys = ["recipe"] if _decides(trials, "recipe", others) else others
    groups = (
        trials.groupby([("setting", name) for name in keys]) if keys else [((), trials)]
    )
    for values, group in groups:
        label = ", ".join(
            value if name == "recipe" else f"{name}={value or '–'}"
            for name, value in zip(keys, values, strict=True)
        )
        points = sorted(
            (
                (_number(by, value), countable(some, include)["measure", measure])
                for value, some in group.groupby(("setting", by))
            ),
            key=lambda point: point[0],
        )
        means = [values.mean() for _, values in points]
        deviations = [values.std() if len(values) > 1 else 0 for _, values in points]
        yield label or measure, ([x for x, _ in points], means, deviations)


def _decides(trials: pd.DataFrame, name: str, others: Sequence[str]) -> bool:
    """Return whether a setting's value tells those of the others."""
    if name not in others:
        return False
    counts = trials["setting"].groupby(name)[[*others]].nunique()
    return bool((counts == 1).all(axis=None))


def _number(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise ValueError(
            f"expected numbers as the values of {name}; received {value or 'none'!r}"
        ) from None
