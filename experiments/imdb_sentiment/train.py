"""The sentiment model and its training, also for `compare_lstm`."""

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from experiments.common import data_parallel
from experiments.common.environment import fingerprint
from experiments.common.fit import Checkpoint, Fit, fit
from experiments.common.layers import layer_name, recurrent_layer
from experiments.common.result import metrics, varying
from experiments.imdb_sentiment.settings import Settings
from lstm_keras.datasets import Reviews, Split
from lstm_keras.evaluation import ClassificationResult, evaluate_classification
from lstm_keras.preprocessing import limit_ids, pad
from lstm_keras.preprocessing.batches import ExampleBatches


@dataclass(frozen=True)
class Examples:
    """Padded ids `(n, maxlen)` int32 and labels `(n,)` 0 or 1."""

    ids: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Trained:
    """A trained model and its results."""

    seed: int
    model: keras.Model
    fit: Fit
    validation: ClassificationResult
    test: ClassificationResult
    test_probabilities: np.ndarray

    def metrics(self) -> "TrainedMetrics":
        """Return the numbers for `metrics.json`."""
        return TrainedMetrics(
            seed=self.seed,
            epochs=len(self.fit.history["loss"]),
            best_epoch=self.fit.best_epoch,
            interrupted=self.fit.interrupted,
            training_seconds=round(self.fit.seconds, 1),
            validation=self.validation,
            test=self.test,
        )


@metrics
class TrainedMetrics:
    """The results of a training run."""

    seed: int
    """Seed of split, weights, order and dropout."""
    epochs: int
    """Number of epochs."""
    best_epoch: int
    """The epoch whose weights the model has, counted from 1."""
    interrupted: bool
    """Whether this training run was interrupted."""
    training_seconds: float = varying()
    """Duration of the training, validation included."""
    validation: ClassificationResult
    """Results on the validation reviews."""
    test: ClassificationResult
    """Results on the test reviews."""


def describe(reviews: Reviews) -> None:
    """Print which data this is."""
    print(
        f"Data: {reviews.name}: {len(reviews.train):,} reviews to train, "
        f"{len(reviews.test):,} to test, {len(reviews.vocabulary.words):,} words"
    )
    if reviews.note:
        print(reviews.note)


def data_facts(reviews: Reviews) -> dict:
    """Return the facts about the data in `metrics.json`."""
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


def split_sizes(reviews: Reviews, validation: int) -> dict:
    """Return the sizes of the splits, given that of the validation split."""
    return {
        "train": len(reviews.train) - validation,
        "validation": validation,
        "test": len(reviews.test),
    }


def examples(split: Split, settings: Settings, input_dim: int) -> Examples:
    """Return a split as the model's input."""
    ids = limit_ids(pad(split.ids, settings.maxlen), input_dim)
    return Examples(ids, split.labels)


def build_model(settings: Settings, input_dim: int, steps: int) -> keras.Model:
    """Return the compiled model: ids (batch, maxlen) int32 to probability (batch, 1).

    Args:
        settings: The settings of model and training.
        input_dim: Number of ids.
        steps: Number of training steps, for the schedule of the learning rate.
    """
    model = keras.Sequential(
        [
            keras.Input((settings.maxlen,), dtype="int32"),
            layers.Embedding(
                input_dim, settings.embedding, mask_zero=settings.mask_padding
            ),
        ]
    )
    if settings.word_dropout:
        # One draw for each word vector.
        shape = (None, settings.maxlen, 1)
        model.add(layers.Dropout(settings.word_dropout, noise_shape=shape))
    if settings.embedding_dropout:
        model.add(layers.Dropout(settings.embedding_dropout))
    make = recurrent_layer(settings.layer, settings.engine, settings.jit)
    for depth in range(settings.layers):
        layer = make(
            settings.units,
            return_sequences=depth < settings.layers - 1,
            recurrent_dropout=settings.recurrent_dropout,
        )
        model.add(layers.Bidirectional(layer) if settings.bidirectional else layer)
    if settings.dropout:
        model.add(layers.Dropout(settings.dropout))
    # The probability has full precision under every dtype policy.
    model.add(layers.Dense(1, activation="sigmoid", dtype="float32"))
    rate = settings.learning_rate
    if settings.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    model.compile(
        keras.optimizers.Adam(rate),
        "binary_crossentropy",
        weighted_metrics=["accuracy"],  # padding rows do not count
        jit_compile=settings.jit,
    )
    return model


def train_one(
    settings: Settings,
    train: Examples,
    test: Examples,
    input_dim: int,
    seed: int,
    checkpoint: Checkpoint | None = None,
) -> Trained:
    """Train, restore the weights of the best epoch, and evaluate.

    Raises:
        ValueError: The validation split leaves one side empty.
        DivergedError: The loss became NaN or infinite.
    """
    keras.utils.set_random_seed(seed)
    order = np.random.default_rng(seed).permutation(len(train.ids))
    count = round(settings.validation_split * len(order))
    held_out, used = order[:count], order[count:]
    if not len(held_out) or not len(used):
        raise ValueError(
            "expected a --validation-split that leaves reviews on both sides; received "
            f"{settings.validation_split} of {len(order)} reviews"
        )
    model, fitted = _fit(settings, train, used, held_out, input_dim, seed, checkpoint)
    held_out_probabilities = model.predict(train.ids[held_out], verbose=0)
    test_probabilities = model.predict(test.ids, verbose=0)[:, 0]
    name = f"{layer_name(settings.layer)}, seed {seed}"
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


def _fit(
    settings, train, used, held_out, input_dim, seed, checkpoint
) -> tuple[keras.Model, Fit]:
    """Train on `used`, and select the epoch on `held_out`."""
    size = settings.batch_size
    batches = ExampleBatches(train.ids[used], train.labels[used], size, seed)
    validation = ExampleBatches(train.ids[held_out], train.labels[held_out], size)
    steps = settings.epochs * len(batches)
    with data_parallel.distribute(settings) as devices:
        if devices > 1:
            batches = data_parallel.EvenBatches(batches, devices)
            validation = data_parallel.EvenBatches(validation, devices, len(held_out))
        model = build_model(settings, input_dim, steps)
        print(f"\nTraining {layer_name(settings.layer)} with seed {seed}:")
        if seed == settings.seed:
            model.summary(print_fn=print)
        fitted = fit(
            model,
            batches,
            validation,
            epochs=settings.epochs,
            patience=settings.patience,
            to=checkpoint,
        )
    if devices > 1:  # evaluation has batches that the devices cannot share evenly
        weights = model.get_weights()
        model = build_model(settings, input_dim, steps)
        model.set_weights(weights)
    return model, fitted
