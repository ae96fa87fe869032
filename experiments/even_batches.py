"""Batches that several devices can share evenly.

Imports Keras: scripts import this file inside functions.
"""

import numpy as np

from lstm_keras.preprocessing.batches import EpochBatches


class EvenBatches(EpochBatches):
    """The batches of others, filled up with rows of zeros that count nothing.

    To a loss that is a mean over tokens the rows are `PADDING`. Elsewhere they have the
    weight 0, and the others one above 1: Keras divides by the number of rows.

    Args:
        batches: Of inputs and targets. All have as many rows, but for one with fewer.
        devices: How many share a batch.
        rows: Of batches to evaluate on, how many rows these have in all: then the mean
            over all rows is right. Otherwise that over each batch is.
    """

    def __init__(self, batches: EpochBatches, devices: int, rows: int | None = None):
        self._batches, self._devices, self._rows = batches, devices, rows
        super().__init__()

    def order(self, epoch):
        """Return the order of the others."""
        return self._batches.order(epoch)

    def batch(self, chosen):
        """Return one batch: inputs, targets and weights."""
        inputs, targets = self._batches.batch(chosen)
        rows = len(inputs)
        real = self._rows or rows
        weights = np.full(rows, 1 + -real % self._devices / real, np.float32)
        more = -rows % self._devices
        return tuple(_with_zeros(part, more) for part in (inputs, targets, weights))


def _with_zeros(array: np.ndarray, more: int) -> np.ndarray:
    return np.pad(array, [(0, more), *[(0, 0)] * (array.ndim - 1)])
