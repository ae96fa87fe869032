"""Batches in an order that seed and epoch decide, so that a training can be resumed.

Imports Keras: scripts import this file inside functions.
"""

from collections.abc import Sequence

import keras
import numpy as np

# TensorFlow takes the shapes of the first two batches for those of all, unless they
# differ; so many batches of an epoch's beginning also begin a resumed one.
WARM_UP = 2


class EpochBatches(keras.utils.PyDataset):
    """Batches of which `order` gives an epoch's, and `batch` makes one.

    `training.fit` enters each epoch. Before that, and for evaluation, it is epoch 0.
    """

    def __init__(self):
        super().__init__()
        self.enter(0)

    def order(self, epoch: int) -> Sequence:
        """Return what `batch` is given, batch by batch, in an epoch."""
        raise NotImplementedError

    def batch(self, chosen) -> tuple:
        """Return inputs and targets of one batch."""
        raise NotImplementedError

    def enter(self, epoch: int, step: int = 0) -> None:
        """Begin an epoch, after so many of its steps.

        If these are not none, the epoch's first `WARM_UP` batches come once more before
        the rest. Who trains on them must undo it.
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
    """Rows of arrays of examples.

    Args:
        inputs: An array (n, …).
        targets: An array (n, …).
        batch_size: Rows in a batch; the last one may have fewer.
        seed: Of the order, another in each epoch; `None` keeps that of the arrays.
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

    def order(self, epoch):
        """Return the rows of each batch."""
        return shuffled_rows(len(self._inputs), self._batch_size, self._seed, epoch)

    def batch(self, chosen):
        """Return the rows of one batch."""
        return self._inputs[chosen], self._targets[chosen]


def shuffled_rows(
    count: int, batch_size: int, seed: int | None, epoch: int
) -> list[np.ndarray]:
    """Return the numbers below `count` in an epoch's order, cut into batches.

    Without a seed they come in their own order.
    """
    rows = np.arange(count)
    if seed is not None:
        rows = np.random.default_rng([seed, epoch]).permutation(rows)
    return [rows[start : start + batch_size] for start in range(0, count, batch_size)]
