"""Cross-entropy over a large vocabulary, without storing the logits of all tokens.

The logits are `hidden @ kernel + bias`. For 64 sequences of 35 tokens and 50,000 words
they would take 450 MB, and their gradient as much again; here at most `MAX_LOGITS`
numbers of each exist at a time.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from lstm_keras.preprocessing.vocabulary import PADDING

MAX_LOGITS = 1 << 22  # 16 MiB of float32
MAX_ROWS = 512  # more tokens at a time make the matrix products no faster

_LOWEST = -1e9  # a logit of probability 0


def linear_cross_entropy(hidden: Any, kernel: Any, bias: Any, targets: Any) -> Any:
    """Return the mean cross-entropy of the targets that are not padding.

    The gradient is computed chunk by chunk together with the loss, by the equation
    `d loss / d logits = softmax(logits) - one_hot(target)`. Second derivatives need the
    memory of all logits; XLA can compile them for a single chunk only, else JAX or
    TensorFlow raises an error.

    Args:
        hidden: `(tokens, units)`, the output of the last layer before the logits.
        kernel: `(units, vocabulary)`.
        bias: `(vocabulary,)`.
        targets: Ids `(tokens,)`; `PADDING` is ignored.

    Returns:
        A scalar in nats; 0 if every target is padding.
    """
    weights = _weights(targets, keras.backend.standardize_dtype(hidden.dtype))

    def compute(hidden, kernel, bias):
        return _loss_and_gradients(hidden, kernel, bias, targets, weights)

    @ops.custom_gradient
    def loss(hidden, kernel, bias):
        loss, *gradients = _unrecorded(compute)(hidden, kernel, bias)

        def gradient(*arguments, upstream=None):
            if upstream is None:  # TensorFlow and JAX
                (upstream,) = arguments
                return tuple(one * upstream for one in gradients)
            import torch

            # `gradients` have no graph, which second derivatives need.
            again = torch.is_grad_enabled()
            found = compute(*arguments)[1:] if again else gradients
            return tuple(one * upstream for one in found)

        return loss, gradient

    return loss(*map(ops.convert_to_tensor, (hidden, kernel, bias)))


def _unrecorded(function):
    """Return a function whose intermediate results TensorFlow's eager tapes drop.

    For a second derivative they recompute it. Graphs need no such measure.
    """
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    return tf.recompute_grad(function) if tf.executing_eagerly() else function


def _loss_and_gradients(hidden, kernel, bias, targets, weights):
    """Return the loss and its gradients with respect to `hidden`, `kernel`, `bias`."""

    def add_chunk(sums, chunk):
        hidden, targets, weights = chunk
        loss, d_kernel, d_bias = sums
        logits = ops.add(ops.matmul(hidden, kernel), bias)
        log_probabilities = ops.log_softmax(logits)
        d_logits = ops.exp(log_probabilities) - ops.one_hot(
            targets, kernel.shape[1], dtype=hidden.dtype
        )
        d_logits = d_logits * weights[:, None]
        true = ops.take_along_axis(log_probabilities, targets[:, None], axis=1)
        sums = (
            loss - ops.sum(true[:, 0] * weights),
            d_kernel + ops.matmul(ops.transpose(hidden), d_logits),
            d_bias + ops.sum(d_logits, axis=0),
        )
        return sums, ops.matmul(d_logits, ops.transpose(kernel))

    sums = (
        ops.zeros((), dtype=hidden.dtype),
        ops.zeros_like(kernel),
        ops.zeros_like(bias),
    )
    (loss, d_kernel, d_bias), d_hidden = _in_chunks(
        add_chunk, sums, (hidden, targets, weights), kernel.shape, kernel.shape[0]
    )
    return loss, d_hidden, d_kernel, d_bias


def sampled_cross_entropy(
    hidden: Any,
    rows: Any,
    bias: Any,
    targets: Any,
    samples: int,
    seed: keras.random.SeedGenerator,
) -> Any:
    """Return an estimate of the mean cross-entropy from a part of the vocabulary.

    The sum in the softmax's denominator is split in two: the first `samples // 2` ids,
    the most frequent words, enter exactly; of the others the same number is drawn with
    equal probability and weighted accordingly (importance sampling: Bengio & Senecal,
    2003; Jean et al., "On Using Very Large Target Vocabulary", ACL 2015). The target
    enters exactly. The estimate of the sum is unbiased, that of its logarithm slightly
    too low.

    Args:
        hidden: `(tokens, units)`.
        rows: The transposed kernel `(vocabulary, units)`, by frequency: rows are faster
            to look up than columns.
        bias: `(vocabulary,)`.
        targets: Ids `(tokens,)`; `PADDING` is ignored.
        samples: Number of ids in the estimate, above 1 and below the vocabulary's.
        seed: A `keras.random.SeedGenerator`.

    Returns:
        A scalar in nats; 0 if every target is padding.
    """
    vocabulary, head = rows.shape[0], samples // 2
    drawn = keras.random.randint((samples - head,), head, vocabulary, seed=seed)
    chosen = ops.concatenate([ops.arange(head, dtype=drawn.dtype), drawn])
    # One lookup, since its gradient is as large as the matrix.
    ids = ops.concatenate([chosen, ops.cast(targets, chosen.dtype)])
    vectors, biases = ops.take(rows, ids, axis=0), ops.take(bias, ids)
    logits = ops.matmul(hidden, ops.transpose(vectors[:samples])) + biases[:samples]
    # The number of words that each drawn word represents.
    log_weight = math.log((vocabulary - head) / (samples - head))
    log_weights = np.where(np.arange(samples) < head, 0.0, log_weight)
    logits = logits + ops.cast(log_weights, hidden.dtype)
    true = ops.sum(hidden * vectors[samples:], axis=1) + biases[samples:]
    # The target enters once, even if it is a frequent word or was drawn.
    logits = ops.where(ops.equal(chosen, targets[:, None]), _LOWEST, logits)
    logits = ops.concatenate([logits, true[:, None]], axis=1)
    losses = ops.logsumexp(logits, axis=1) - true
    return ops.sum(losses * _weights(targets, hidden.dtype))


def score_tokens(hidden: Any, kernel: Any, bias: Any, targets: Any) -> Any:
    """Return the scores of every target under the softmax of the whole vocabulary.

    Args:
        hidden: `(tokens, units)`.
        kernel: `(units, vocabulary)`.
        bias: `(vocabulary,)`.
        targets: Ids `(tokens,)`.

    Returns:
        `(tokens, 3)`: the log-probability of the target in nats, its rank (the number
        of more probable ids), and the highest probability of any id.
    """

    def score_chunk(sums, chunk):  # no sums are needed
        hidden, targets = chunk
        logits = ops.add(ops.matmul(hidden, kernel), bias)
        true = ops.take_along_axis(logits, targets[:, None], axis=1)
        log_sum = ops.logsumexp(logits, axis=1)
        rank = ops.sum(ops.cast(logits > true, hidden.dtype), axis=1)
        top = ops.exp(ops.max(logits, axis=1) - log_sum)
        return sums, ops.stack([true[:, 0] - log_sum, rank, top], axis=1)

    return _in_chunks(score_chunk, (), (hidden, targets), kernel.shape, columns=3)[1]


def _weights(targets, dtype):
    """Return the weight of every token in the mean."""
    real = ops.cast(ops.not_equal(targets, PADDING), dtype)
    return real / ops.maximum(ops.sum(real), 1.0)


def _in_chunks(
    function: Callable,
    sums: Sequence[Any],
    rows: Sequence[Any],
    kernel_shape: Sequence[int],
    columns: int,
) -> tuple[Sequence[Any], Any]:
    """Run a function over chunks of rows, one after the other.

    Args:
        function: Maps sums and chunk to new sums and a result `(chunk rows, columns)`.
        sums: Tensors that accumulate over the chunks.
        rows: Tensors with the same number of rows, cut into chunks together.
        kernel_shape: `(units, vocabulary)`.
        columns: Number of columns of the results.

    Returns:
        The final sums, and the results of all rows.
    """
    size = min(max(1, MAX_LOGITS // kernel_shape[1]), MAX_ROWS)
    count = ops.shape(rows[0])[0]  # an int, or on TensorFlow a tensor
    chunks = (count + size - 1) // size
    if isinstance(count, int):
        if chunks <= 1:
            return function(sums, rows)
        size = -(-count // chunks)  # chunks of about equal size

    def filled(tensor):
        rest = (chunks * size - count, *tensor.shape[1:])
        return ops.concatenate([tensor, ops.zeros(rest, dtype=tensor.dtype)])

    def step(index, results, *sums):
        start = index * size
        chunk = [
            ops.slice(
                tensor,
                (start, *[0] * (len(tensor.shape) - 1)),
                (size, *tensor.shape[1:]),
            )
            for tensor in padded
        ]
        sums, result = function(sums, chunk)
        # Not `slice_update`, which TensorFlow can't differentiate.
        places = (start + ops.arange(size))[:, None]
        return index + 1, ops.scatter_update(results, places, result), *sums

    padded = [filled(tensor) for tensor in rows]
    results = ops.zeros((chunks * size, columns), dtype=rows[0].dtype)
    _, results, *sums = ops.while_loop(
        lambda index, *_: index < chunks, step, (0, results, *sums)
    )
    return sums, results[:count]
