"""`--layer`, `--engine` and `--jit` mean the layers that they say."""

from types import SimpleNamespace

import keras
import pytest

from experiments import recurrent
from lstm_keras import LSTM, engines
from tests.helpers.equality import BACKEND, ENGINES, HAS_CUDNN


def settings(**changes):
    defaults = {
        "layer": "custom",
        "engine": "auto",
        "jit": False,
        "recurrent_dropout": 0.0,
    }
    return SimpleNamespace(**{**defaults, **changes})


def test_the_engines_to_choose_from_are_those_of_the_layer():
    assert sorted(recurrent.ENGINES) == sorted(engines.NAMES)


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        ("custom", LSTM),
        ("builtin", keras.layers.LSTM),
        ("gru", keras.layers.GRU),
        ("simple_rnn", keras.layers.SimpleRNN),
    ],
)
def test_each_layer_is_made_by_its_name(layer, kind):
    chosen = settings(layer=layer)
    assert type(recurrent.recurrent_layer(chosen)(3)) is kind
    facts = recurrent.engine(chosen)
    assert facts["layer"].endswith(f".{kind.__name__}")
    assert recurrent.described(facts).startswith(f"Layer: {facts['layer']}, path: ")


@pytest.mark.parametrize("engine", ["loop", *ENGINES])
def test_the_engine_is_that_of_the_layer(engine):
    assert recurrent.recurrent_layer(settings(engine=engine))(3).engine == engine


def test_the_paths_of_training_and_prediction_are_told_with_the_reasons():
    facts = recurrent.engine(settings(recurrent_dropout=0.2))
    # torch's operator can't drop the hidden state.
    training = "loop" if BACKEND == "torch" else ENGINES[0]
    assert (facts["training"], facts["prediction"]) == (training, ENGINES[0])
    if not HAS_CUDNN:
        assert "cudnn: it " in facts["passed over in prediction"]
    path = " / ".join(dict.fromkeys((training, ENGINES[0])))
    assert recurrent.described(facts).endswith(f"path: {path}")


@pytest.mark.skipif(BACKEND != "tensorflow", reason="how TensorFlow compiles")
def test_a_compiled_training_step_takes_the_loop():
    assert recurrent.recurrent_layer(settings(jit=True))(3).engine == "loop"
    with pytest.raises(ValueError, match="expected --jit with --engine loop; received"):
        recurrent.recurrent_layer(settings(jit=True, engine="xla"))


def test_an_engine_goes_with_our_layer_alone():
    with pytest.raises(ValueError, match="expected --engine with --layer custom"):
        recurrent.engine(settings(layer="gru", engine="xla"))


def test_a_recipe_that_takes_the_loop_serves_every_layer():
    facts = recurrent.engine(settings(layer="builtin", engine="loop"))
    assert facts == {"layer": "keras.layers.LSTM", "path": "chosen by Keras"}
