"""A next-word model: embedding, recurrent layers, logits.

It is a plain Keras model from ids to logits. `LanguageModelTrainer` and `score` share
its layers and never hold the logits of all tokens at once.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from lstm_keras.language_model.losses import score_tokens


@keras.saving.register_keras_serializable(package="lstm_keras")
class TiedEmbedding(layers.ReversibleEmbedding):
    """An embedding that shares its weights with the logits, which have a bias.

    `layer(ids)` gives vectors `(…, output_dim)`; `layer(hidden, reverse=True)` gives
    logits `hidden @ embeddings.T + bias`, `(…, input_dim)`. Source: Press & Wolf,
    "Using the Output Embedding to Improve Language Models", EACL 2017.

    It takes the arguments of `keras.layers.ReversibleEmbedding`, of which `input_dim`
    is the number of ids and `output_dim` the size of a vector.
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

    # Keras's Embedding would save only one weight.
    save_own_variables = layers.Layer.save_own_variables
    load_own_variables = layers.Layer.load_own_variables

    @property
    def kernel(self) -> Any:
        """The logits' weights `(output_dim, input_dim)`."""
        return ops.transpose(self.embeddings)


@dataclass(frozen=True)
class LanguageModel:
    """The parts of a next-word model, which share their layers.

    Attributes:
        model: Maps ids `(batch, time)` int32 to logits `(batch, time, vocabulary)`.
        body: The same up to the hidden states `(batch, time, units)`.
        carry: `body` with the recurrent layers' initial states as additional inputs,
            and their final states as additional outputs, `(batch, units)` each.
        head: The layer that computes the logits, with `kernel` and `bias`.
    """

    model: keras.Model
    body: keras.Model
    carry: keras.Model
    head: layers.Layer

    @cached_property
    def scorer(self) -> keras.Model:
        """The model's `scoring_model`."""
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
    """Build a next-word model.

    Args:
        vocabulary: Number of ids.
        embedding: Size of a word's vector.
        recurrent_layers: Layers that return sequences and states, in order.
        tied: Whether embedding and logits share their weights; the last recurrent
            layer then needs `embedding` units.
        dropout: Fraction of the units to drop between the layers, by one mask for all
            steps of a sequence (Gal & Ghahramani, "A Theoretically Grounded Application
            of Dropout in Recurrent Neural Networks", NeurIPS 2016).
        mask_padding: Skip padding; needed if it precedes the words.

    Raises:
        ValueError: `tied`, and the last layer's units are not `embedding`.
    """
    if tied and (units := recurrent_layers[-1].units) != embedding:
        raise ValueError(
            "expected tied weights with the embedding's size as units of the last "
            f"layer, {embedding}; received {units}"
        )
    embedding_class = TiedEmbedding if tied else layers.Embedding
    chain = [
        embedding_class(
            vocabulary,
            embedding,
            # The range of Zaremba et al. ("Recurrent Neural Network Regularization",
            # 2014), twice Keras's default.
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
    """Return a list of a dropout layer with one mask for all steps, or of none."""
    return [layers.Dropout(rate, noise_shape=(None, 1, None))] if rate else []


def carry_states(chain: list[layers.Layer]) -> keras.Model:
    """Return a model of the layers that takes states as inputs and returns them.

    Inputs: ids `(batch, time)`, and each recurrent layer's initial states, `(batch,
    units)` each. Outputs: the hidden states of the last layer `(batch, time, units)`,
    and all final states.
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
    """Return the initial states of a text, for a model of `carry_states`."""
    return [
        np.zeros((batch_size, state.shape[-1]), np.float32)
        for state in carry.inputs[1:]
    ]


class TokenScorer(layers.Layer):
    """`losses.score_tokens` as a layer on `(hidden, targets)`."""

    def __init__(self, head: layers.Layer):
        super().__init__()
        self.head = head
        self.supports_masking = True  # masked steps are scored as well

    def call(self, hidden: Any, targets: Any) -> Any:
        """Return `(batch, time, 3)`."""
        shape = ops.shape(targets)
        scores = score_tokens(
            *flatten_hidden(hidden, self.head),
            ops.cast(ops.reshape(targets, (-1,)), "int32"),
        )
        return ops.reshape(scores, (*shape, 3))


def scoring_model(parts: LanguageModel) -> keras.Model:
    """Return a model that scores tokens.

    Inputs: ids and targets `(batch, time)`, and states as in `carry_states`. Outputs:
    their `losses.score_tokens`, `(batch, time, 3)`, and the new states.
    """
    targets = keras.Input((None,), dtype="int32")
    ids, *before = parts.carry.inputs
    hidden, *after = parts.carry.outputs
    scores = TokenScorer(parts.head)(hidden, targets)
    return keras.Model([ids, targets, *before], [scores, *after])


def flatten_hidden(hidden: Any, head: layers.Layer) -> tuple[Any, Any, Any]:
    """Return hidden states `(tokens, units)`, kernel and bias, all in one dtype."""
    kernel, bias = ops.convert_to_tensor(head.kernel), ops.convert_to_tensor(head.bias)
    hidden = ops.reshape(hidden, (-1, hidden.shape[-1]))
    return ops.cast(hidden, kernel.dtype), kernel, bias
