"""Batches, training and scoring of a next-word model, for scripts that train one.

Imports Keras: scripts import this file inside functions.
"""

from collections.abc import Sequence

import keras
import numpy as np

from lstm_keras.evaluation.language import TokenScores
from lstm_keras.language_model.model import LanguageModel, zero_states
from lstm_keras.preprocessing.batches import EpochBatches, shuffled_rows
from lstm_keras.preprocessing.next_word import (
    Streams,
    length_batches,
    prefixes,
    sentences,
    shift,
)
from lstm_keras.preprocessing.vocabulary import pad

# So many sentences are scored at a time, and so many steps of a stream.
EVALUATION_BATCH = 32
EVALUATION_STEPS = 256

# Lengths are rounded up to a multiple of this, so that few shapes are compiled.
LENGTH_STEP = 8

MAX_PREFIX_IDS = 500_000_000  # 2 GB


class SentenceBatches(EpochBatches):
    """One pass per sentence: inputs and targets `(batch, time)`, padded at the end.

    A word's loss depends on the words before it alone, so one pass gives the losses of
    all prefixes. Padding comes after all that counts: it needs no mask, only targets
    that are not counted.

    Args:
        texts: Sentences of ids, each with its `END`.
        batch_size: Sentences per batch, of similar length.
        seed: Draws other batches for each epoch; `None` keeps the order.
    """

    def __init__(
        self, texts: Sequence[np.ndarray], batch_size: int, seed: int | None = None
    ):
        self._pairs = [shift(text) for text in texts]
        self._lengths = [len(text) for text in texts]
        self._batch_size = batch_size
        self._seed = seed
        super().__init__()

    def order(self, epoch):
        """Return the sentences of each batch, the shortest and the longest first."""
        rng = None if self._seed is None else np.random.default_rng([self._seed, epoch])
        batches = length_batches(self._lengths, self._batch_size, rng)
        # See `batches.WARM_UP`.
        longest = [max(self._lengths[i] for i in chosen) for chosen in batches]
        ends = {int(np.argmin(longest)), int(np.argmax(longest))}
        first = [batches.pop(i) for i in sorted(ends, reverse=True)]
        return first + batches

    def batch(self, chosen):
        """Return some sentences, padded."""
        longest = max(self._lengths[i] for i in chosen)
        length = -(-longest // LENGTH_STEP) * LENGTH_STEP
        inputs, targets = zip(*(self._pairs[i] for i in chosen), strict=True)
        return tuple(pad(ids, length, padding="post") for ids in (inputs, targets))


class PrefixBatches(EpochBatches):
    """The usual tutorial's examples: a prefix, padded before it, and the next token.

    Args:
        texts: Sentences of ids, each with its `END`.
        batch_size: Prefixes per batch.
        seed: Draws other batches for each epoch.

    Raises:
        ValueError: The expansion would not fit into memory.
    """

    def __init__(self, texts: Sequence[np.ndarray], batch_size: int, seed: int):
        size = sum(map(len, texts)) * max(map(len, texts))
        if size > MAX_PREFIX_IDS:
            raise ValueError(
                f"expected at most {MAX_PREFIX_IDS:,} ids in the expansion into "
                f"prefixes (one pass per sentence needs none); received {size:,}"
            )
        self._inputs, self._targets = prefixes(texts)
        self._batch_size, self._seed = batch_size, seed
        super().__init__()

    def order(self, epoch):
        """Return the prefixes of each batch."""
        return shuffled_rows(len(self._targets), self._batch_size, self._seed, epoch)

    def batch(self, chosen):
        """Return some prefixes, and the token after each."""
        return self._inputs[chosen], self._targets[chosen, None]


class StreamWindows(EpochBatches):
    """Continuous text in parallel streams, cut into windows for truncated BPTT.

    Batch `w` holds window `w` of every stream, `(batch, steps)`, so that a stateful
    model that reads the batches in order reads every stream from its beginning to its
    end.
    """

    def __init__(self, ids: np.ndarray, batch_size: int, steps: int):
        self._windows = Streams(ids, batch_size, steps)
        super().__init__()

    def order(self, epoch):
        """Return the windows, in their order."""
        return range(len(self._windows))

    def batch(self, chosen):
        """Return one window of every stream."""
        return self._windows[chosen]


class ResetStates(keras.callbacks.Callback):
    """Lets every epoch and every evaluation begin with zero states."""

    def on_epoch_begin(self, epoch, logs=None):
        """Start the training text anew."""
        self.model.reset_states()

    def on_test_begin(self, logs=None):
        """Start the held-out text."""
        self.model.reset_states()


def score(parts: LanguageModel, ids: np.ndarray, *, stream: bool) -> TokenScores:
    """Return what the model says of every token of a text.

    Args:
        parts: The model.
        ids: The text `(tokens,)`.
        stream: Whether the state is carried through the whole text; else every sentence
            begins with the zero state.
    """
    scores = (_of_stream if stream else _of_sentences)(parts, ids)
    return TokenScores(
        targets=ids,
        log_probability=scores[:, 0],
        rank=scores[:, 1].astype(np.int32),
        top_probability=np.minimum(scores[:, 2], 1),
    )


def _of_sentences(parts: LanguageModel, ids: np.ndarray) -> np.ndarray:
    texts = sentences(ids)
    batches = SentenceBatches(texts, EVALUATION_BATCH)
    scores = [np.empty(0)] * len(texts)
    for chosen, (inputs, targets) in zip(batches.order(0), batches, strict=True):
        states = zero_states(parts.carry, len(chosen))
        rows, *_ = parts.scorer.predict_on_batch([inputs, targets, *states])
        for i, row in zip(chosen, rows, strict=True):
            scores[i] = row[: len(texts[i])]
    return np.concatenate(scores)


def _of_stream(parts: LanguageModel, ids: np.ndarray) -> np.ndarray:
    states, scores = zero_states(parts.carry, 1), []
    for inputs, targets in StreamWindows(ids, 1, EVALUATION_STEPS):
        rows, *states = parts.scorer.predict_on_batch([inputs, targets, *states])
        scores.append(rows[0])
    return np.concatenate(scores)[: len(ids)]
