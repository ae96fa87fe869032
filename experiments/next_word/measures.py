"""The measures of next-word runs, for `summarise`."""

from pathlib import Path

from experiments.common.trial import Trial

SEED_CHOOSES_DATA = True  # the held-out sentences

MEASURES = {
    "training perplexity": ("train", "perplexity"),
    "training top-1 accuracy": ("train", "accuracy"),
    "held-out perplexity": ("held_out", "perplexity"),
    "held-out top-1 accuracy": ("held_out", "accuracy"),
    "held-out top-5 accuracy": ("held_out", "top5_accuracy"),
}


def trials(folder: Path, config: dict, metrics: dict) -> list[Trial]:
    """Return the results of the run's only seed."""
    model, *_ = metrics["results"]  # then the n-grams
    values = {
        name: None if model[part] is None else model[part][key]
        for name, (part, key) in MEASURES.items()
    }
    fingerprint = metrics["data"].get("fingerprint")
    return [Trial(config["seed"], values, metrics["interrupted"], fingerprint)]
