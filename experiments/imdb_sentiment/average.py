"""The mean of the log odds of several trained models, as a model of its own."""

from collections.abc import Sequence

import keras
import numpy as np

from experiments.common.fit import Fit
from experiments.common.trained_run import open_run
from experiments.imdb_sentiment.settings import EXPERIMENT, Settings
from experiments.imdb_sentiment.train import Trained, evaluated, examples
from lstm_keras.datasets import Reviews
from lstm_keras.runs import SentimentRun


def members(settings: Settings) -> list[SentimentRun]:
    """Open the runs to average.

    Raises:
        ValueError: Their vocabularies differ.
    """
    runs = [open_run(path, EXPERIMENT.name) for path in settings.members]
    if len({run.vocabulary.words for run in runs}) > 1:
        raise ValueError(
            "expected runs of the same vocabulary in --average; received "
            f"{' and '.join(map(repr, runs))}"
        )
    return runs


def averaged(
    settings: Settings, runs: Sequence[SentimentRun], reviews: Reviews
) -> Trained:
    """Evaluate the mean of the runs' log odds; nothing is trained.

    It is computed by one Dense layer on the features of all models, with a part of each
    one's weights.
    """
    ids = keras.Input(runs[0].model.input_shape[1:], dtype="int32", name="ids")
    copies = [copied(run.model, ids, f"_{i}") for i, run in enumerate(runs, start=1)]
    heads = [copy.layers[-1] for copy in copies]
    head = keras.layers.Dense(1, activation="sigmoid", dtype="float32")
    model = keras.Model(ids, head(keras.layers.Concatenate()([h.input for h in heads])))
    kernels, biases = zip(*(one.get_weights() for one in heads), strict=True)
    head.set_weights([np.concatenate(kernels) / len(heads), np.mean(biases, axis=0)])
    size = len(reviews.vocabulary)
    train, test = (examples(split, size) for split in (reviews.train, reviews.test))
    name, none = f"mean of {len(runs)} models", Fit({}, 0, False, 0.0)
    return evaluated(settings, name, model, none, train, test, settings.seed)


def copied(model: keras.Model, ids: keras.KerasTensor, ending: str) -> keras.Model:
    """Return a copy of a model on other inputs, with another ending of its names."""

    def renamed(layer):
        config = layer.get_config()
        return type(layer).from_config(config | {"name": layer.name + ending})

    copy = keras.models.clone_model(model, input_tensors=ids, clone_function=renamed)
    copy.set_weights(model.get_weights())
    return copy
