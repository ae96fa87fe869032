"""Sentiment of film reviews: the settings, the model, and its training."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from experiments import data_parallel, earlier, recurrent, training
from experiments.reproducible import deterministic_option, fingerprint
from experiments.run_folder import name_option, output_option, overwrite_option
from experiments.runner import option

if TYPE_CHECKING:
    import keras
    import numpy as np

    from lstm_keras.evaluation.classification import ClassificationResult

NAMED_DATA = ("auto", "keras", "embedded")

# What `--recipe` changes among the defaults. `tuned` was chosen on validation data
# alone; README tells how.
RECIPES = {
    "plain": {},
    "embedded": {"epochs": 6, "learning_rate": 0.005},
    "tuned": {
        "mask_padding": True,
        "epochs": 8,
        "learning_rate": 0.002,
        "schedule": "cosine",
        "word_dropout": 0.2,
        "embedding_dropout": 0.3,
        "dropout": 0.3,
    },
}


@dataclass(frozen=True)
class Settings:
    """The options of a training; `--help` explains them."""

    data: str = option(
        "auto",
        "auto: the real IMDB if it lies under $LSTM_KERAS_DATA, is cached or can be "
        "downloaded, else the embedded reviews; keras: keras.datasets.imdb; embedded: "
        "short made-up reviews; or a PATH: aclImdb archive, its folder, or a CSV file "
        "of review,sentiment",
        group="data",
    )
    limit: int | None = option(
        None,
        "use only so many training and so many test reviews",
        group="data",
        least=10,
    )
    num_words: int = option(
        5000, "ids of the embedding: the most frequent words", group="data", least=5
    )
    maxlen: int = option(
        200,
        "words read of each review, counted from its end",
        group="data",
        least=1,
        most=1_000_000,
    )
    validation_split: float = option(
        0.2,
        "share of the training reviews to validate on",
        group="data",
        above=0,
        below=1,
    )
    layer: str = recurrent.layer_option()
    embedding: int = option(
        32, "size of a word's vector", group="model", least=1, most=recurrent.MOST_UNITS
    )
    units: int = option(
        64,
        "size of the recurrent state",
        group="model",
        least=1,
        most=recurrent.MOST_UNITS,
    )
    layers: int = option(
        1, "recurrent layers on each other", group="model", least=1, most=100
    )
    bidirectional: bool = option(False, "read in both directions", group="model")
    mask_padding: bool = option(
        False, "skip the padding instead of reading it as a word", group="model"
    )
    recipe: str = option(
        "plain",
        "defaults for the options below and --mask-padding; tuned: our best for IMDB; "
        "embedded: for the embedded reviews",
        group="training",
        choices=tuple(RECIPES),
    )
    epochs: int = option(3, "most passes over the data", group="training", least=1)
    batch_size: int = option(64, "reviews per step", group="training", least=1)
    learning_rate: float = option(0.001, "of Adam", group="training", above=0, most=10)
    schedule: str = option(
        "constant",
        "of the learning rate over all epochs",
        group="training",
        choices=("constant", "cosine"),
    )
    word_dropout: float = option(
        0.0,
        "share of the words to blank out",
        group="training",
        least=0,
        below=1,
    )
    embedding_dropout: float = option(
        0.0,
        "share of the word vectors' entries to drop",
        group="training",
        least=0,
        below=1,
    )
    recurrent_dropout: float = option(
        0.0,
        "share of the recurrent state to drop at every step",
        group="training",
        least=0,
        below=1,
    )
    dropout: float = option(
        0.0,
        "share of the last state to drop",
        group="training",
        least=0,
        below=1,
    )
    patience: int | None = option(
        None,
        "stop early after so many epochs without a lower validation loss (without "
        "it: never); the weights of the best epoch are kept in any case",
        group="training",
        least=1,
    )
    seed: int = option(
        0,
        "of split, weights, order and dropout",
        group="training",
        least=0,
        most=2**32 - 1000,
    )
    seeds: int = option(
        1,
        "train so many times, with the seeds from --seed on, and give mean and "
        "standard deviation",
        group="training",
        least=1,
        most=1000,
    )
    output: str = output_option()
    name: str | None = name_option("layer and time")
    overwrite: bool = overwrite_option()
    baselines: bool = option(True, "train the TF-IDF baselines, too", group="output")
    resume: str | None = earlier.resume_option()
    repeat: str | None = earlier.repeat_option()
    checkpoint_seconds: float = earlier.checkpoint_option()
    engine: str = recurrent.engine_option()
    deterministic: bool = deterministic_option()
    jit: bool = recurrent.jit_option()
    data_parallel: bool = data_parallel.data_parallel_option()
    dtype: str = option(
        "float32",
        "the layers' dtype policy",
        group="speed",
        choices=("float32", "mixed_bfloat16", "mixed_float16", "float64"),
    )


@dataclass(frozen=True)
class Examples:
    """What the model reads: padded ids (n, maxlen) int32 and labels (n,) 0/1."""

    ids: "np.ndarray"
    labels: "np.ndarray"


@dataclass(frozen=True)
class Trained:
    """One trained model and what it achieved."""

    seed: int
    model: "keras.Model"
    fit: training.Fit
    validation: "ClassificationResult"
    test: "ClassificationResult"
    test_probabilities: "np.ndarray"

    def to_dict(self) -> dict:
        """Return the numbers as plain Python values."""
        return {
            "seed": self.seed,
            "epochs": len(self.fit.history["loss"]),
            "best_epoch": self.fit.best_epoch,
            "interrupted": self.fit.interrupted,
            "training_seconds": round(self.fit.seconds, 1),
            "validation": self.validation.to_dict(),
            "test": self.test.to_dict(),
        }


def check_data(data: str) -> None:
    """Refuse a `--data` that is nowhere, before anything is loaded.

    Raises:
        FileNotFoundError: It is neither a name nor an existing path.
    """
    if data not in NAMED_DATA and not Path(data).exists():
        raise FileNotFoundError(
            f"expected --data as one of {NAMED_DATA} or an existing path; "
            f"received {data!r}"
        )


def describe(reviews) -> None:
    """Say which data this is, before anything is computed from it."""
    print(
        f"Data: {reviews.name}: {len(reviews.train):,} reviews to train, "
        f"{len(reviews.test):,} to test, {len(reviews.vocabulary.words):,} words"
    )
    if reviews.note:
        print(reviews.note)


def data_facts(reviews) -> dict:
    """Return what `metrics.json` says about the data."""
    return {
        "name": reviews.name,
        "source": reviews.source,
        "real": reviews.real,
        "note": reviews.note,
        "tokenizer": reviews.vocabulary.tokenizer,
        "words": len(reviews.vocabulary.words),
        "fingerprint": fingerprint(
            array
            for split in (reviews.train, reviews.test)
            for array in (*split.ids, split.labels)
        ),
    }


def split_sizes(reviews, validation: int) -> dict:
    """Return how many reviews are for what, if so many of the training's validate."""
    return {
        "train": len(reviews.train) - validation,
        "validation": validation,
        "test": len(reviews.test),
    }


def build_model(settings: Settings, input_dim: int, steps: int):
    """Return the compiled model: ids (batch, maxlen) int32 to probability (batch, 1).

    Args:
        settings: Of the model and the training.
        input_dim: Number of ids.
        steps: Training steps in all, for the learning rate's decay.
    """
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            keras.Input((settings.maxlen,), dtype="int32"),
            layers.Embedding(
                input_dim, settings.embedding, mask_zero=settings.mask_padding
            ),
        ]
    )
    if settings.word_dropout:
        # One draw for a whole word vector.
        shape = (None, settings.maxlen, 1)
        model.add(layers.Dropout(settings.word_dropout, noise_shape=shape))
    if settings.embedding_dropout:
        model.add(layers.Dropout(settings.embedding_dropout))
    make = recurrent.recurrent_layer(settings)
    for depth in range(settings.layers):
        layer = make(
            settings.units,
            return_sequences=depth < settings.layers - 1,
            recurrent_dropout=settings.recurrent_dropout,
        )
        model.add(layers.Bidirectional(layer) if settings.bidirectional else layer)
    if settings.dropout:
        model.add(layers.Dropout(settings.dropout))
    # The probability in full precision, whatever the policy of the other layers.
    model.add(layers.Dense(1, activation="sigmoid", dtype="float32"))

    rate = settings.learning_rate
    if settings.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    model.compile(
        keras.optimizers.Adam(rate),
        "binary_crossentropy",
        weighted_metrics=["accuracy"],  # rows that fill a batch up count nothing
        jit_compile=settings.jit,
    )
    return model


def examples(split, settings: Settings, input_dim: int) -> Examples:
    """Return a split as the model reads it."""
    from lstm_keras.preprocessing.vocabulary import limit_ids, pad

    ids = limit_ids(pad(split.ids, settings.maxlen), input_dim)
    return Examples(ids, split.labels)


def train_one(
    settings: Settings,
    train: Examples,
    test: Examples,
    input_dim: int,
    seed: int,
    kept: training.Kept | None = None,
) -> Trained:
    """Train, keep the weights of the best epoch, and only then look at the test set."""
    import keras
    import numpy as np

    from experiments.even_batches import EvenBatches
    from lstm_keras.evaluation.classification import evaluate_classification
    from lstm_keras.preprocessing.batches import ExampleBatches

    keras.utils.set_random_seed(seed)
    order = np.random.default_rng(seed).permutation(len(train.ids))
    count = round(settings.validation_split * len(order))
    held_out, used = order[:count], order[count:]
    if not len(held_out) or not len(used):
        raise ValueError(
            "expected a --validation-split that leaves reviews on both sides; received "
            f"{settings.validation_split} of {len(order)} reviews"
        )
    size = settings.batch_size
    batches = ExampleBatches(train.ids[used], train.labels[used], size, seed)
    validation = ExampleBatches(train.ids[held_out], train.labels[held_out], size)
    steps = settings.epochs * len(batches)
    with data_parallel.distribute(settings) as devices:
        if devices > 1:
            batches = EvenBatches(batches, devices)
            validation = EvenBatches(validation, devices, len(held_out))
        model = build_model(settings, input_dim, steps)
        print(f"\nTraining {recurrent.layer_name(settings)} with seed {seed}:")
        if seed == settings.seed:
            model.summary(print_fn=print)
        fitted = training.fit(
            model,
            batches,
            validation,
            epochs=settings.epochs,
            patience=settings.patience,
            kept=kept,
        )
    if devices > 1:  # what follows asks for batches that may not be even
        weights = model.get_weights()
        model = build_model(settings, input_dim, steps)
        model.set_weights(weights)
    held_out_probabilities = model.predict(train.ids[held_out], verbose=0)
    test_probabilities = model.predict(test.ids, verbose=0)[:, 0]
    name = f"{recurrent.layer_name(settings)}, seed {seed}"
    return Trained(
        seed=seed,
        model=model,
        fit=fitted,
        validation=evaluate_classification(
            train.labels[held_out], held_out_probabilities, name=name
        ),
        test=evaluate_classification(test.labels, test_probabilities, name=name),
        test_probabilities=test_probabilities,
    )
