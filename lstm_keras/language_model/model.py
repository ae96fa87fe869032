"""A next-word model: Embedding, recurrent layers, logits; and what trains it.

The model is a plain Keras model from ids to logits. `LanguageModelTrainer` shares its
layers and trains them without ever holding the logits of all tokens at once.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from lstm_keras.language_model.losses import (
    linear_cross_entropy,
    sampled_cross_entropy,
    score_tokens,
)
from lstm_keras.preprocessing.vocabulary import PADDING


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

    def build(self, input_shape: Any = None) -> None:
        """Create `embeddings` and `bias`."""
        super().build(input_shape)
        self.bias = self.add_weight(
            shape=(self.input_dim,), initializer="zeros", name="bias"
        )

    def call(self, inputs: Any, reverse: bool = False) -> Any:
        """Look vectors up, or compute logits."""
        outputs = super().call(inputs, reverse=reverse)
        return ops.add(outputs, self.bias) if reverse else outputs

    # Embedding saves one weight, whatever else there is.
    save_own_variables = layers.Layer.save_own_variables
    load_own_variables = layers.Layer.load_own_variables

    @property
    def kernel(self) -> Any:
        """The logits' weights `(output_dim, input_dim)`."""
        return ops.transpose(self.embeddings)


@dataclass(frozen=True)
class LanguageModel:
    """The parts of one next-word model, which share their layers.

    Attributes:
        model: Ids `(batch, time)` int32 to logits `(batch, time, vocabulary)`.
        body: The same up to the hidden states `(batch, time, units)`.
        carry: `body` with the recurrent layers' states before the first step as further
            inputs, and those after the last as further outputs, `(batch, units)` each.
        head: The layer that makes the logits, with `kernel` and `bias`.
    """

    model: keras.Model
    body: keras.Model
    carry: keras.Model
    head: layers.Layer

    @cached_property
    def scorer(self) -> keras.Model:
        """Scores tokens; see `scoring_model`."""
        return scoring_model(self)


def build_language_model(
    vocabulary: int,
    embedding: int,
    recurrent_layers: list[layers.RNN],
    *,
    tied: bool = False,
    dropout: float = 0.0,
    mask_padding: bool = False,
) -> LanguageModel:
    """Put a next-word model together.

    Args:
        vocabulary: Number of ids.
        embedding: Size of a word's vector.
        recurrent_layers: The first first; layers that return sequences and states.
        tied: Whether embedding and logits share their weights; the last recurrent
            layer then has `embedding` units.
        dropout: Share of the units to drop between the layers, by one mask for all
            steps of a sequence (Gal & Ghahramani, "A Theoretically Grounded Application
            of Dropout in Recurrent Neural Networks", NeurIPS 2016).
        mask_padding: Skip padding; needed where it stands before the words.

    Raises:
        ValueError: `tied`, and the last layer's units are not `embedding`.
    """
    units = [layer.units for layer in recurrent_layers]
    if tied and units[-1] != embedding:
        raise ValueError(
            "expected tied weights to have as many units in the last layer as in the "
            f"embedding, {embedding}; received {units[-1]}"
        )
    make = TiedEmbedding if tied else layers.Embedding
    chain = [
        make(
            vocabulary,
            embedding,
            # As wide as Zaremba et al. make it ("Recurrent Neural Network
            # Regularization", 2014), twice Keras's default.
            embeddings_initializer=keras.initializers.RandomUniform(-0.1, 0.1),
            mask_zero=mask_padding,
            name="embedding",
        )
    ]
    for layer in recurrent_layers:
        chain += [*_drop(dropout), layer]
    chain += _drop(dropout)
    ids = keras.Input((None,), dtype="int32", name="ids")
    hidden = ids
    for layer in chain:
        hidden = layer(hidden)
        if isinstance(layer, layers.RNN):
            hidden = hidden[0]
    if tied:
        head, logits = chain[0], chain[0](hidden, reverse=True)
    else:
        head = layers.Dense(vocabulary, name="logits")
        logits = head(hidden)
    model, body = keras.Model(ids, logits), keras.Model(ids, hidden)
    return LanguageModel(model, body, carry_states(chain), head)


def _drop(rate: float) -> list[layers.Layer]:
    """A layer with one mask for all steps, or none."""
    return [layers.Dropout(rate, noise_shape=(None, 1, None))] if rate else []


def carry_states(chain: list[layers.Layer]) -> keras.Model:
    """Return a model of the layers that is given its states and gives them back.

    Inputs: ids `(batch, time)`, and for each recurrent layer its states before the
    first step, `(batch, units)` each. Outputs: the hidden states of the last layer
    `(batch, time, units)`, and all states after the last step.
    """
    ids = keras.Input((None,), dtype="int32", name="ids")
    hidden, before, after = ids, [], []
    for layer in chain:
        if isinstance(layer, layers.RNN):
            sizes = np.atleast_1d(layer.state_size)
            states = [keras.Input((int(size),)) for size in sizes]
            hidden, *new_states = layer(hidden, initial_state=states)
            before += states
            after += new_states
        else:
            hidden = layer(hidden)
    return keras.Model([ids, *before], [hidden, *after])


def zero_states(carry: keras.Model, batch_size: int) -> list[np.ndarray]:
    """Return the states before the first step of a text, for `carry_states`."""
    return [
        np.zeros((batch_size, state.shape[-1]), np.float32)
        for state in carry.inputs[1:]
    ]


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

    def result(self) -> Any:
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
        streams: How many texts are read in parallel, row by row of the batches, each
            batch going on with the states in which the one before ended, until
            `reset_states()`; `None`: every row is a text of its own.
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
        # Weights of this model: the states of stateful layers Keras loses on JAX.
        self.carried = [
            self.add_weight(shape=state.shape, initializer="zeros", trainable=False)
            for state in (zero_states(parts.carry, streams) if streams else [])
        ]
        vocabulary = parts.model.output_shape[-1]
        self.samples = samples if samples and samples < vocabulary else None
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.perplexity = Perplexity(name="perplexity")

    def call(self, ids: Any, training: bool = False) -> Any:
        """Return the hidden states, and carry the last ones to the next batch."""
        if not self.carried:
            return self.body(ids, training=training)
        # The loop over time wants to know that there are as many rows as states.
        ids = ops.reshape(ids, (self.carried[0].shape[0], -1))
        # Copies: torch would find the states changed that its gradients need.
        before = [ops.copy(variable) for variable in self.carried]
        hidden, *states = self.body([ids, *before], training=training)
        for variable, state in zip(self.carried, states, strict=True):
            variable.assign(state)
        return hidden

    def reset_states(self) -> None:
        """Begin the texts anew, with states of zero."""
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

    def call(self, hidden: Any, targets: Any) -> Any:
        """Return `(batch, time, 3)`."""
        shape = ops.shape(targets)
        scores = score_tokens(
            *_flat(hidden, self.head), ops.cast(ops.reshape(targets, (-1,)), "int32")
        )
        return ops.reshape(scores, (*shape, 3))


def scoring_model(parts: LanguageModel) -> keras.Model:
    """Return a model that scores tokens.

    Inputs: ids and targets `(batch, time)`, and states as of `carry_states`. Outputs:
    `losses.score_tokens` of them, `(batch, time, 3)`, and the new states.
    """
    targets = keras.Input((None,), dtype="int32")
    ids, *before = parts.carry.inputs
    hidden, *after = parts.carry.outputs
    scores = TokenScorer(parts.head)(hidden, targets)
    return keras.Model([ids, targets, *before], [scores, *after])


def _flat(hidden: Any, head: layers.Layer) -> tuple[Any, Any, Any]:
    """Hidden states as `(tokens, units)`, and the weights, all in one dtype."""
    kernel, bias = ops.convert_to_tensor(head.kernel), ops.convert_to_tensor(head.bias)
    hidden = ops.reshape(hidden, (-1, hidden.shape[-1]))
    return ops.cast(hidden, kernel.dtype), kernel, bias
