"""Train a next-word model: loss, perplexity, and states carried along a text."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from lstm_keras.language_model.losses import (
    linear_cross_entropy,
    sampled_cross_entropy,
)
from lstm_keras.language_model.model import LanguageModel, flatten_hidden, zero_states
from lstm_keras.preprocessing.vocabulary import PADDING


def start_at_unigrams(head: layers.Layer, counts: np.ndarray) -> None:
    """Set the logits' bias such that the untrained model predicts word frequencies.

    This replaces the first phase of training, which learns little else.

    Args:
        head: The layer that computes the logits.
        counts: Number of occurrences of each id as a target in the training text,
            `(vocabulary,)`.
    """
    smoothed = counts + 0.1  # ids that never occur stay improbable, but possible
    head.bias.assign(np.log(smoothed / smoothed.sum()))


class LanguageModelTrainer(keras.Model):
    """A Keras model that trains and evaluates a language model.

    Compile it with an optimizer and without a loss. Inputs are ids `(batch, time)`.
    Targets are ids `(batch, time)`, or those of the last inputs only: `(batch, 1)` for
    the token after a prefix. `PADDING` among the targets is ignored.

    Its metrics are "loss", the mean cross-entropy in nats of all tokens since the last
    reset, without penalties, and "perplexity", its exponential.

    Args:
        parts: The language model.
        samples: Train with a softmax over this number of words, see
            `losses.sampled_cross_entropy`; `None`, or at least the vocabulary's size:
            over all words, as is evaluation always.
        seed: Seed of the sampling.
        streams: Number of texts that are read in parallel, one per row of the batches;
            each batch continues with the final states of the previous one, until
            `reset_states()`. `None`: every row is a separate text.
    """

    def __init__(
        self,
        parts: LanguageModel,
        samples: int | None = None,
        seed: int = 0,
        streams: int | None = None,
    ):
        super().__init__()
        self.body = parts.body if streams is None else parts.carry
        self.head = parts.head
        # Weights of this model, since Keras loses the states of stateful layers on JAX.
        self.carried = [
            self.add_weight(shape=state.shape, initializer="zeros", trainable=False)
            for state in (zero_states(parts.carry, streams) if streams else [])
        ]
        vocabulary = parts.model.output_shape[-1]
        self.samples = samples if samples and samples < vocabulary else None
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.cross_entropy = keras.metrics.Mean(name="cross_entropy")

    def call(self, ids: Any, training: bool = False) -> Any:
        """Return the hidden states, and carry the final ones to the next batch."""
        if not self.carried:
            return self.body(ids, training=training)
        # The loop over time needs the number of rows to be that of the states.
        ids = ops.reshape(ids, (self.carried[0].shape[0], -1))
        # Copies, since torch's gradients need the states, which change in place.
        before = [ops.copy(variable) for variable in self.carried]
        hidden, *states = self.body([ids, *before], training=training)
        for variable, state in zip(self.carried, states, strict=True):
            variable.assign(state)
        return hidden

    def reset_states(self) -> None:
        """Set the states to zero, to begin new texts."""
        for variable in self.carried:
            variable.assign(ops.zeros(variable.shape, dtype=variable.dtype))

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Return the mean cross-entropy of a batch in nats per token."""
        hidden = y_pred[:, ops.shape(y_pred)[1] - ops.shape(y)[1] :]
        targets = ops.cast(ops.reshape(y, (-1,)), "int32")
        hidden, kernel, bias = flatten_hidden(hidden, self.head)
        if training and self.samples:
            rows = getattr(self.head, "embeddings", None)
            rows = ops.transpose(kernel) if rows is None else rows
            loss = sampled_cross_entropy(
                hidden, rows, bias, targets, self.samples, self.seed_generator
            )
        else:
            loss = linear_cross_entropy(hidden, kernel, bias, targets)
        tokens = ops.sum(ops.cast(ops.not_equal(targets, PADDING), loss.dtype))
        self.cross_entropy.update_state(loss, sample_weight=tokens)
        for penalty in self.losses:  # of regularizers
            loss = loss + penalty
        return loss

    def get_metrics_result(self) -> dict[str, Any]:
        """Return loss and perplexity; Keras's own mean weights batches by rows."""
        loss = self.cross_entropy.result()
        return {"loss": loss, "perplexity": ops.exp(loss)}


class ResetStates(keras.callbacks.Callback):
    """A callback that begins every epoch and every evaluation with zero states."""

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Restart the training text."""
        self.model.reset_states()

    def on_test_begin(self, logs: dict | None = None) -> None:
        """Start the held-out text."""
        self.model.reset_states()
