"""Batches whose order depends on seed and epoch alone, so that training can resume."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from lstm_keras.preprocessing.next_word import Streams, length_batches, prefixes, shift
from lstm_keras.preprocessing.vocabulary import pad

# TensorFlow assumes the shapes of the first two batches for all, unless they differ: a
# resumed epoch begins with the same two batches as a whole one.
WARM_UP = 2

# Multiples of these are the lengths of sentences and of whole texts.
LENGTH_STEP, TEXT_STEP = 8, 32

MAX_PREFIX_IDS = 500_000_000  # 2 GB


class EpochBatches(keras.utils.PyDataset):
    """Batches that depend on the epoch; subclasses define `order` and `batch`.

    The training loop calls `enter` for each epoch. Before that, and for evaluation, it
    is epoch 0.
    """

    def __init__(self):
        super().__init__()
        self.enter(0)

    def order(self, epoch: int) -> Sequence:
        """Return the argument of `batch` for each batch of an epoch."""
        raise NotImplementedError

    def batch(self, chosen: Any) -> tuple:
        """Return the inputs and targets of one batch."""
        raise NotImplementedError

    def enter(self, epoch: int, step: int = 0) -> None:
        """Begin an epoch, or continue it after `step` steps.

        To continue, the epoch's first `WARM_UP` batches come once more before the rest.
        The caller must undo the training on them.
        """
        order = self.order(epoch)
        self._first = order[:WARM_UP] if step else order[:0]
        self._rest = order[step:]

    def __len__(self):
        return len(self._first) + len(self._rest)

    def __getitem__(self, index):
        late = index - len(self._first)
        return self.batch(self._first[index] if late < 0 else self._rest[late])


class ExampleBatches(EpochBatches):
    """Batches of the rows of two arrays.

    Args:
        inputs: An array (n, …).
        targets: An array (n, …).
        batch_size: Rows in a batch; the last one may have fewer.
        seed: Seed of each epoch's order; `None` keeps that of the arrays.
    """

    def __init__(
        self,
        inputs: np.ndarray,
        targets: np.ndarray,
        batch_size: int,
        seed: int | None = None,
    ):
        self._inputs, self._targets = inputs, targets
        self._batch_size, self._seed = batch_size, seed
        super().__init__()

    def order(self, epoch: int) -> Sequence:
        """Return the rows of each batch."""
        return shuffled_rows(len(self._inputs), self._batch_size, self._seed, epoch)

    def batch(self, chosen: Any) -> tuple[np.ndarray, ...]:
        """Return the rows of one batch."""
        return self._inputs[chosen], self._targets[chosen]


class LengthBatches(EpochBatches):
    """Batches of sequences of similar length; subclasses define `batch`.

    Args:
        lengths: Length of each sequence.
        batch_size: Sequences in a batch; one batch may have fewer.
        seed: Seed of each epoch's batches; `None` keeps the same order.
        step: Batches have a multiple of this as their length, so that few shapes are
            compiled.
    """

    def __init__(
        self, lengths: Sequence[int], batch_size: int, seed: int | None, step: int
    ):
        self._lengths = lengths
        self._batch_size = batch_size
        self._seed = seed
        self._step = step
        super().__init__()

    def order(self, epoch: int) -> list[np.ndarray]:
        """Return the sequences of each batch, those of extreme lengths first."""
        rng = None if self._seed is None else np.random.default_rng([self._seed, epoch])
        batches = length_batches(self._lengths, self._batch_size, rng)
        # See `WARM_UP`.
        longest = [max(self._lengths[i] for i in chosen) for chosen in batches]
        ends = {int(np.argmin(longest)), int(np.argmax(longest))}
        first = [batches.pop(i) for i in sorted(ends, reverse=True)]
        return first + batches

    def padded_length(self, chosen: np.ndarray) -> int:
        """Return the length of a batch of these sequences."""
        return self.rounded(max(self._lengths[i] for i in chosen))

    def rounded(self, length: int) -> int:
        """Return the length of a batch whose longest sequence has this length."""
        return -(-length // self._step) * self._step


class TextBatches(LengthBatches):
    """Batches of left-padded texts `(batch, time)` and their labels, for masked models.

    Args:
        texts: Texts of ids.
        labels: Their labels `(n,)`.
        batch_size: See `LengthBatches`.
        maxlen: Number of ids that are read of a text, at its end.
        seed: See `LengthBatches`.
    """

    def __init__(
        self,
        texts: Sequence[np.ndarray],
        labels: np.ndarray,
        batch_size: int,
        maxlen: int,
        seed: int | None = None,
    ):
        self._texts, self._labels = texts, labels
        lengths = [min(len(text), maxlen) for text in texts]
        self._maxlen = maxlen
        super().__init__(lengths, batch_size, seed, TEXT_STEP)

    def batch(
        self, chosen: np.ndarray, more: Sequence[np.ndarray] = ()
    ) -> tuple[np.ndarray, ...]:
        """Return the texts of one batch, and `more`, padded; and their labels."""
        texts = [*(self._texts[i] for i in chosen), *more]
        length = min(self.rounded(max(map(len, texts))), self._maxlen)
        return pad(texts, length), self._labels[chosen]


class SemiSupervisedBatches(EpochBatches):
    """Batches of labelled texts, each with unlabelled ones of similar length beside it.

    A batch has texts `(batch, time)`, the labelled ones first; labels; and weights: 1,
    and 0 for the texts without a label, which have the label 0.

    Args:
        labelled: The labelled texts, whose batches make up the epoch.
        texts: Unlabelled texts of ids, of which each epoch draws others.
        count: Number of them in each batch.
        seed: Seed of the draws.

    Raises:
        ValueError: There are fewer texts than an epoch draws.
    """

    def __init__(
        self,
        labelled: TextBatches,
        texts: Sequence[np.ndarray],
        count: int,
        seed: int,
    ):
        self._labelled, self._texts = labelled, texts
        self._count, self._seed = count, seed
        if len(texts) < count * len(labelled):
            raise ValueError(
                f"expected at least {count * len(labelled):,} unlabelled texts, "
                f"{count} for each of {len(labelled):,} batches; received "
                f"{len(texts):,}"
            )
        super().__init__()

    def order(self, epoch: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the labelled and the unlabelled texts of each batch."""
        batches = self._labelled.order(epoch)
        rng = np.random.default_rng([self._seed, epoch])
        size = (len(batches), self._count)
        drawn = rng.choice(len(self._texts), size, replace=False).ravel()
        by_length = drawn[np.argsort([len(self._texts[i]) for i in drawn.tolist()])]
        lengths = [self._labelled.padded_length(chosen) for chosen in batches]
        rank = np.argsort(np.argsort(lengths, kind="stable"))
        pairs = list(zip(batches, by_length.reshape(size)[rank], strict=True))
        # See `WARM_UP`: of labelled texts of equal length, others decide.
        longest = [(len(self._texts[more[-1]]), i) for i, (_, more) in enumerate(pairs)]
        ends = dict.fromkeys([min(longest)[1], max(longest)[1]])
        rest = [pair for i, pair in enumerate(pairs) if i not in ends]
        return [*(pairs[i] for i in ends), *rest]

    def batch(self, chosen: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, ...]:
        """Return texts, labels and weights of one batch."""
        rows, others = chosen
        texts, labels = self._labelled.batch(rows, [self._texts[i] for i in others])
        weights = np.repeat([1.0, 0.0], [len(rows), len(others)]).astype("float32")
        return texts, np.pad(labels, (0, len(others))), weights


class SentenceBatches(LengthBatches):
    """Batches of whole sentences: inputs and targets `(batch, time)`, right-padded.

    A word's loss depends only on the words before it, so one pass gives the losses of
    all prefixes. Padding at the end needs no mask, only ignored targets.

    Args:
        texts: Sentences of ids, each with its `END`.
        batch_size: Sentences per batch, of similar length.
        seed: Seed of each epoch's batches; `None` keeps the same order.
    """

    def __init__(
        self, texts: Sequence[np.ndarray], batch_size: int, seed: int | None = None
    ):
        self._pairs = [shift(text) for text in texts]
        super().__init__([len(text) for text in texts], batch_size, seed, LENGTH_STEP)

    def batch(self, chosen: Any) -> tuple[np.ndarray, ...]:
        """Return the sentences of one batch, padded."""
        length = self.padded_length(chosen)
        inputs, targets = zip(*(self._pairs[i] for i in chosen), strict=True)
        return tuple(pad(ids, length, padding="post") for ids in (inputs, targets))


class PrefixBatches(EpochBatches):
    """Batches of a tutorial's usual examples: left-padded prefixes and next tokens.

    Args:
        texts: Sentences of ids, each with its `END`.
        batch_size: Prefixes per batch.
        seed: Seed of each epoch's order.

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

    def order(self, epoch: int) -> Sequence:
        """Return the prefixes of each batch."""
        return shuffled_rows(len(self._targets), self._batch_size, self._seed, epoch)

    def batch(self, chosen: Any) -> tuple[np.ndarray, ...]:
        """Return the prefixes of one batch, and the token after each."""
        return self._inputs[chosen], self._targets[chosen, None]


class StreamWindows(EpochBatches):
    """Batches of `Streams`, windows of continuous text for truncated BPTT.

    Batch `w` is window `w` of every stream, `(batch, steps)`; a stateful model that
    reads the batches in order reads every stream from beginning to end.
    """

    def __init__(self, ids: np.ndarray, batch_size: int, steps: int):
        self._windows = Streams(ids, batch_size, steps)
        super().__init__()

    def order(self, epoch: int) -> Sequence:
        """Return the windows in order."""
        return range(len(self._windows))

    def batch(self, chosen: Any) -> tuple[np.ndarray, ...]:
        """Return one window of every stream."""
        return self._windows[chosen]


def shuffled_rows(
    count: int, batch_size: int, seed: int | None, epoch: int
) -> list[np.ndarray]:
    """Return the row numbers of each batch in an epoch, shuffled if there is a seed."""
    rows = np.arange(count)
    if seed is not None:
        rows = np.random.default_rng([seed, epoch]).permutation(rows)
    return [rows[start : start + batch_size] for start in range(0, count, batch_size)]
