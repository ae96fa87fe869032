"""The sentiment model: embedding, recurrent layers, pooling, probability."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import layers

from experiments.common.layers import recurrent_layer
from experiments.imdb_sentiment.settings import Settings
from lstm_keras.pooling import InputOrder, MaskedMaxPooling1D
from lstm_keras.preprocessing import END, START
from lstm_keras.runs import NextWordRun


def build_model(
    settings: Settings, input_dim: int, pretrained: Sequence[NextWordRun] = ()
) -> keras.Model:
    """Return the model: ids (batch, time) int32 to probability (batch, 1).

    With language models each is a tower of its own, and begins with their weights.
    """
    # A mask lets a batch be as long as its longest review.
    time = None if settings.mask_padding else settings.maxlen
    ids = keras.Input((time,), dtype="int32", name="ids")
    towers = [tower(ids, settings, input_dim, run) for run in pretrained or (None,)]
    features = towers[0] if len(towers) == 1 else layers.Concatenate()(towers)
    if settings.dropout:
        features = layers.Dropout(settings.dropout)(features)
    # The probability has full precision under every dtype policy.
    head = layers.Dense(1, activation="sigmoid", dtype="float32")
    return keras.Model(ids, head(features))


def tower(
    ids: keras.KerasTensor, settings: Settings, input_dim: int, run: NextWordRun | None
) -> keras.KerasTensor:
    """Return the features of the texts `ids`, (batch, features)."""
    size = run.model.get_layer("embedding").output_dim if run else settings.embedding
    embedding = layers.Embedding(
        input_dim, size, mask_zero=settings.mask_padding, name=name_in_tower(run, 0)
    )
    hidden = embedding(ids)
    if run:
        embedding.set_weights([word_vectors(run)])
    if settings.word_dropout:  # one draw for each word vector
        drop = layers.Dropout(settings.word_dropout, noise_shape=(None, None, 1))
        hidden = drop(hidden)
    if settings.embedding_dropout:
        hidden = layers.Dropout(settings.embedding_dropout)(hidden)
    chain = recurrent_layers(settings, run)
    for layer in chain:
        results = layer(hidden)
        hidden, *states = results if isinstance(results, list | tuple) else [results]
        if getattr(layer, "go_backwards", False) and layer.return_sequences:
            hidden = InputOrder()(hidden)
    for layer, given in zip(chain, pretrained_layers(run), strict=False):
        layer.set_weights(given.get_weights())
    if settings.pooling == "last":
        return hidden
    return pooled(settings, hidden, states)


def recurrent_layers(settings: Settings, run: NextWordRun | None) -> list[layers.Layer]:
    """Return the recurrent layers; the last gives its states too, for pooling."""
    make = recurrent_layer(settings.layer, settings.engine, settings.jit)
    sizes = [layer.units for layer in pretrained_layers(run)]
    sizes = sizes or [settings.units] * settings.layers
    pools = settings.pooling != "last"
    chain = [
        make(
            units,
            return_sequences=pools or depth < len(sizes),
            return_state=pools and depth == len(sizes),
            recurrent_dropout=settings.recurrent_dropout,
            go_backwards=bool(run and run.backwards),
            name=name_in_tower(run, depth),
        )
        for depth, units in enumerate(sizes, start=1)
    ]
    return [*map(layers.Bidirectional, chain)] if settings.bidirectional else chain


def name_in_tower(run: NextWordRun | None, depth: int) -> str | None:
    """Return the name of a pretrained layer; 0 is the depth of the embedding."""
    if run is None:
        return None
    return f"{'backwards' if run.backwards else 'forwards'}_{depth}"


def pretrained_layers(run: NextWordRun | None) -> list[layers.RNN]:
    """Return the recurrent layers of a language model, in order; of none, none."""
    found = run.model.layers if run else []
    return [layer for layer in found if isinstance(layer, layers.RNN)]


def word_vectors(run: NextWordRun) -> np.ndarray:
    """Return the vectors of a language model, (ids, size).

    In its text a review follows the end of another: that stands for the start.
    """
    vectors = run.model.get_layer("embedding").get_weights()[0]
    vectors[START] = vectors[END]
    return vectors


def pooled(
    settings: Settings, outputs: keras.KerasTensor, states: Sequence[keras.KerasTensor]
) -> keras.KerasTensor:
    """Return one vector for each text, from all outputs and the last states."""
    parts = []
    if "last" in settings.pooling:  # the hidden state of each direction
        parts += states[:: len(states) // (2 if settings.bidirectional else 1)]
    if "mean" in settings.pooling:
        parts.append(layers.GlobalAveragePooling1D()(outputs))
    if "max" in settings.pooling:
        parts.append(MaskedMaxPooling1D()(outputs))
    return parts[0] if len(parts) == 1 else layers.Concatenate()(parts)
