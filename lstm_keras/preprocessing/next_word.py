"""Examples for training a model to predict the next word of a text.

A text is one int32 array `ids (tokens,)`: the words of each sentence (or line, or
paragraph), followed by `END`. Every token is a target exactly once.
"""

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lstm_keras.preprocessing.vocabulary import END, PADDING, START, check_whole


def sentences(ids: np.ndarray) -> list[np.ndarray]:
    """Split a text (tokens,) after each `END` into views."""
    parts = np.split(ids, np.flatnonzero(ids == END) + 1)
    return parts if len(parts[-1]) else parts[:-1]


def shift(sentence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and targets of a sentence (time,), both (time,).

    Each input is the token before its target; the first is `START`. One pass over a
    sentence trains on all its tokens, equivalently to all its `prefixes`.
    """
    return np.concatenate([[START], sentence])[:-1].astype(np.int32), sentence


def prefixes(
    sentences: Sequence[np.ndarray], maxlen: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return each token of all sentences as a target, with its prefix as inputs.

    Examples for `Embedding -> LSTM -> Dense` are often made like this. Memory and time
    grow with the square of a sentence's length; `shift` avoids that.

    Args:
        sentences: n arrays (time,).
        maxlen: Maximum number of inputs in a row; earlier ones are dropped.

    Returns:
        Inputs int32 (tokens, longest), left-padded and beginning with `START`, and
        targets int32 (tokens,).
    """
    if maxlen is not None:
        check_whole("maxlen", maxlen, 1)
    width = max(map(len, sentences), default=0)
    if maxlen is not None:
        width = min(width, maxlen)
    inputs = [np.empty((0, width), np.int32)]
    targets = [np.empty(0, np.int32)]
    for sentence in filter(len, sentences):
        before = np.pad(shift(sentence)[0], (width - 1, 0), constant_values=PADDING)
        inputs.append(sliding_window_view(before, width))
        targets.append(sentence)
    return np.concatenate(inputs), np.concatenate(targets)


def length_batches(
    lengths: Sequence[int], batch_size: int, rng: np.random.Generator | None = None
) -> list[np.ndarray]:
    """Group sequences of similar length into batches, to save padding.

    Args:
        lengths: Length of each of n sequences.
        batch_size: Sequences in a batch; the last one may have fewer.
        rng: Shuffles the batches and the sequences of equal length. Without it the
            shortest sequences come first.

    Returns:
        The indices of each batch, int64 (batch_size,).
    """
    check_whole("batch_size", batch_size, 1)
    lengths = np.asarray(lengths, np.int64)
    order = np.arange(len(lengths)) if rng is None else rng.permutation(len(lengths))
    order = order[np.argsort(lengths[order], kind="stable")]
    starts = np.arange(0, len(order), batch_size)
    if rng is not None:
        starts = rng.permutation(starts)
    return [order[start : start + batch_size] for start in starts]


class Streams(Sequence):
    """A continuous text as parallel streams, which are cut into windows.

    Window `w` is inputs and targets, int32 (batch_size, steps), with `PADDING` in both
    after the end of a stream. It is computed on access.

    Row k of window w continues row k of window w - 1, so that a stateful model reads
    `batch_size` parts of the text in parallel (Zaremba et al., "Recurrent Neural
    Network Regularization", 2014). The input of each target is the token before it in
    the text, also across streams, and `START` for the first token.

    Args:
        ids: The text, (tokens,).
        batch_size: Number of streams of ceil(tokens / batch_size) tokens; the last ones
            may be shorter.
        steps: Length of a window.
    """

    def __init__(self, ids: np.ndarray, batch_size: int, steps: int):
        check_whole("batch_size", batch_size, 1)
        check_whole("steps", steps, 1)
        self._ids = np.asarray(ids, np.int32)
        self._steps = steps
        self._length = -(-len(ids) // batch_size)
        self._starts = self._length * np.arange(batch_size)[:, None]

    def __len__(self) -> int:
        return -(-self._length // self._steps)

    def __getitem__(  # type: ignore[override]  # takes no slices
        self, window: int
    ) -> tuple[np.ndarray, np.ndarray]:
        window = range(len(self))[window]  # negative indices; raises IndexError
        steps = window * self._steps + np.arange(self._steps)
        places = self._starts + steps
        there = (steps < self._length) & (places < len(self._ids))
        inputs, targets = (
            np.where(there, self._ids.take(wanted, mode="clip"), PADDING)
            for wanted in (places - 1, places)
        )
        if window == 0:
            inputs[0, 0] = START
        return inputs, targets
