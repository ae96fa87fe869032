"""Which recurrent layer an experiment runs: ours, on an engine, or one of Keras's."""

from collections.abc import Callable
from functools import partial

from experiments.runner import option

LAYERS = ("custom", "builtin", "gru", "simple_rnn")
MOST_UNITS = 65_536  # beyond it no computer holds the weights
ENGINES = ("auto", "loop", "cudnn", "xla", "aten", "scan")  # lstm_keras.engines.NAMES


def layer_option():
    """Declare `--layer`, a field of an experiment's settings."""
    return option(
        "custom",
        "custom: lstm_keras.LSTM; the others are Keras's own",
        group="model",
        choices=LAYERS,
    )


def engine_option():
    """Declare `--engine`, likewise."""
    return option(
        "auto",
        "what computes the custom layer (Keras's choose for themselves): auto, the "
        "fastest that can; loop, the cell step by step; or an engine by name, each of "
        "one backend",
        group="speed",
        choices=ENGINES,
    )


def jit_option():
    """Declare `--jit`, likewise."""
    return option(
        False,
        "compile the training step with XLA; on TensorFlow the custom layer is then "
        "the loop, since the engine works outside of such a program",
        group="speed",
    )


def recurrent_layer(settings) -> Callable:
    """Return what makes the layer of an experiment's settings.

    Args:
        settings: With `layer`, `engine` and `jit`.

    Raises:
        ValueError: These do not go together.
    """
    import keras

    import lstm_keras

    if settings.layer != "custom":
        if settings.engine not in ("auto", "loop"):  # a recipe may ask for the loop
            raise ValueError(
                "expected --engine with --layer custom; received --engine "
                f"{settings.engine} with --layer {settings.layer}"
            )
        return {
            "builtin": keras.layers.LSTM,
            "gru": keras.layers.GRU,
            "simple_rnn": keras.layers.SimpleRNN,
        }[settings.layer]
    engine = settings.engine
    if settings.jit and keras.backend.backend() == "tensorflow":
        if engine not in ("auto", "loop"):
            raise ValueError(
                f"expected --jit with --engine loop; received --engine {engine}"
            )
        engine = "loop"
    return partial(lstm_keras.LSTM, engine=engine)


def engine(settings) -> dict:
    """Return which layer computes the numbers, on which path, and why on no other.

    Args:
        settings: See `recurrent_layer`; with `recurrent_dropout`, too.
    """
    make = recurrent_layer(settings)
    if settings.layer != "custom":
        return {"layer": layer_name(settings), "path": "chosen by Keras"}
    layer = make(1, recurrent_dropout=settings.recurrent_dropout, name="asked")
    facts = {"layer": layer_name(settings)}
    for kind in ("training", "prediction"):
        choice = layer.explain_engine(training=kind == "training")
        facts[kind] = choice.engine
        facts[f"passed over in {kind}"] = "; ".join(
            f"{name}: {why}" for name, why in choice.passed_over.items()
        )
    return facts


def described(facts: dict) -> str:
    """Return what `engine` found in one line."""
    paths = [
        facts[kind] for kind in ("path", "training", "prediction") if kind in facts
    ]
    return f"Layer: {facts['layer']}, path: {' / '.join(dict.fromkeys(paths))}"


def layer_name(settings) -> str:
    """Return the layer's name as Python has it."""
    if settings.layer == "custom":
        return "lstm_keras.LSTM"
    return f"keras.layers.{recurrent_layer(settings).__name__}"
