"""A next-word model: Embedding, recurrent layers, logits; and what trains it.

The model is a plain Keras model from ids to logits. `LanguageModelTrainer` shares its
layers and trains them without ever holding the logits of all tokens at once.
"""

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops

from lstm_keras.losses import (
    linear_cross_entropy,
    sampled_cross_entropy,
    score_tokens,
)
from lstm_keras.preprocessing import PADDING


@keras.saving.register_keras_serializable(package="lstm_keras")
class TiedEmbedding(layers.ReversibleEmbedding):
    """An embedding whose weights are also those of the logits, with a bias for these.

    `layer(ids)` gives vectors `(…, output_dim)`; `layer(hidden, reverse=True)` gives
    logits `hidden @ embeddings.T + bias`, `(…, input_dim)`. Source: Press & Wolf,
    "Using the Output Embedding to Improve Language Models", EACL 2017.

    Args:
        input_dim: Number of ids.
        output_dim: Size of a vector.
        **kwargs: Arguments of `keras.layers.ReversibleEmbedding`.
    """

    def build(self, input_shape=None):
        """Create `embeddings` and `bias`."""
        super().build(input_shape)
        self.bias = self.add_weight(
            shape=(self.input_dim,), initializer="zeros", name="bias"
        )

    def call(self, inputs, reverse=False):
        """Look vectors up, or compute logits."""
        outputs = super().call(inputs, reverse=reverse)
        return ops.add(outputs, self.bias) if reverse else outputs

    # Embedding saves one weight, whatever else there is.
    save_own_variables = layers.Layer.save_own_variables
    load_own_variables = layers.Layer.load_own_variables

    @property
    def kernel(self):
        """The logits' weights `(output_dim, input_dim)`."""
        return ops.transpose(self.embeddings)


@dataclass(frozen=True)
class LanguageModel:
    """The parts of one next-word model, which share their weights.

    Attributes:
        model: Ids `(batch, time)` int32 to logits `(batch, time, vocabulary)`.
        body: The same up to the hidden states `(batch, time, units)`.
        head: The layer that makes logits of them, with `kernel` and `bias`.
    """

    model: keras.Model
    body: keras.Model
    head: layers.Layer


def build_language_model(
    vocabulary: int,
    embedding: int,
    recurrent_layers: list[layers.Layer],
    *,
    tied: bool = False,
    dropout: float = 0.0,
    mask_padding: bool = False,
    batch_size: int | None = None,
) -> LanguageModel:
    """Put a next-word model together.

    Args:
        vocabulary: Number of ids.
        embedding: Size of a word's vector.
        recurrent_layers: Layers that return sequences, the first first.
        tied: Whether embedding and logits share their weights; the last recurrent
            layer then has `embedding` units.
        dropout: Share of the units to drop between the layers, by one mask for all
            steps of a sequence (Gal & Ghahramani, "A Theoretically Grounded Application
            of Dropout in Recurrent Neural Networks", NeurIPS 2016).
        mask_padding: Skip padding; needed where it stands before the words.
        batch_size: Fixed, for stateful layers.

    Raises:
        ValueError: `tied`, and the last layer's units are not `embedding`.
    """
    units = recurrent_layers[-1].units
    if tied and units != embedding:
        raise ValueError(
            "expected tied weights to have as many units in the last layer as in the "
            f"embedding, {embedding}; received {units}"
        )

    def drop(x):
        if not dropout:
            return x
        return layers.Dropout(dropout, noise_shape=(batch_size, 1, x.shape[-1]))(x)

    ids = keras.Input((None,), batch_size=batch_size, dtype="int32", name="ids")
    make = TiedEmbedding if tied else layers.Embedding
    embed = make(vocabulary, embedding, mask_zero=mask_padding, name="embedding")
    hidden = drop(embed(ids))
    for layer in recurrent_layers:
        hidden = drop(layer(hidden))
    if tied:
        head, logits = embed, embed(hidden, reverse=True)
    else:
        head = layers.Dense(vocabulary, name="logits")
        logits = head(hidden)
    return LanguageModel(keras.Model(ids, logits), keras.Model(ids, hidden), head)


def start_at_unigrams(head: layers.Layer, counts: np.ndarray) -> None:
    """Set the logits' bias so that an untrained model knows the words' frequencies.

    This spares the training its first part, which learns little else.

    Args:
        head: The layer that makes the logits.
        counts: How often each id is a target in the training text, `(vocabulary,)`.
    """
    smoothed = counts + 0.1  # ids that never occur stay improbable, but possible
    head.bias.assign(np.log(smoothed / smoothed.sum()))


class Perplexity(keras.metrics.Mean):
    """The exponential of a mean cross-entropy in nats."""

    def result(self):
        """Return the perplexity of all tokens since the last reset."""
        return ops.exp(super().result())


class LanguageModelTrainer(keras.Model):
    """Trains and evaluates the parts of a language model.

    Compile it with an optimizer and without a loss. Inputs are ids `(batch, time)`.
    Targets are ids `(batch, time)`, or of the last inputs alone: `(batch, 1)` for what
    follows a prefix. `PADDING` among the targets is not counted.

    Args:
        parts: The model.
        samples: Train with a softmax over so many words, see
            `losses.sampled_cross_entropy`; `None`, or not fewer than there are: over
            all. Evaluation is always over all.
        seed: Of the sampling.
    """

    def __init__(self, parts: LanguageModel, samples: int | None = None, seed: int = 0):
        super().__init__()
        self.body = parts.body
        self.head = parts.head
        vocabulary = parts.model.output_shape[-1]
        self.samples = samples if samples and samples < vocabulary else None
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.perplexity = Perplexity(name="perplexity")

    def call(self, ids, training=False):
        """Return the hidden states."""
        return self.body(ids, training=training)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """Return the mean cross-entropy of a batch in nats per token."""
        hidden = y_pred[:, ops.shape(y_pred)[1] - ops.shape(y)[1] :]
        targets = ops.cast(ops.reshape(y, (-1,)), "int32")
        arguments = (*_flat(hidden, self.head), targets)
        if training and self.samples:
            loss = sampled_cross_entropy(*arguments, self.samples, self.seed_generator)
        else:
            loss = linear_cross_entropy(*arguments)
        tokens = ops.sum(ops.cast(ops.not_equal(targets, PADDING), loss.dtype))
        self.perplexity.update_state(loss, sample_weight=tokens)
        for penalty in self.losses:  # of regularizers
            loss = loss + penalty
        return loss


class TokenScorer(layers.Layer):
    """`losses.score_tokens` as a layer on `(hidden, targets)`."""

    def __init__(self, head: layers.Layer):
        super().__init__()
        self.head = head
        self.supports_masking = True  # what is masked is scored as well

    def call(self, hidden, targets):
        """Return `(batch, time, 3)`."""
        shape = ops.shape(targets)
        scores = score_tokens(
            *_flat(hidden, self.head), ops.cast(ops.reshape(targets, (-1,)), "int32")
        )
        return ops.reshape(scores, (*shape, 3))


def scoring_model(parts: LanguageModel) -> keras.Model:
    """Return a model from ids and targets `(batch, time)` to `score_tokens` of them."""
    batch_size = parts.body.input_shape[0]
    targets = keras.Input((None,), batch_size=batch_size, dtype="int32")
    scores = TokenScorer(parts.head)(parts.body.output, targets)
    return keras.Model([parts.body.input, targets], scores)


def _flat(hidden, head) -> tuple:
    """Hidden states as `(tokens, units)`, and the weights, all in one dtype."""
    kernel, bias = ops.convert_to_tensor(head.kernel), ops.convert_to_tensor(head.bias)
    hidden = ops.reshape(hidden, (-1, hidden.shape[-1]))
    return ops.cast(hidden, kernel.dtype), kernel, bias
