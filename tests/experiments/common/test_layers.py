"""`--layer`, `--engine` and `--jit` give the layers that they name."""

import keras
import pytest

from experiments.common import layers, settings
from lstm_keras import LSTM, engines
from tests.helpers.equality import BACKEND, ENGINES, HAS_CUDNN


def test_the_engines_to_choose_from_are_those_of_the_layer():
    assert sorted(settings.ENGINES) == sorted(engines.NAMES)


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
    assert type(layers.recurrent_layer(layer)(3)) is kind
    facts = layers.engine_facts(layer)
    assert facts["layer"] == layers.layer_name(layer)
    assert facts["layer"].endswith(f".{kind.__name__}")
    assert layers.described(facts).startswith(f"Layer: {facts['layer']}, engine: ")


@pytest.mark.parametrize("engine", ["loop", *ENGINES])
def test_the_engine_is_that_of_the_layer(engine):
    assert layers.recurrent_layer("custom", engine)(3).engine == engine


def test_the_engines_of_training_and_prediction_are_named_with_the_reasons():
    facts = layers.engine_facts("custom", recurrent_dropout=0.2)
    # torch's operator can't drop the hidden state.
    training = "loop" if BACKEND == "torch" else ENGINES[0]
    assert (facts["training"], facts["prediction"]) == (training, ENGINES[0])
    if not HAS_CUDNN:
        assert "cudnn: it " in facts["passed over in prediction"]
    both = " / ".join(dict.fromkeys((training, ENGINES[0])))
    assert layers.described(facts).endswith(f"engine: {both}")


@pytest.mark.skipif(BACKEND != "tensorflow", reason="how TensorFlow compiles")
def test_a_compiled_training_step_uses_the_loop():
    assert layers.recurrent_layer("custom", jit=True)(3).engine == "loop"


def test_a_saved_model_chooses_its_engines_anew(tmp_path):
    chain = [
        keras.layers.Bidirectional(LSTM(3, engine="loop", return_sequences=True)),
        LSTM(2, engine="loop"),
    ]
    layers.save(keras.Sequential([keras.Input((4, 2)), *chain]), tmp_path / "m.keras")
    both, last = keras.models.load_model(tmp_path / "m.keras").layers
    for layer in (both.forward_layer, both.backward_layer, last):
        assert layer.engine == "auto"


def test_a_recipe_that_asks_for_the_loop_serves_every_layer():
    facts = layers.engine_facts("builtin", "loop")
    assert facts == {"layer": "keras.layers.LSTM", "path": "chosen by Keras"}
