"""Train both layers from the same seeds, and compare the results in pairs."""

from collections.abc import Sequence

import numpy as np

from experiments.common.layers import layer_name
from experiments.common.result import metrics
from experiments.common.terminal import stage
from experiments.compare_lstm.settings import Settings
from experiments.imdb_sentiment import settings as imdb_sentiment
from experiments.imdb_sentiment.train import (
    Trained,
    TrainedMetrics,
    data_facts,
    describe,
    examples,
    split_sizes,
    train_one,
)
from lstm_keras.datasets import Reviews, load_reviews
from lstm_keras.evaluation import intervals

# The compared results of a `Trained`.
OUTCOMES = {
    "validation accuracy": lambda one: one.validation.accuracy,
    "validation loss": lambda one: one.validation.log_loss,
    "test accuracy": lambda one: one.test.accuracy,
    "test loss": lambda one: one.test.log_loss,
}

# The settings that both models share.
SHARED = "data limit maxlen units epochs batch_size learning_rate seed seeds".split()


@metrics
class LayerTrained(TrainedMetrics):
    """The results of a training run of one layer."""

    layer: str
    """Its name in Python."""


@metrics
class Difference:
    """Our layer's measure minus that of Keras's, seed by seed."""

    seeds: int
    """Number of pairs."""
    ours: float
    """Mean of our layer's measure."""
    keras: float
    """Mean of the measure of Keras's layer."""
    values: list[float]
    """The difference for each seed."""
    mean: float
    """Mean of the differences."""
    standard_deviation: float | None
    """Their sample standard deviation; null of a single seed."""
    interval: tuple[float, float] | None
    """95% interval of their mean by Student's t; null of a single seed."""
    bootstrap_interval: tuple[float, float] | None
    """The same by the percentile bootstrap over the seeds."""


@metrics
class Training:
    """Training runs of both layers from the same seeds."""

    data: dict[str, str | bool | int]
    """The reviews."""
    runs: list[LayerTrained]
    """The training run of each seed and layer."""
    histories: dict[str, list[dict[str, list[float]]]]
    """The values after each epoch, by layer and seed."""
    differences: dict[str, Difference]
    """Ours minus Keras's, by measure; empty if no seed was finished. The losses are log
    losses in nats."""
    ending: str
    """What was interrupted, in a sentence; empty if nothing."""


def model_settings(settings: Settings) -> list[imdb_sentiment.Settings]:
    """Return the settings of the sentiment model with Keras's layer and with ours."""
    shared = {name: getattr(settings, name) for name in SHARED}
    return [
        imdb_sentiment.Settings(layer="builtin", **shared),
        imdb_sentiment.Settings(layer="custom", engine=settings.engine, **shared),
    ]


def compare(settings: Settings) -> Training:
    """Train both layers from every seed, and compare their results.

    Ctrl-C ends the current training run; its seed and later ones are left out.
    """
    both = model_settings(settings)
    with stage(f"Loading the reviews ({settings.data})"):
        reviews = load_reviews(settings.data, limit=settings.limit)
    describe(reviews)
    pairs, ending = _train(both, reviews)
    names = [layer_name(one.layer) for one in both]
    validation = pairs[0][0].validation.size if pairs else 0
    return Training(
        data=data_facts(reviews) | split_sizes(reviews, validation),
        runs=[
            LayerTrained(layer=name, **vars(trained.metrics()))
            for pair in pairs
            for name, trained in zip(names, pair, strict=True)
        ],
        histories={
            name: [pair[index].fit.history for pair in pairs]
            for index, name in enumerate(names)
        },
        differences={
            outcome: paired_difference(
                [read(ours) for _, ours in pairs], [read(keras) for keras, _ in pairs]
            )
            for outcome, read in OUTCOMES.items()
            if pairs
        },
        ending=ending,
    )


def _train(
    both: Sequence[imdb_sentiment.Settings], reviews: Reviews
) -> tuple[list[list[Trained]], str]:
    """Return a pair of models for each seed, and a sentence on an interruption."""
    first = both[0]
    input_dim = len(reviews.vocabulary.limit(first.num_words))
    train = examples(reviews.train, input_dim)
    test = examples(reviews.test, input_dim)
    pairs = []
    for seed in range(first.seed, first.seed + first.seeds):
        pair = []
        for one in both:
            pair.append(train_one(one, train, test, input_dim, seed))
            if pair[-1].fit.interrupted:
                return pairs, f"Interrupted: seed {seed} and later ones are left out."
        pairs.append(pair)
    return pairs, ""


def paired_difference(ours: Sequence[float], keras: Sequence[float]) -> Difference:
    """Return our measure minus that of Keras's, seed by seed."""
    return Difference(
        ours=float(np.mean(ours)),
        keras=float(np.mean(keras)),
        **intervals.paired_difference(ours, keras),
    )


def history_rows(training: Training, first_seed: int) -> list[dict]:
    """Return a row for each layer, seed and epoch."""
    return [
        {"layer": layer, "seed": seed, "epoch": epoch}
        | dict(zip(history, values, strict=True))
        for layer, histories in training.histories.items()
        for seed, history in enumerate(histories, start=first_seed)
        for epoch, values in enumerate(zip(*history.values(), strict=True), start=1)
    ]
