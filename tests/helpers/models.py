"""Models to look into, and what must not change when somebody does."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
from keras import layers

import lstm_keras
from lstm_keras.interpret.hooks import layers_within
from lstm_keras.preprocessing import Vocabulary
from tests.helpers.equality import UNITS, randomize_weights

# All steps; the end padded; the beginning; holes; nothing at all.
MASK = np.array(
    [
        [1, 1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 0, 0, 0],
        [0, 0, 0, 1, 1, 1, 1],
        [0, 1, 0, 0, 1, 1, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ],
    bool,
)


class Block(layers.Layer):
    """A layer, no model, with layers in a list and in a dictionary."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = [lstm_keras.LSTM(UNITS, return_sequences=True, name="a")]
        self.then = {"b": layers.Bidirectional(layers.LSTM(UNITS), name="b")}

    def call(self, inputs):
        return self.then["b"](self.first[0](inputs))


class SameNames(keras.Model):
    """What only a subclassed model can have: two layers of one name."""

    def __init__(self):
        super().__init__()
        self.one = layers.LSTM(UNITS, return_sequences=True, name="same")
        self.other = layers.LSTM(UNITS + 1, name="same")

    def call(self, inputs):
        return self.other(self.one(inputs))


class ChangedCell(lstm_keras.LSTMCell):
    """A subclass may compute something else."""


def write_untrained_run(folder, words, maxlen):
    """Write the part of a sentiment run that `load_run` reads; nothing is trained."""
    vocabulary = Vocabulary(words.split())
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((maxlen,), dtype="int32"),
            layers.Embedding(len(vocabulary), 8, embeddings_initializer="normal"),
            lstm_keras.LSTM(5),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    folder.mkdir()
    model.save(folder / "model.keras")
    vocabulary.save(folder / "vocabulary.json")
    (folder / "config.json").write_text(json.dumps({"maxlen": maxlen}))
    return folder


def masks_to_ids(mask, words=20, seed=0):
    """Random ids that are 0, as `Embedding(mask_zero=True)` masks, where mask is 0."""
    ids = np.random.default_rng(seed).integers(1, words, mask.shape)
    return np.where(mask, ids, 0).astype("int32")


def vectors_of(model, ids):
    """What the model's embedding makes of ids."""
    (embedding,) = (e for e in model.layers if isinstance(e, layers.Embedding))
    return embedding.get_weights()[0][ids]


def attributes(model):
    """All that hangs on the layers of a model, to compare before and after."""
    every = [model, *(layer for _, layer in layers_within(model))]
    return [dict(vars(layer)) for layer in every]


def assert_same_attributes(before, after):
    """Check that every attribute is the very same object."""
    for old, new in zip(before, after, strict=True):
        assert old.keys() == new.keys()
        for name in old.keys() - {"_called"}:  # Keras notes that a layer was called
            assert old[name] is new[name], name


def in_threads(*functions):
    """Call functions at the same time, each five times; return what they return."""
    start = threading.Barrier(len(functions))

    def run(function):
        start.wait(timeout=60)
        return [function() for _ in range(5)]

    with ThreadPoolExecutor(len(functions)) as pool:
        return [*pool.map(run, functions, timeout=120)]


def write_language_run(folder, split="lines", backwards=False):
    """Write what `load_run` reads of a next-word run; nothing is trained."""
    vocabulary = Vocabulary("the cat sat on a mat .".split(), "text")
    recurrent = [
        lstm_keras.LSTM(8, return_sequences=True, return_state=True, name=name)
        for name in ("first", "second")
    ]
    model = lstm_keras.language_model.build_language_model(
        len(vocabulary), 8, recurrent, tied=True
    ).model
    randomize_weights(model)
    folder.mkdir()
    model.save(folder / "model.keras")
    vocabulary.save(folder / "vocabulary.json")
    config = {"experiment": "next_word", "split": split, "backwards": backwards}
    (folder / "config.json").write_text(json.dumps(config))
    return folder
