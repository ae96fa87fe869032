"""What `summarise` compares of ablations: the test error of each task and cell."""

from pathlib import Path

from experiments.common.trial import Trial

SEED_CHOOSES_DATA = True  # split, order and sequences


def trials(folder: Path, config: dict, metrics: dict) -> list[Trial]:
    """Return for each seed the test errors of every task and cell."""
    values = {}
    for one in metrics["cells"]:
        for number, error in enumerate(one["errors"]):
            seed = config["seed"] + number
            values.setdefault(seed, {})[f"{one['task']}, {one['cell']}"] = error
    # The fingerprint is that of the first seed's data.
    data = {config["seed"]: metrics["data"].get("fingerprint")}
    return [
        Trial(seed, measures, metrics.get("interrupted", False), data.get(seed))
        for seed, measures in values.items()
    ]
