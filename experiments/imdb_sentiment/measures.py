"""The measures of sentiment runs, for `summarise`."""

from pathlib import Path

from experiments.common.trial import Trial

SEED_CHOOSES_DATA = False

MEASURES = {
    "validation accuracy": ("validation", "accuracy"),
    "validation log loss": ("validation", "log_loss"),
    "test accuracy": ("test", "accuracy"),
    "test F1": ("test", "f1"),
    "test ROC AUC": ("test", "roc_auc"),
    "test log loss": ("test", "log_loss"),
}


def trials(folder: Path, config: dict, metrics: dict) -> list[Trial]:
    """Return the results of each seed of a run."""
    return [
        Trial(
            one["seed"],
            {name: one[part][key] for name, (part, key) in MEASURES.items()},
            one["interrupted"],
            metrics["data"].get("fingerprint"),
        )
        for one in metrics["runs"]
    ]
