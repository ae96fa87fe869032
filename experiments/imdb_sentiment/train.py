"""The sentiment model and its training, also for `compare_lstm`."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import keras
import numpy as np
from keras import layers, ops

from experiments.common import data_parallel
from experiments.common.environment import fingerprint
from experiments.common.fit import Checkpoint, Fit, fit
from experiments.common.layers import layer_name
from experiments.common.result import metrics, varying
from experiments.common.schedule import learning_rate
from experiments.imdb_sentiment.model import build_model
from experiments.imdb_sentiment.objective import MixedObjective
from experiments.imdb_sentiment.settings import Settings
from lstm_keras.datasets import Reviews, Split
from lstm_keras.evaluation import ClassificationResult, evaluate_classification
from lstm_keras.preprocessing import limit_ids, pad
from lstm_keras.preprocessing.batches import (
    EpochBatches,
    ExampleBatches,
    SemiSupervisedBatches,
    TextBatches,
)
from lstm_keras.runs import NextWordRun


@dataclass(frozen=True)
class Examples:
    """Texts of ids, n arrays `(time,)` int32, and labels `(n,)` 0 or 1.

    To train there may be texts without a label, too.
    """

    ids: Sequence[np.ndarray]
    labels: np.ndarray
    unlabelled: Sequence[np.ndarray] = ()

    def unlabelled_but(self, texts: Iterable[np.ndarray]) -> list[np.ndarray]:
        """Return the texts without a label that are none of these texts."""
        left_out = {ids.tobytes() for ids in texts}
        return [ids for ids in self.unlabelled if ids.tobytes() not in left_out]


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
            epochs=len(self.fit.rows()),
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


def data_facts(reviews: Reviews, unlabelled: Sequence[np.ndarray] = ()) -> dict:
    """Return the facts about the data in `metrics.json`."""
    more = {
        "unlabelled": len(unlabelled),
        "unlabelled fingerprint": fingerprint(unlabelled),
    }
    return (more if len(unlabelled) else {}) | {
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


def examples(
    split: Split, input_dim: int, unlabelled: Sequence[np.ndarray] = ()
) -> Examples:
    """Return a split, and texts without a label, with the ids that the model knows."""
    known, more = (
        [limit_ids(ids, input_dim) for ids in texts]
        for texts in (split.ids, unlabelled)
    )
    return Examples(known, split.labels, more)


def batches_of(
    settings: Settings, texts: Examples, rows: np.ndarray, seed: int | None = None
) -> EpochBatches:
    """Return batches of some of the texts, shuffled if there is a seed.

    A masked model reads batches of similar length, which saves half of the padding.
    """
    ids, labels = [texts.ids[row] for row in rows], texts.labels[rows]
    if settings.mask_padding:
        return TextBatches(ids, labels, settings.batch_size, settings.maxlen, seed)
    ids = pad(ids, settings.maxlen)
    return ExampleBatches(ids, labels, settings.batch_size, seed)


def probabilities(model: keras.Model, batches: EpochBatches) -> np.ndarray:
    """Return the probability of "positive" of each text, (texts,) in their order."""
    found = model.predict(batches, verbose=0)[:, 0]
    ordered = np.empty_like(found)
    ordered[np.concatenate(batches.order(0))] = found
    return ordered


class LayerwiseAdam(keras.optimizers.Adam):
    """Adam with a learning rate of its own for some layers.

    Args:
        learning_rate: The learning rate, or its schedule.
        factors: By a variable's path the multiple of the learning rate; 1 for others.
            "Discriminative fine-tuning" of Howard & Ruder, "Universal Language Model
            Fine-tuning for Text Classification", ACL 2018, section 3.2.
    """

    def __init__(self, learning_rate, factors: Mapping[str, float]):
        super().__init__(learning_rate)
        self._factors = factors

    def apply(self, grads, trainable_variables=None):
        """Update each variable, by a part of Adam's step where it has a factor."""
        slower = [
            (variable, ops.copy(ops.convert_to_tensor(variable)))
            for variable in trainable_variables or ()
            if variable.path in self._factors
        ]
        super().apply(grads, trainable_variables)
        for variable, before in slower:
            factor = self._factors[variable.path]
            variable.assign(before + factor * (variable - before))


def depth_factors(model: keras.Model, factor: float) -> dict[str, float]:
    """Return the factor of each variable of the pretrained layers.

    It is `factor` for the last recurrent layer of each tower, and `factor` times that
    of the next layer for the others.
    """
    depths = {
        layer: int(layer.name.rpartition("_")[2])
        for layer in model.layers
        if isinstance(layer, layers.Embedding | layers.RNN)
    }
    top = max(depths.values()) + 1
    return {
        variable.path: factor ** (top - depth)
        for layer, depth in depths.items()
        for variable in layer.variables
    }


def log_loss(labels, found):
    """Return the log loss of each text: of a mixed objective what validation has."""
    return keras.losses.binary_crossentropy(ops.reshape(labels, (-1, 1)), found)


def compiled_model(
    settings: Settings,
    input_dim: int,
    steps: int,
    pretrained: Sequence[NextWordRun] = (),
) -> keras.Model:
    """Return the model, compiled for `steps` training steps."""
    model = build_model(settings, input_dim, pretrained)
    if settings.mixed:
        model = MixedObjective(model, settings)
    rate = learning_rate(settings, steps)
    factors = depth_factors(model, settings.depth_factor) if pretrained else {}
    model.compile(
        LayerwiseAdam(rate, factors) if factors else keras.optimizers.Adam(rate),
        keras.losses.BinaryCrossentropy(
            # The mean over the texts that have a label.
            reduction="mean_with_sample_weight"
            if settings.unlabelled
            else "sum_over_batch_size"
        ),
        # Padding rows, and reviews without a label, do not count.
        weighted_metrics=["accuracy", *[log_loss] * settings.mixed],
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
    pretrained: Sequence[NextWordRun] = (),
) -> Trained:
    """Train, restore the weights of the best epoch, and evaluate.

    Raises:
        ValueError: The validation split leaves one side empty.
        DivergedError: The loss became NaN or infinite.
    """
    keras.utils.set_random_seed(seed)
    held_out, used = split_rows(len(train.ids), settings.validation_split, seed)
    batches = batches_of(settings, train, used, seed)
    if settings.unlabelled:
        others = [*(train.ids[row] for row in held_out), *test.ids]
        texts = train.unlabelled_but(others)
        batches = SemiSupervisedBatches(batches, texts, settings.unlabelled, seed)
    validation = batches_of(settings, train, held_out)
    epochs = max(settings.epochs, math.ceil(settings.least_steps / len(batches)))
    settings = replace(settings, epochs=epochs)
    steps = epochs * len(batches)
    make = partial(compiled_model, settings, input_dim, steps, pretrained)
    model, fitted = _fit(settings, make, batches, validation, seed, checkpoint)
    name = f"{layer_name(settings.layer)}, seed {seed}"
    return evaluated(settings, name, model, fitted, train, test, seed)


def split_rows(count: int, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to validate on, and those to train on.

    Raises:
        ValueError: One of them is empty.
    """
    order = np.random.default_rng(seed).permutation(count)
    held_out, used = np.split(order, [round(fraction * count)])
    if not len(held_out) or not len(used):
        raise ValueError(
            "expected a --validation-split that leaves reviews on both sides; received "
            f"{fraction} of {count} reviews"
        )
    return held_out, used


def evaluated(
    settings: Settings,
    name: str,
    model: keras.Model,
    fitted: Fit,
    train: Examples,
    test: Examples,
    seed: int,
) -> Trained:
    """Evaluate a model on the validation reviews of a seed and on the test reviews."""
    held_out, _ = split_rows(len(train.ids), settings.validation_split, seed)
    tested = probabilities(model, batches_of(settings, test, np.arange(len(test.ids))))
    validated = probabilities(model, batches_of(settings, train, held_out))
    return Trained(
        seed=seed,
        model=model,
        fit=fitted,
        validation=evaluate_classification(
            train.labels[held_out], validated, name=name
        ),
        test=evaluate_classification(test.labels, tested, name=name),
        test_probabilities=tested,
    )


def _fit(settings, make, batches, validation, seed, checkpoint) -> tuple:
    """Train the model that `make` returns, and select the epoch: model and `Fit`."""
    with data_parallel.distribute(settings) as devices:
        if devices > 1:
            rows = sum(map(len, validation.order(0)))
            batches = data_parallel.EvenBatches(batches, devices)
            validation = data_parallel.EvenBatches(validation, devices, rows)
        model = make()
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
    if settings.mixed:
        model = keras.Model(model.input, model.output)
    if devices > 1:  # evaluation has batches that the devices cannot share evenly
        weights = model.get_weights()
        model = make()
        model.set_weights(weights)
    return model, fitted
