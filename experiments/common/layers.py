"""The recurrent layer of an experiment's settings, and its engine."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import keras

import lstm_keras
from lstm_keras.interpret.hooks import layers_within

_OF_KERAS = {
    "builtin": keras.layers.LSTM,
    "gru": keras.layers.GRU,
    "simple_rnn": keras.layers.SimpleRNN,
}


def recurrent_layer(layer: str, engine: str = "auto", jit: bool = False) -> Callable:
    """Return the constructor of a layer: its class, or a partial of it.

    Args:
        layer: One of `settings.LAYERS`.
        engine: One of `settings.ENGINES`, for the custom layer.
        jit: Whether the training step is compiled with XLA, on TensorFlow with the
            engine loop.
    """
    if layer != "custom":
        return _OF_KERAS[layer]
    if jit and keras.backend.backend() == "tensorflow":
        engine = "loop"
    return partial(lstm_keras.LSTM, engine=engine)


def let_choose_engines(model: keras.Model) -> None:
    """Let the layers choose their engines again, whatever computed the training."""
    for _, layer in layers_within(model):
        if isinstance(layer, lstm_keras.LSTM):
            layer.engine = "auto"


def save(model: keras.Model, path: Path) -> None:
    """Save a model; what computed the training is no property of it."""
    let_choose_engines(model)
    model.save(path)


def engine_facts(
    layer: str,
    engine: str = "auto",
    jit: bool = False,
    recurrent_dropout: float = 0.0,
) -> dict:
    """Return the layer's name, its engines, and why others were passed over.

    For the arguments see `recurrent_layer`; not every engine has recurrent dropout.
    """
    make = recurrent_layer(layer, engine, jit)
    facts = {"layer": layer_name(layer)}
    if layer != "custom":
        return facts | {"path": "chosen by Keras"}
    # A name of its own leaves the numbering of the model's layers as it is.
    probe = make(1, recurrent_dropout=recurrent_dropout, name="probe")
    for kind in ("training", "prediction"):
        choice = probe.explain_engine(training=kind == "training")
        facts[kind] = choice.engine
        facts[f"passed over in {kind}"] = "; ".join(
            f"{name}: {why}" for name, why in choice.passed_over.items()
        )
    return facts


def described(facts: dict) -> str:
    """Return the result of `engine_facts` as one line."""
    paths = [
        facts[kind] for kind in ("path", "training", "prediction") if kind in facts
    ]
    return f"Layer: {facts['layer']}, engine: {' / '.join(dict.fromkeys(paths))}"


def layer_name(layer: str) -> str:
    """Return the full name of a layer's class."""
    if layer == "custom":
        return "lstm_keras.LSTM"
    return f"keras.layers.{_OF_KERAS[layer].__name__}"
