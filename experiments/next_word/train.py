"""The next-word model, its training, and its scores."""

from dataclasses import dataclass

import keras
import numpy as np

from experiments.common import cluster, data_parallel
from experiments.common.fit import Checkpoint, Fit, fit
from experiments.common.layers import (
    layer_name,
    let_choose_engines,
    recurrent_layer,
)
from experiments.common.schedule import learning_rate
from experiments.common.terminal import stage
from experiments.next_word.settings import Settings
from lstm_keras.datasets import Corpus
from lstm_keras.evaluation import TokenScores
from lstm_keras.language_model import (
    LanguageModel,
    LanguageModelTrainer,
    ResetStates,
    build_language_model,
    score,
    start_at_unigrams,
)
from lstm_keras.language_model.scoring import EVALUATION_BATCH
from lstm_keras.preprocessing import (
    END,
    EpochBatches,
    PrefixBatches,
    SentenceBatches,
    StreamWindows,
    sentences,
)

# A plateau multiplies the learning rate by this, as in PyTorch's word_language_model.
PLATEAU_FACTOR = 0.25

# The largest number of tokens of the training text that are scored.
LONGEST = 100_000


@dataclass(frozen=True)
class Trained:
    """A trained model and its scores on both texts."""

    parts: LanguageModel
    fit: Fit
    train_scores: TokenScores
    held_out_scores: TokenScores | None


def train(
    settings: Settings, corpus: Corpus, checkpoint: Checkpoint | None = None
) -> tuple[LanguageModel, Fit]:
    """Train, and restore the weights of the best epoch.

    Raises:
        DivergedError: The loss became NaN or infinite.
    """
    with data_parallel.distribute(settings) as devices:
        parts, fitted = _fit(settings, corpus, devices, checkpoint)
    if devices > 1:  # which cannot share evaluation's batches evenly
        weights = parts.model.get_weights()
        parts = build(settings, len(corpus.vocabulary))
        parts.model.set_weights(weights)
    if settings.jit:  # which needed the loop; scoring does not
        let_choose_engines(parts.model)
    return parts, fitted


def scored(corpus: Corpus, parts: LanguageModel, fitted: Fit) -> Trained:
    """Score every token with a trained model."""
    with stage("Scoring every token"):
        scores = [
            score(parts, ids, stream=corpus.stream) if len(ids) else None
            for ids in (beginning(corpus.train), corpus.held_out)
        ]
    return Trained(parts, fitted, *scores)


def beginning(ids: np.ndarray) -> np.ndarray:
    """Return a text; of a long one, complete sentences at its beginning."""
    if len(ids) <= LONGEST:
        return ids
    ends = (ids[:LONGEST] == END).nonzero()[0]
    return ids[: ends[-1] + 1 if len(ends) else LONGEST]


def build(settings: Settings, vocabulary: int) -> LanguageModel:
    """Return the model of the settings, for `vocabulary` ids."""
    make = recurrent_layer(settings.layer, settings.engine, settings.jit)
    units = [settings.units] * settings.layers
    if settings.tied:
        units[-1] = settings.embedding
    layers = [
        make(
            size,
            return_sequences=True,
            return_state=True,
            recurrent_dropout=settings.recurrent_dropout,
        )
        for size in units
    ]
    return build_language_model(
        vocabulary,
        settings.embedding,
        layers,
        tied=settings.tied,
        dropout=settings.dropout,
        mask_padding=settings.examples == "prefixes",
    )


def training_data(
    settings: Settings, corpus: Corpus
) -> tuple[EpochBatches, EpochBatches | None]:
    """Return the training batches, and the held-out ones, if any."""
    size = settings.batch_size
    if corpus.stream:
        batches, held_out = (
            StreamWindows(ids, size, settings.steps) if len(ids) else None
            for ids in (corpus.train, corpus.held_out)
        )
        return batches, held_out
    kind = PrefixBatches if settings.examples == "prefixes" else SentenceBatches
    batches = kind(sentences(corpus.train), size, settings.seed)
    if not len(corpus.held_out):
        return batches, None
    return batches, SentenceBatches(sentences(corpus.held_out), EVALUATION_BATCH)


def optimizer(settings: Settings, steps: int) -> keras.optimizers.Optimizer:
    """Return Adam with the options of the settings, for `steps` training steps."""
    return keras.optimizers.AdamW(
        learning_rate(settings, steps),
        weight_decay=settings.weight_decay,
        global_clipnorm=settings.clip,
    )


def callbacks(settings: Settings, monitor: str) -> list[keras.callbacks.Callback]:
    """Return the callbacks of the training, besides those of `fit`."""
    found = [ResetStates()]
    if settings.coordinator:
        found.append(cluster.StopTogether())
    if settings.schedule == "plateau":
        plateau = keras.callbacks.ReduceLROnPlateau(
            monitor,
            factor=PLATEAU_FACTOR,
            patience=0,
            mode="min",
            min_delta=0,
            verbose=1,
        )
        found.append(plateau)
    return found


def _fit(settings, corpus, devices, checkpoint) -> tuple[LanguageModel, Fit]:
    """Train on one or more devices."""
    keras.utils.set_random_seed(settings.seed)
    parts = build(settings, len(corpus.vocabulary))
    start_at_unigrams(parts.head, corpus.counts)
    streams = settings.batch_size if corpus.stream else None
    trainer = LanguageModelTrainer(
        parts, settings.sampled_softmax, settings.seed, streams
    )
    batches, held_out = training_data(settings, corpus)
    if devices > 1:
        share = (settings.process or 0, settings.processes or 1)
        batches = data_parallel.EvenBatches(batches, devices, share=share)
        if held_out:
            held_out = data_parallel.EvenBatches(held_out, devices, share=share)
    monitor = "val_perplexity" if held_out else "perplexity"
    steps = settings.epochs * len(batches)
    trainer.compile(optimizer(settings, steps), jit_compile=settings.jit)
    print(f"\nTraining {layer_name(settings.layer)}:")
    parts.model.summary(print_fn=print)
    fitted = fit(
        trainer,
        batches,
        held_out,
        epochs=settings.epochs,
        patience=settings.patience,
        monitor=monitor,
        callbacks=callbacks(settings, monitor),
        to=checkpoint,
    )
    return parts, fitted
