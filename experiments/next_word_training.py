"""Batches, training and scoring of a next-word model, for scripts that train one.

Imports Keras: scripts import this file inside functions.
"""

from collections.abc import Sequence

import keras
import numpy as np

from lstm_keras.language_evaluation import TokenScores
from lstm_keras.language_model import LanguageModel, zero_states
from lstm_keras.next_word import (
    length_batches,
    prefixes,
    sentences,
    shift,
    streams,
)
from lstm_keras.preprocessing import pad

# So many sentences are scored at a time, and so many steps of a stream.
EVALUATION_BATCH = 32
EVALUATION_STEPS = 256

# Lengths are rounded up to a multiple of this, so that few shapes are compiled.
LENGTH_STEP = 8

MAX_PREFIX_IDS = 500_000_000  # 2 GB


class SentenceBatches(keras.utils.PyDataset):
    """One pass per sentence: inputs and targets `(batch, time)`, padded at the end.

    A word's loss depends on the words before it alone, so one pass gives the losses of
    all prefixes. Padding comes after all that counts: it needs no mask, only targets
    that are not counted.

    Args:
        texts: Sentences of ids, each with its `END`.
        batch_size: Sentences per batch, of similar length.
        rng: Draws the batches anew for each epoch; `None` keeps the order.
    """

    def __init__(
        self,
        texts: Sequence[np.ndarray],
        batch_size: int,
        rng: np.random.Generator | None = None,
    ):
        super().__init__()
        self._pairs = [shift(text) for text in texts]
        self._lengths = [len(text) for text in texts]
        self._batch_size = batch_size
        self._rng = rng
        self.on_epoch_end()

    def on_epoch_end(self):
        """Draw the next epoch's batches."""
        batches = length_batches(self._lengths, self._batch_size, self._rng)
        # Keras takes the length of the first two batches for that of all, unless they
        # differ: the shortest and the longest come first.
        longest = [max(self._lengths[i] for i in chosen) for chosen in batches]
        first = int(np.argmin(longest))
        last = int(np.argmax(longest))
        self.batches = [batches.pop(i) for i in sorted({first, last}, reverse=True)]
        self.batches += batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        chosen = self.batches[index]
        longest = max(self._lengths[i] for i in chosen)
        length = -(-longest // LENGTH_STEP) * LENGTH_STEP
        inputs, targets = zip(*(self._pairs[i] for i in chosen), strict=True)
        return tuple(pad(ids, length, padding="post") for ids in (inputs, targets))


class PrefixBatches(keras.utils.PyDataset):
    """The usual tutorial's examples: a prefix, padded before it, and the next token.

    Args:
        texts: Sentences of ids, each with its `END`.
        batch_size: Prefixes per batch.
        rng: Draws the batches anew for each epoch.

    Raises:
        ValueError: The expansion would not fit into memory.
    """

    def __init__(
        self, texts: Sequence[np.ndarray], batch_size: int, rng: np.random.Generator
    ):
        super().__init__()
        size = sum(map(len, texts)) * max(map(len, texts))
        if size > MAX_PREFIX_IDS:
            raise ValueError(
                f"expected at most {MAX_PREFIX_IDS:,} ids in the expansion into "
                f"prefixes (one pass per sentence needs none); received {size:,}"
            )
        self._inputs, self._targets = prefixes(texts)
        self._batch_size = batch_size
        self._rng = rng
        self.on_epoch_end()

    def on_epoch_end(self):
        """Draw the next epoch's batches."""
        self._order = self._rng.permutation(len(self._targets))

    def __len__(self):
        return -(-len(self._targets) // self._batch_size)

    def __getitem__(self, index):
        start = index * self._batch_size
        chosen = self._order[start : start + self._batch_size]
        return self._inputs[chosen], self._targets[chosen, None]


class StreamWindows(keras.utils.PyDataset):
    """Continuous text in parallel streams, cut into windows for truncated BPTT.

    Batch `w` holds window `w` of every stream, `(batch, steps)`, so that a stateful
    model that reads the batches in order reads every stream from its beginning to its
    end.
    """

    def __init__(self, ids: np.ndarray, batch_size: int, steps: int):
        super().__init__()
        self.inputs, self.targets = streams(ids, batch_size, steps)

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        return self.inputs[index], self.targets[index]


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
    for chosen, (inputs, targets) in zip(batches.batches, batches, strict=True):
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
