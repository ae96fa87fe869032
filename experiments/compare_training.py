"""Do our LSTM and Keras's learn the same? Both from the same seeds, paired."""

from collections.abc import Sequence

from experiments import recurrent, runner, sentiment
from lstm_keras.evaluation import intervals

# What is compared after the training, each with how a result is read.
OUTCOMES = {
    "validation accuracy": lambda one: one.validation.accuracy,
    "validation loss": lambda one: one.validation.log_loss,
    "test accuracy": lambda one: one.test.accuracy,
    "test loss": lambda one: one.test.log_loss,
}


def model_settings(settings) -> list[sentiment.Settings]:
    """Return the settings of the sentiment model with Keras's layer and with ours.

    Args:
        settings: With `data`, `limit`, `maxlen`, `units`, `epochs`, `batch_size`,
            `learning_rate`, `seed`, `seeds` and `engine`.
    """
    shared = {
        name: getattr(settings, name)
        for name in (
            *("data", "limit", "maxlen", "units", "epochs", "batch_size"),
            *("learning_rate", "seed", "seeds"),
        )
    }
    return [
        sentiment.Settings(layer="builtin", **shared),
        sentiment.Settings(layer="custom", engine=settings.engine, **shared),
    ]


def parity(settings) -> dict:
    """Train both layers from every seed, and compare what they achieved.

    Ctrl-C ends the training that is running; its seed and those after it are left out.

    Args:
        settings: See `model_settings`.

    Returns:
        `data`, facts; `runs`, a dictionary for each seed and layer; `histories`, by
        layer a history for each seed; `differences`, by outcome what
        `paired_difference` returns, none if no seed was finished; and `ending`, a
        sentence on how it ended early, or empty.
    """
    from lstm_keras.datasets.reviews import load_reviews

    both = model_settings(settings)
    with runner.stage(f"Loading the reviews ({settings.data})"):
        reviews = load_reviews(settings.data, limit=settings.limit)
    sentiment.describe(reviews)
    pairs, ending = _train(both, reviews)
    names = [recurrent.layer_name(one) for one in both]
    validation = pairs[0][0].validation.size if pairs else 0
    return {
        "data": sentiment.data_facts(reviews)
        | sentiment.split_sizes(reviews, validation),
        "runs": [
            {"layer": name, **trained.to_dict()}
            for pair in pairs
            for name, trained in zip(names, pair, strict=True)
        ],
        "histories": {
            name: [pair[index].fit.history for pair in pairs]
            for index, name in enumerate(names)
        },
        "differences": {
            outcome: paired_difference(
                [read(ours) for _, ours in pairs], [read(keras) for keras, _ in pairs]
            )
            for outcome, read in OUTCOMES.items()
            if pairs
        },
        "ending": ending,
    }


def _train(both: Sequence[sentiment.Settings], reviews) -> tuple[list, str]:
    """Return a pair of `sentiment.Trained` for each seed, and how it ended early."""
    first = both[0]
    input_dim = len(reviews.vocabulary.limit(first.num_words))
    train = sentiment.examples(reviews.train, first, input_dim)
    test = sentiment.examples(reviews.test, first, input_dim)
    pairs = []
    for seed in range(first.seed, first.seed + first.seeds):
        pair = []
        for one in both:
            pair.append(sentiment.train_one(one, train, test, input_dim, seed))
            if pair[-1].fit.interrupted:
                return pairs, f"Interrupted: seed {seed} and any after it are left out."
        pairs.append(pair)
    return pairs, ""


def paired_difference(ours: Sequence[float], keras: Sequence[float]) -> dict:
    """Return how much greater ours is than Keras's, seed by seed.

    Returns:
        `ours` and `keras`, their means, and what `intervals.paired_difference` finds.
    """
    import numpy as np

    return {
        "ours": float(np.mean(ours)),
        "keras": float(np.mean(keras)),
        **intervals.paired_difference(ours, keras),
    }


def history_rows(histories: dict, first_seed: int) -> list[dict]:
    """Return a row for each layer, seed and epoch.

    Args:
        histories: As `parity` returns them.
        first_seed: The seed of each layer's first history.
    """
    return [
        {"layer": layer, "seed": seed, "epoch": epoch}
        | dict(zip(history, values, strict=True))
        for layer, of_seeds in histories.items()
        for seed, history in enumerate(of_seeds, start=first_seed)
        for epoch, values in enumerate(zip(*history.values(), strict=True), start=1)
    ]
