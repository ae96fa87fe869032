"""The three tasks: data, model, and the error, of which less is better."""

import functools
import math
import os
from collections.abc import Sequence

import keras
import numpy as np

from experiments.ablation.settings import Settings
from experiments.common.terminal import stage
from experiments.memory import settings as memory
from experiments.memory.grid import Job as MemoryJob
from experiments.memory.tasks import TASKS as MEMORY_TASKS
from experiments.memory.train import (
    TEST,
    VALIDATION,
    FixedBatch,
    Sequences,
    generator,
    sample,
)
from lstm_keras.datasets import Split, load_reviews, load_text
from lstm_keras.language_model import (
    LanguageModelTrainer,
    ResetStates,
    build_language_model,
    start_at_unigrams,
)
from lstm_keras.preprocessing import limit_ids, pad
from lstm_keras.preprocessing.batches import (
    EpochBatches,
    ExampleBatches,
    StreamWindows,
)

NUM_WORDS, EMBEDDING = 5000, 32  # of the sentiment model, as in imdb_sentiment
TEXT_EMBEDDING, WINDOW = 48, 35  # of the next-word model
VALIDATION_SHARE = 0.2
HELD_OUT = 0.2  # of a text, half for validation, half for the test
EVALUATION_BATCH = 500

# What a training run needs besides its steps, as the number of steps of a cell that
# cost the same.
OVERHEAD = 5000

# The number of words whose probabilities cost as much as a step of a cell.
WORDS_OF_A_STEP = 250


class Task:
    """A task; subclasses load its data.

    Attributes:
        title: Its name in the report.
        measure: What the error is.
        description: What it is, for the report.
        features: Size of the cell's inputs.
        outputs: Size of the model's output.
        every_step: Whether there is an output at every step.
        epochs: Number of epochs of a training run.
        monitor: What selects the best epoch.
        cost: How long a training run takes relative to those of other tasks.
        facts: What `metrics.json` says of the data.
        arrays: The data, for the fingerprint.
    """

    title: str
    measure: str
    description: str
    features: int
    outputs: int
    every_step = False
    epochs: int
    monitor = "val_loss"
    cost: float
    facts: dict
    arrays: Sequence[np.ndarray]

    def build(self, layer: keras.Layer) -> keras.Model:
        """Return a new model around a recurrent layer."""
        raise NotImplementedError

    def compile(self, model: keras.Model, optimizer: keras.Optimizer) -> None:
        """Compile a model."""
        raise NotImplementedError

    def callbacks(self) -> list[keras.callbacks.Callback]:
        """Return the callbacks of its training."""
        return []

    def batches(self, seed: int) -> tuple[EpochBatches, EpochBatches]:
        """Return the batches of training and validation."""
        raise NotImplementedError

    def validation_error(self, model: keras.Model, batches: EpochBatches) -> float:
        """Return the error on validation data by which the search chooses."""
        found = model.evaluate(
            batches, callbacks=self.callbacks(), verbose=0, return_dict=True
        )
        return found["loss"]

    def test_error(self, model: keras.Model, seed: int) -> float:
        """Return the error on test data."""
        raise NotImplementedError


class Sentiment(Task):
    """Reviews, positive or negative."""

    title = "Sentiment"
    measure = "wrong answers (%)"
    features, outputs = EMBEDDING, 1

    def __init__(self, settings: Settings):
        with stage(f"Loading the reviews ({settings.data})"):
            reviews = load_reviews(settings.data, limit=settings.reviews)
        self._batch_size, self._maxlen = settings.batch_size, settings.maxlen
        self._input_dim = len(reviews.vocabulary.limit(NUM_WORDS))
        self._train, self._labels = self._padded(reviews.train)
        self._test = self._padded(reviews.test)
        self._held_out = round(VALIDATION_SHARE * len(self._labels))
        self.epochs = settings.review_epochs
        trained = len(self._labels) - self._held_out
        steps = math.ceil(trained / self._batch_size) * self.epochs
        self.cost = OVERHEAD + steps * self._maxlen
        self.facts = {
            "name": reviews.name,
            "note": reviews.note,
            "training": trained,
            "validation": self._held_out,
            "test": len(self._test[1]),
        }
        self.arrays = [self._train, self._labels, *self._test]
        self.description = (
            f"The last {self._maxlen} words of film reviews ({reviews.name}) are read, "
            f"and the last state answers. {trained:,} reviews to train, "
            f"{self._held_out:,} to validate, {len(self._test[1]):,} to test."
        )

    def _padded(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        ids = [limit_ids(ids, self._input_dim) for ids in split.ids]
        return pad(ids, self._maxlen), split.labels

    def build(self, layer: keras.Layer) -> keras.Model:
        """Return ids `(batch, time)` to probabilities `(batch, 1)`."""
        return keras.Sequential(
            [
                keras.Input((self._maxlen,), dtype="int32"),
                keras.layers.Embedding(self._input_dim, EMBEDDING),
                layer,
                keras.layers.Dense(1, activation="sigmoid"),
            ]
        )

    def compile(self, model: keras.Model, optimizer: keras.Optimizer) -> None:
        """Compile with the log loss."""
        model.compile(optimizer, "binary_crossentropy")

    def batches(self, seed: int) -> tuple[EpochBatches, EpochBatches]:
        """Return the batches of a split by the seed."""
        order = np.random.default_rng(seed).permutation(len(self._labels))
        held_out, rows = np.split(order, [self._held_out])
        return (
            ExampleBatches(
                self._train[rows], self._labels[rows], self._batch_size, seed
            ),
            ExampleBatches(
                self._train[held_out], self._labels[held_out], EVALUATION_BATCH
            ),
        )

    def test_error(self, model: keras.Model, seed: int) -> float:
        """Return how many of the answers are wrong, in percent."""
        ids, labels = self._test
        found = model.predict(ids, batch_size=EVALUATION_BATCH, verbose=0)[:, 0]
        return float(100 * np.mean((found > 0.5) != labels))


class NextWord(Task):
    """The next word of a text."""

    title = "Next word"
    measure = "cross-entropy (nats per word)"
    features, every_step = TEXT_EMBEDDING, True

    def __init__(self, settings: Settings):
        source = text_source(settings.text)
        with stage(f"Loading the text ({source})"):
            corpus = load_text(
                source,
                split="stream",
                held_out=HELD_OUT,
                max_vocab=settings.max_vocab,
                limit=settings.words,
                tokenizer="html" if source == "imdb" else None,
            )
        self._corpus, self._streams = corpus, settings.batch_size
        self.outputs = len(corpus.vocabulary)
        middle = len(corpus.held_out) // 2
        self._validation, self._test = np.split(corpus.held_out, [middle])
        self.epochs = settings.text_epochs
        steps = len(self._windows(corpus.train)) * WINDOW * self.epochs
        self.cost = OVERHEAD + steps * (1 + self.outputs / WORDS_OF_A_STEP)
        self.facts = {
            "name": corpus.name,
            "training": len(corpus.train),
            "validation": len(self._validation),
            "test": len(self._test),
            "vocabulary": self.outputs,
        }
        self.arrays = [corpus.train, corpus.held_out]
        self.description = (
            f"The next word of a text ({corpus.name}), of {self.outputs:,} words, with "
            f"the state carried along {self._streams} streams in windows of {WINDOW} "
            f"words. {len(corpus.train):,} words to train, {len(self._validation):,} "
            f"to validate, {len(self._test):,} to test."
        )

    def build(self, layer: keras.Layer) -> keras.Model:
        """Return a model that trains on windows."""
        parts = build_language_model(self.outputs, TEXT_EMBEDDING, [layer])
        start_at_unigrams(parts.head, self._corpus.counts)
        return LanguageModelTrainer(parts, streams=self._streams)

    def compile(self, model: keras.Model, optimizer: keras.Optimizer) -> None:
        """Compile; the model has its own loss."""
        model.compile(optimizer)

    def callbacks(self) -> list[keras.callbacks.Callback]:
        """Return what sets the states to zero where a text begins."""
        return [ResetStates()]

    def batches(self, seed: int) -> tuple[EpochBatches, EpochBatches]:
        """Return the windows, which are the same for every seed."""
        return self._windows(self._corpus.train), self._windows(self._validation)

    def test_error(self, model: keras.Model, seed: int) -> float:
        """Return the cross-entropy."""
        return self.validation_error(model, self._windows(self._test))

    def _windows(self, ids):
        return StreamWindows(ids, self._streams, WINDOW)


class Adding(Task):
    """The adding problem of `experiments.memory`."""

    title = "Adding problem"
    measure = "log10 of the mean squared error"
    outputs = 1

    def __init__(self, settings: Settings):
        self._task = MEMORY_TASKS["adding"]
        self.features, self._lag = self._task.features, settings.lag
        self._settings = memory.Settings(
            batch_size=settings.batch_size,
            steps=settings.steps,
            check_every=max(settings.steps // CHECKS, 1),
        )
        self.epochs = math.ceil(settings.steps / self._settings.check_every)
        self.cost = OVERHEAD + settings.steps * settings.lag
        self.facts = {
            "name": f"adding problem, {settings.lag} numbers, made as needed",
            "training": settings.steps * settings.batch_size,
            "validation": self._settings.test_size,
            "test": self._settings.test_size,
        }
        self.arrays = self._sequences(0, TEST)
        self.description = (
            f"The sum of two marked ones among {settings.lag} numbers, uniform in "
            "[0, 1], one in each half. Predicting the mean gives a mean squared error "
            f"of 1/6, whose log10 is -0.78. {settings.steps:,} steps of new sequences, "
            f"{self._settings.test_size:,} others to validate, as many to test."
        )

    def build(self, layer: keras.Layer) -> keras.Model:
        """Return sequences `(batch, lag, 2)` to sums `(batch, 1)`."""
        return keras.Sequential(
            [
                keras.Input((self._lag, self.features)),
                FixedBatch(self._settings.batch_size),
                layer,
                keras.layers.Dense(1),
            ]
        )

    def compile(self, model: keras.Model, optimizer: keras.Optimizer) -> None:
        """Compile with the squared error."""
        model.compile(optimizer, "mse")

    def batches(self, seed: int) -> tuple[EpochBatches, EpochBatches]:
        """Return new sequences in every step, and some to validate on."""
        validation = self._sequences(seed, VALIDATION)
        return (
            Sequences(self._settings, self._job(seed)),
            ExampleBatches(*validation, EVALUATION_BATCH),
        )

    def test_error(self, model: keras.Model, seed: int) -> float:
        """Return the logarithm of the squared error."""
        inputs, targets = self._sequences(seed, TEST)
        found = model.predict(inputs, batch_size=EVALUATION_BATCH, verbose=0)
        return math.log10(max(self._task.error(found, targets), 1e-12))

    def _job(self, seed):
        return MemoryJob("adding", self._lag, "custom", 0.0, seed)

    def _sequences(self, seed, purpose):
        job = self._job(seed)
        return sample(job, self._settings.test_size, generator(job, purpose))


CHECKS = 20  # of a training run of `Adding`: its best one is tested

KINDS = {"sentiment": Sentiment, "next_word": NextWord, "adding": Adding}


@functools.lru_cache(None)
def load(name: str, settings: Settings) -> Task:
    """Return a task with its data, which is loaded once."""
    return KINDS[name](settings)


def text_source(text: str) -> str:
    """Return the text that "auto" means: the real reviews, if they are there."""
    if text != "auto":
        return text
    return "imdb" if "LSTM_KERAS_DATA" in os.environ else "embedded"
