"""The measures of sentiment runs, for `summarise`."""

from pathlib import Path

from experiments.common.trial import Trial

SEED_CHOOSES_DATA = False

WORD_PAIRS = "TF-IDF + logistic regression, all 1-2 grams"

MEASURES = {
    "validation accuracy": ("validation", "accuracy"),
    "validation log loss": ("validation", "log_loss"),
    "test accuracy": ("test", "accuracy"),
    "test F1": ("test", "f1"),
    "test ROC AUC": ("test", "roc_auc"),
    "test log loss": ("test", "log_loss"),
}


def trials(folder: Path, config: dict, metrics: dict) -> list[Trial]:
    """Return the results of each seed of a run, beside those of word pairs."""
    accuracies = {one["name"]: one["accuracy"] for one in metrics.get("baselines", ())}
    linear = {"test accuracy of word pairs": accuracies.get(WORD_PAIRS)}
    return [
        Trial(
            one["seed"],
            {name: one[part][key] for name, (part, key) in MEASURES.items()} | linear,
            one["interrupted"],
            metrics["data"].get("fingerprint"),
        )
        for one in metrics["runs"]
    ]
