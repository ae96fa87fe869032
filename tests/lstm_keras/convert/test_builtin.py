"""An exchanged model is held against the model that it was made from."""

import json

import keras
import numpy as np
import pytest
from keras import layers, ops

import lstm_keras
from lstm_keras.convert.builtin import to_builtin, to_custom
from tests.helpers.arguments import NOT_DEFAULT_OF_CELL, NOT_DEFAULT_OF_LAYER
from tests.helpers.equality import (
    BACKEND,
    BATCH,
    FEATURES,
    TIME,
    UNITS,
    assert_all_close,
    normal,
    randomize_weights,
    to_numpy,
)
from tests.helpers.pairwise import first_of

SCALE = 3.0  # what a lambda finds in its globals


class Doubled(layers.Wrapper):
    """A wrapper that Keras does not know."""

    def call(self, inputs):
        return 2 * self.layer(inputs)


class Tagger(keras.Model):
    """A model of a class of its own, its LSTM an argument."""

    def __init__(self, recurrent, **kwargs):
        super().__init__(**kwargs)
        self.recurrent = recurrent
        self.dense = layers.Dense(2)

    def call(self, inputs):
        return self.dense(self.recurrent(inputs))

    def get_config(self):
        recurrent = keras.saving.serialize_keras_object(self.recurrent)
        return {**super().get_config(), "recurrent": recurrent}

    @classmethod
    def from_config(cls, config):
        recurrent = keras.saving.deserialize_keras_object(config.pop("recurrent"))
        return cls(recurrent, **config)


# Models of Keras's layers.


def in_sequence(*model_layers, shape=(TIME, FEATURES), **input_arguments):
    return keras.Sequential([keras.Input(shape, **input_arguments), *model_layers])


def lstm(units=UNITS, **arguments):
    return layers.LSTM(units, return_sequences=True, **arguments)


def shared():
    layer = layers.LSTM(UNITS)
    first, second = keras.Input((TIME, FEATURES)), keras.Input((TIME, FEATURES))
    difference = layer(first) - layer(second)
    return keras.Model([first, second], [difference, ops.tanh(layer(2 * second))])


def encoder_and_decoder():
    source = keras.Input((TIME, FEATURES), name="source")
    target = keras.Input((2, FEATURES), name="target")
    _, h, c = layers.LSTM(UNITS, return_state=True)(source)
    decoded = lstm()(target, initial_state=[h, c])
    return keras.Model({"source": source, "target": target}, {"decoded": decoded})


def relu(x):
    """Not Keras's."""
    return ops.tanh(-x)


def halved(x):
    return x / 2


def halves(shape, dtype=None):
    return ops.full(shape, 0.5, dtype=dtype)


def functions():
    factor = 2
    return in_sequence(
        layers.LSTM(UNITS, activation=relu, recurrent_activation="hard_sigmoid"),
        layers.Lambda(lambda x: factor * ops.tanh(SCALE * x), output_shape=(UNITS,)),
        layers.Lambda(halved),
        layers.Dense(2, activation="relu", kernel_initializer=halves),
    )


def called(model):
    model(np.zeros((BATCH, TIME, FEATURES), "float32"))
    return model


def submodel_called_twice():
    inputs, tower = keras.Input((TIME, FEATURES)), in_sequence(layers.LSTM(UNITS))
    return keras.Model(inputs, tower(inputs) * tower(2 * inputs))


def submodels_with_layers_of_the_same_names():
    def tower(name, factor):
        scale = layers.Lambda(lambda x: factor * x, name="scale")
        chain = [keras.Input((TIME, FEATURES)), layers.LSTM(UNITS, name="lstm"), scale]
        return keras.Sequential(chain, name=name)

    inputs = keras.Input((TIME, FEATURES))
    return keras.Model(inputs, tower("a", 2)(inputs) + tower("b", 5)(inputs))


MODELS = {
    "bidirectional": lambda: in_sequence(
        layers.Bidirectional(lstm(), "sum"),
        layers.Bidirectional(
            layers.LSTM(3, name="there"),
            backward_layer=layers.LSTM(
                2, activation="softsign", go_backwards=True, name="back_again"
            ),
        ),
    ),
    "cells": lambda: in_sequence(
        layers.RNN(
            [layers.LSTMCell(UNITS), layers.GRUCell(4), layers.LSTMCell(3)],
            return_sequences=True,
        ),
        layers.Bidirectional(layers.RNN(layers.LSTMCell(2, name="small"))),
    ),
    "time distributed": lambda: in_sequence(
        layers.TimeDistributed(in_sequence(lstm(3), layers.LSTM(2))),
        layers.LSTM(3),
        shape=(2, TIME, FEATURES),
    ),
    "nested": lambda: in_sequence(
        in_sequence(in_sequence(lstm(), layers.Dense(3)), layers.LSTM(4)),
        layers.Dense(2),
    ),
    "functions": functions,
    "a wrapper of one's own": lambda: in_sequence(Doubled(layers.LSTM(UNITS))),
    "a class of one's own": lambda: called(
        Tagger(layers.Bidirectional(layers.LSTM(UNITS)), name="tagger")
    ),
}
OTHERS = {
    "sequential": lambda: in_sequence(
        lstm(unroll=True),
        layers.LSTM(4, go_backwards=True, use_bias=False),
        layers.Dense(2),
    ),
    "masked": lambda: in_sequence(
        layers.Masking(),
        layers.Bidirectional(lstm()),
        lstm(3, zero_output_for_mask=True),
        layers.LSTM(2),
    ),
    "shared": shared,
    "encoder and decoder": encoder_and_decoder,
    "other recurrent layers": lambda: in_sequence(
        layers.ConvLSTM1D(2, 2),
        layers.GRU(3, return_sequences=True),
        layers.LSTM(2),
        shape=(TIME, FEATURES, 1),
    ),
    "half precision": lambda: in_sequence(layers.LSTM(UNITS, dtype="mixed_bfloat16")),
    "a submodel called twice": submodel_called_twice,
    "layers of the same names": submodels_with_layers_of_the_same_names,
}
WITH_LAMBDAS = ("functions", "layers of the same names")
every_model = pytest.mark.parametrize(
    "name", [*MODELS, *(pytest.param(n, marks=pytest.mark.thorough) for n in OTHERS)]
)


def with_random_weights(model):
    randomize_weights(model)
    return model


def inputs_for(model):
    """Random inputs; where there is a mask, some steps of them are masked."""
    if isinstance(model, Tagger):
        return normal(BATCH, TIME, FEATURES)

    def random(tensor):
        batch, *shape = tensor.shape
        inputs = normal(batch or BATCH, *shape)
        inputs[0, -2:] = inputs[1, 0] = 0
        return inputs

    structure = model.inputs if isinstance(model, keras.Sequential) else model.input
    inputs = keras.tree.map_structure(random, structure)
    return inputs[0] if isinstance(inputs, list) and len(inputs) == 1 else inputs


def assert_equal_outputs(actual, expected, dtype="float32", **arguments):
    inputs = keras.tree.map_structure(
        lambda x: ops.convert_to_tensor(x, "float32"), inputs_for(expected)
    )
    assert_all_close(
        actual(inputs, **arguments), expected(inputs, **arguments), dtype=dtype
    )


def assert_equal_arrays(actual, expected):
    for a, e in zip(to_numpy(actual), to_numpy(expected), strict=True):
        np.testing.assert_array_equal(a, e)


def serialized(model):
    return json.loads(json.dumps(keras.saving.serialize_keras_object(model)))


def objects_in(config):
    """All objects that a configuration describes, in order."""
    if isinstance(config, dict):
        if "class_name" in config:
            yield config
        config = list(config.values())
    if isinstance(config, list):
        for part in config:
            yield from objects_in(part)


def lstm_modules(model):
    return {
        described["module"]
        for described in objects_in(serialized(model))
        if described["class_name"] in ("LSTM", "LSTMCell")
    }


BUILTIN, CUSTOM = {"keras.layers"}, {"lstm_keras.layer", "lstm_keras.cell"}


# Every model.


@every_model
def test_converting_there_and_back_changes_only_the_lstms_of_a_model(name):
    model = with_random_weights((MODELS | OTHERS)[name]())
    config, weights = serialized(model), model.get_weights()
    assert lstm_modules(model) == BUILTIN
    custom = to_custom(model)
    assert type(custom) is type(model)
    assert lstm_modules(custom) <= CUSTOM
    assert_equal_arrays(custom.weights, weights)
    dtype = "mixed_bfloat16" if name == "half precision" else "float32"
    assert_equal_outputs(custom, model, dtype)
    back = to_builtin(custom)
    assert_equal_arrays(back.weights, weights)
    if name in WITH_LAMBDAS:  # which are written as bytes that depend on chance
        assert_equal_outputs(back, model)
    else:
        assert serialized(back) == serialized(model) == config
    randomize_weights(custom, seed=100)
    assert_equal_arrays(model.weights, weights)


@first_of("name", ["cells", "nested"])
def test_a_converted_model_can_be_saved_and_reopened(name, tmp_path):
    model = with_random_weights(MODELS[name]())
    custom = to_custom(model)
    custom.save(tmp_path / "model.keras")
    reopened = keras.saving.load_model(tmp_path / "model.keras")
    assert serialized(reopened) == serialized(custom)
    assert_equal_arrays(reopened.weights, model.weights)


# Single layers, and arguments.

OF_ALL_LAYERS = {"name": "memory", "dtype": "mixed_float16", "trainable": False}
ARGUMENTS = NOT_DEFAULT_OF_CELL | OF_ALL_LAYERS
LAYER_ARGUMENTS = NOT_DEFAULT_OF_LAYER | OF_ALL_LAYERS


@pytest.mark.parametrize(
    ("layer", "ours", "more"),
    [
        (layers.LSTM(**LAYER_ARGUMENTS), lstm_keras.LSTM, {"use_cudnn": False}),
        (layers.LSTMCell(**ARGUMENTS), lstm_keras.LSTMCell, {}),
    ],
    ids=["layer", "cell"],
)
def test_every_argument_and_the_weights_of_a_layer_are_kept(layer, ours, more):
    layer.build((BATCH, TIME, FEATURES) if more else (BATCH, FEATURES))
    custom = to_custom(layer)
    assert type(custom) is ours
    assert custom.get_config() == layer.get_config() | more
    assert_equal_arrays(custom.weights, layer.weights)
    back = to_builtin(custom)
    assert type(back) is type(layer)
    assert back.get_config() == layer.get_config()
    assert getattr(back, "use_cudnn", False) is False


@pytest.mark.parametrize("option", ["learn_initial_state", "return_cell_states"])
def test_an_option_that_keras_lacks_is_an_error_that_names_the_layer(option):
    layer = lstm_keras.LSTM(UNITS, name="mine", **{option: True})
    inner = in_sequence(lstm_keras.LSTM(3, return_sequences=True))
    inputs = keras.Input((TIME, FEATURES))
    model = keras.Model(inputs, layer(inner(inputs)), name="outer")
    with pytest.raises(ValueError, match=rf"received outer/mine \({option}=True\)$"):
        to_builtin(model)
    with pytest.raises(ValueError, match=rf"mine \({option}=True\)$"):
        to_builtin(layer)


def test_a_layer_that_is_ours_already_keeps_its_options():
    inputs, every = keras.Input((TIME, FEATURES)), {"return_sequences": True}
    first = lstm_keras.LSTM(UNITS, engine="loop", learn_initial_state=True, **every)
    last = lstm_keras.LSTM(2, return_cell_states=True)
    model = with_random_weights(keras.Model(inputs, last(lstm(3)(first(inputs)))))
    custom = to_custom(model)
    assert lstm_modules(custom) <= CUSTOM
    options = [
        (one.engine, one.learn_initial_state, one.return_cell_states)
        for one in custom.layers[1:]
    ]
    plain = ("auto", False, False)
    assert options == [("loop", True, False), plain, ("auto", False, True)]
    assert serialized(to_custom(custom)) == serialized(custom)
    assert_equal_outputs(custom, model)


def test_an_unbuilt_model_is_converted_without_weights():
    custom = to_custom(keras.Sequential([layers.LSTM(UNITS)]))
    assert type(custom.layers[0]) is lstm_keras.LSTM
    assert not custom.built


# State.


def test_a_stateful_model_continues_from_the_states_of_the_given_one():
    stack = [layers.LSTMCell(UNITS), layers.LSTMCell(3)]
    model = in_sequence(
        layers.RNN(stack, stateful=True, return_sequences=True),
        layers.Bidirectional(layers.LSTM(2, stateful=True)),
        batch_size=BATCH,
    )
    randomize_weights(model)
    first, second, third = (
        ops.convert_to_tensor(normal(BATCH, TIME, FEATURES, seed=seed), "float32")
        for seed in range(3)
    )
    model(first)
    custom = to_custom(model)
    assert_all_close(custom(second), model(second))
    assert_all_close(to_builtin(custom)(third), model(third))


def test_dropout_continues_with_the_same_masks():
    model = in_sequence(
        layers.Dropout(0.3, seed=1),
        layers.LSTM(UNITS, dropout=0.5, recurrent_dropout=0.4, seed=2),
    )
    randomize_weights(model)
    x = ops.convert_to_tensor(normal(BATCH, TIME, FEATURES), "float32")
    model(x, training=True)
    exchanged = to_custom(model)
    for _ in range(2):
        assert_all_close(exchanged(x, training=True), model(x, training=True))
    assert_all_close(to_builtin(exchanged)(x, training=True), model(x, training=True))


def test_trainable_flags_are_kept():
    inner = in_sequence(lstm(), layers.LSTM(4))
    model = in_sequence(inner, layers.Dense(3), layers.Dense(2))
    inner.trainable = False
    inner.layers[1].trainable = True
    model.layers[1].trainable = False
    model.layers[2].kernel.trainable = False
    custom = to_custom(model)
    copied = custom.layers[0]
    assert [layer.trainable for layer in custom.layers] == [False, False, True]
    assert [layer.trainable for layer in copied.layers] == [False, True]
    assert [w.trainable for w in custom.weights] == [w.trainable for w in model.weights]
    assert len(custom.trainable_weights) == len(model.trainable_weights) == 4


def test_the_statistics_of_a_normalization_layer_are_kept():
    normalization = layers.Normalization()
    normalization.adapt(3 + 2 * normal(20, TIME, FEATURES))
    model = in_sequence(normalization, layers.LSTM(UNITS))
    assert_equal_outputs(to_custom(model), model)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="text is TensorFlow's alone")
def test_a_vocabulary_is_kept():
    text = layers.TextVectorization(output_sequence_length=TIME)
    text.adapt(["the cat sat on the mat", "the dog sat"])
    chain = (text, layers.Embedding(9, FEATURES, mask_zero=True), layers.LSTM(UNITS))
    model = in_sequence(*chain, shape=(1,), dtype="string")
    texts = ops.convert_to_tensor([["the dog sat on the mat"], ["a cat"]])
    assert_all_close(to_custom(model)(texts), model(texts))


# Compiling and training.


def compiled():
    model = in_sequence(layers.LSTM(UNITS, seed=1, dropout=0.2), layers.Dense(1))
    randomize_weights(model)
    model.compile(keras.optimizers.Adam(0.02), "mse", metrics=["mae"])
    return model


def train(model):
    x, y = normal(8, TIME, FEATURES), normal(8, 1)
    history = model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    return history.history["loss"]


@pytest.mark.thorough
def test_both_models_train_alike_and_independently_with_a_new_optimizer():
    model = compiled()
    custom = to_custom(model)
    losses = train(custom)
    assert losses[0] > losses[1]
    # The given model has not moved, and has still its own random state.
    np.testing.assert_allclose(train(model), losses, rtol=1e-4)
    train(custom)
    assert int(model.optimizer.iterations) == 4
    assert int(to_custom(model).optimizer.iterations) == 0


def test_an_inner_model_alone_stays_compiled():
    model = compiled()
    custom = to_custom(in_sequence(model))
    assert not custom.compiled
    assert custom.layers[0].compiled
    assert custom.layers[0].get_compile_config() == model.get_compile_config()


def test_a_warning_tells_of_a_loss_that_cannot_be_copied():
    model = in_sequence(layers.LSTM(UNITS))
    model.compile("adam", loss=lambda y, p: ops.mean(ops.abs(y - p)))
    with pytest.warns(UserWarning, match=r"copy of '\w+' is not compiled: .*lambda"):
        custom = to_custom(model)
    assert not custom.compiled


# Functions and other objects.


def test_functions_are_the_same_objects():
    model = functions()
    layer, scaling, halving, dense = model.layers
    custom = to_custom(model).layers
    assert custom[0].activation is layer.activation is relu
    assert custom[1].function is scaling.function
    assert custom[2].function is halving.function is halved
    assert custom[3].activation is dense.activation is keras.activations.relu
    assert custom[3].kernel_initializer is halves


class Pooled(layers.Layer):
    """A layer with a method that has the name of an argument."""

    def __init__(self, pool="max", **kwargs):
        super().__init__(**kwargs)
        self.kind = pool

    def pool(self, inputs):
        return ops.max(inputs, 1) if self.kind == "max" else ops.mean(inputs, 1)

    def call(self, inputs):
        return self.pool(inputs)

    def get_config(self):
        return {**super().get_config(), "pool": self.kind}


def test_a_method_is_not_taken_for_an_argument():
    model = in_sequence(lstm(), Pooled("mean"))
    assert to_custom(model).layers[1].kind == "mean"


def cells_of_one_name():
    chain = [
        layers.LSTMCell(3, activation=activation, name="cell")
        for activation in (halved, "tanh")
    ]
    return in_sequence(layers.RNN(chain))


def wrapper_of_a_function():
    return in_sequence(layers.Bidirectional(layers.LSTM(3, activation=halved)))


class Quarters(keras.initializers.Initializer):
    """An initializer that Keras does not know."""

    def __call__(self, shape, dtype=None):
        return ops.full(shape, 0.25, dtype=dtype)


def with_quarters():
    return in_sequence(layers.LSTM(UNITS, kernel_initializer=Quarters()))


@pytest.mark.parametrize(
    ("make", "needed", "message"),
    [
        (cells_of_one_name, halved, "Could not locate function 'halved'"),
        (wrapper_of_a_function, halved, "Could not locate function 'halved'"),
        (with_quarters, Quarters, r"; Keras says: .*Quarters"),
    ],
)
def test_other_objects_are_found_in_a_custom_object_scope(make, needed, message):
    with pytest.raises((TypeError, ValueError), match=message):
        to_custom(make())
    with keras.saving.custom_object_scope({needed.__name__: needed}):
        model = make()
        assert_equal_outputs(to_custom(model), model)


def test_safe_mode_stays_on():
    to_custom(functions())
    config = keras.saving.serialize_keras_object(layers.Lambda(lambda x: x))
    with pytest.raises(ValueError, match="lambda"):
        keras.saving.deserialize_keras_object(config)


# Errors.


class PeepholeLSTM(layers.LSTM):
    """A subclass may compute anything."""


class OurPeephole(lstm_keras.LSTM):
    """A subclass may compute anything."""


class MakesItsOwn(keras.Model):
    """A model whose configuration does not tell of its LSTM."""

    def __init__(self, units=UNITS, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.own_lstm = layers.LSTM(units, name="own_lstm")

    def call(self, inputs):
        return self.own_lstm(inputs)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def before(layer):
    return in_sequence(lstm(3), layer)


def without_an_lstm():
    return in_sequence(layers.GRU(3, name="gru"), layers.Dense(1, name="dense"))


def lambda_with_a_lambda_for_its_shape():
    shapes = layers.Lambda(lambda x: x, output_shape=lambda shape: shape)
    return in_sequence(layers.LSTM(UNITS), shapes)


def lambda_with_a_mask():
    masking = layers.Lambda(lambda x: x, mask=lambda x, mask: mask, name="masking")
    return in_sequence(masking, layers.LSTM(UNITS))


def classes_of_one_name():
    class Halved(layers.Layer):
        def call(self, inputs):
            return inputs / 2

    other = Halved()

    class Halved(layers.Layer):
        def call(self, inputs):
            return inputs / 4

    return in_sequence(layers.LSTM(3), other, Halved())


def layer_shared_by_inner_models():
    layer, inputs = layers.LSTM(UNITS, name="shared"), keras.Input((TIME, FEATURES))
    towers = [keras.Model(inputs, layer(inputs), name=name) for name in "ab"]
    return keras.Model(inputs, towers[0](inputs) + towers[1](inputs))


def dtype_policy_by_a_path_that_is_lost():
    policies = keras.dtype_policies.DTypePolicyMap(default_policy="float32")
    policies["tagger/lstm"] = keras.DTypePolicy("mixed_bfloat16")
    return called(Tagger(layers.LSTM(3, dtype=policies, name="lstm"), name="tagger"))


LISTED = r"with an LSTM; received .*/gru \(GRU\), .*/dense \(Dense\)"
SUBCLASS = "exchanged class itself; received .*"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: None, "model or layer; received NoneType"),
        (lambda: layers.LSTM, "model or layer; received type"),
        (without_an_lstm, LISTED),
        (lambda: before(PeepholeLSTM(3)), SUBCLASS + r"lstm\w* \(PeepholeLSTM"),
        (lambda: called(MakesItsOwn()), r"creates it itself: .*own_lstm \(LSTM\)"),
        (lambda_with_a_lambda_for_its_shape, "from its configuration.*lambda"),
        (lambda_with_a_mask, r"mask, .*masking \(Lambda\)"),
        (classes_of_one_name, r"rebuilt with .*halved.* in place of"),
        (layer_shared_by_inner_models, r"share; received .*/b/shared \(LSTM\)"),
        (dtype_policy_by_a_path_that_is_lost, "tagger/lstm.* in bfloat16,.* float32"),
    ],
)
def test_what_cannot_be_exchanged_is_an_error_that_names_it(make, message):
    model = make()
    with pytest.raises(ValueError, match=message):
        to_custom(model)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (without_an_lstm, LISTED),
        (lambda: before(OurPeephole(3)), SUBCLASS + r"our_peephole\w* \(OurPeephole"),
    ],
)
def test_neither_is_it_exchanged_on_the_way_to_keras(make, message):
    model = make()
    with pytest.raises(ValueError, match=message):
        to_builtin(model)


def test_a_subclass_of_our_layer_is_kept_on_the_way_to_ours():
    assert type(to_custom(before(OurPeephole(3))).layers[1]) is OurPeephole
