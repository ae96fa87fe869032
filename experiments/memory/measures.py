"""What `summarise` compares of memory runs: the longest lags that were solved."""

import csv
from pathlib import Path

from experiments.common.trial import Trial

SEED_CHOOSES_DATA = True  # the sequences


def trials(folder: Path, config: dict, metrics: dict) -> list[Trial]:
    """Return for each seed the longest lags that it solved, 0 for none.

    `results.csv` has every training run; `metrics.json` says which learning rates
    count.
    """
    cell = ("task", "layer", "lag", "learning_rate")
    chosen = {tuple(str(one[key]) for key in cell) for one in metrics["cells"]}
    with (folder / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = [
            row for row in csv.DictReader(file) if tuple(map(row.get, cell)) in chosen
        ]
    none = {
        _measure(task, layer): 0
        for task, layers in metrics["longest"].items()
        for layer in layers
    }
    longest = {int(row["seed"]): dict(none) for row in rows}
    for row in rows:
        if row["solved"] == "True":
            values, measure = longest[int(row["seed"])], _measure(**row)
            values[measure] = max(values[measure], int(row["lag"]))
    # The fingerprint is that of the first seed's data.
    data = {config["seed"]: metrics["data"].get("fingerprint")}
    interrupted = metrics.get("interrupted", False)
    return [
        Trial(seed, values, interrupted, data.get(seed))
        for seed, values in longest.items()
    ]


def _measure(task: str, layer: str, **_) -> str:
    return f"longest lag solved, {task}, {layer}"
