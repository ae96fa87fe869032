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


def sequential():
    return in_sequence(
        layers.LSTM(UNITS, return_sequences=True, unroll=True),
        layers.LSTM(4, go_backwards=True, use_bias=False),
        layers.Dense(2),
    )


def bidirectional():
    return in_sequence(
        layers.Bidirectional(layers.LSTM(UNITS, return_sequences=True), "sum"),
        layers.Bidirectional(
            layers.LSTM(3, name="there"),
            backward_layer=layers.LSTM(
                2, activation="softsign", go_backwards=True, name="back_again"
            ),
        ),
    )


def cells():
    return in_sequence(
        layers.RNN(
            [layers.LSTMCell(UNITS), layers.GRUCell(4), layers.LSTMCell(3)],
            return_sequences=True,
        ),
        layers.Bidirectional(layers.RNN(layers.LSTMCell(2, name="small"))),
    )


def time_distributed():
    inner = in_sequence(layers.LSTM(3, return_sequences=True), layers.LSTM(2))
    return in_sequence(
        layers.TimeDistributed(inner),
        layers.LSTM(3),
        shape=(2, TIME, FEATURES),
    )


def wrapper_of_ones_own():
    return in_sequence(Doubled(layers.LSTM(UNITS)))


def nested():
    inner = in_sequence(layers.LSTM(UNITS, return_sequences=True), layers.Dense(3))
    inputs = keras.Input((TIME, FEATURES))
    branch = keras.Model(inputs, layers.LSTM(4)(inner(inputs)))
    return in_sequence(branch, layers.Dense(2))


def shared():
    lstm = layers.LSTM(UNITS)
    first, second = keras.Input((TIME, FEATURES)), keras.Input((TIME, FEATURES))
    difference = lstm(first) - lstm(second)
    return keras.Model([first, second], [difference, ops.tanh(lstm(2 * second))])


def encoder_and_decoder():
    source = keras.Input((TIME, FEATURES), name="source")
    target = keras.Input((2, FEATURES), name="target")
    _, h, c = layers.LSTM(UNITS, return_state=True)(source)
    decoded = layers.LSTM(UNITS, return_sequences=True)(target, initial_state=[h, c])
    return keras.Model({"source": source, "target": target}, {"decoded": decoded})


def masked():
    return in_sequence(
        layers.Masking(),
        layers.Bidirectional(layers.LSTM(UNITS, return_sequences=True)),
        layers.LSTM(3, return_sequences=True, zero_output_for_mask=True),
        layers.LSTM(2),
    )


def other_recurrent_layers():
    return in_sequence(
        layers.ConvLSTM1D(2, 2),
        layers.GRU(3, return_sequences=True),
        layers.LSTM(2),
        shape=(TIME, FEATURES, 1),
    )


def functions():
    factor = 2
    return in_sequence(
        layers.LSTM(UNITS, activation=relu, recurrent_activation="hard_sigmoid"),
        layers.Lambda(lambda x: factor * ops.tanh(SCALE * x), output_shape=(UNITS,)),
        layers.Lambda(halved),
        layers.Dense(2, activation="relu", kernel_initializer=halves),
    )


def relu(x):
    """Not Keras's."""
    return ops.tanh(-x)


def halved(x):
    return x / 2


def halves(shape, dtype=None):
    return ops.full(shape, 0.5, dtype=dtype)


def mixed_bfloat16():
    return in_sequence(layers.LSTM(UNITS, dtype="mixed_bfloat16"))


def of_a_class_of_its_own():
    model = Tagger(layers.Bidirectional(layers.LSTM(UNITS)), name="tagger")
    model(np.zeros((BATCH, TIME, FEATURES), "float32"))
    return model


MODELS = [
    sequential,
    bidirectional,
    cells,
    time_distributed,
    wrapper_of_ones_own,
    nested,
    shared,
    encoder_and_decoder,
    masked,
    other_recurrent_layers,
    functions,
    mixed_bfloat16,
    of_a_class_of_its_own,
]
every_model = pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)


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


def names(model):
    return [
        described["config"]["name"]
        for described in objects_in(serialized(model))
        if "name" in described["config"]
    ]


BUILTIN, CUSTOM = {"keras.layers"}, {"lstm_keras.layer", "lstm_keras.cell"}


# Every model.


@every_model
def test_converting_changes_only_the_lstms_of_a_model(make):
    model = with_random_weights(make())
    custom = to_custom(model)
    assert type(custom) is type(model)
    assert lstm_modules(model) == BUILTIN
    assert lstm_modules(custom) <= CUSTOM
    assert names(custom) == names(model)
    assert_equal_arrays(custom.weights, model.weights)
    dtype = "mixed_bfloat16" if make is mixed_bfloat16 else "float32"
    assert_equal_outputs(custom, model, dtype)


@first_of("make", [bidirectional, *(make for make in MODELS if make != bidirectional)])
def test_converting_back_gives_the_same_model(make):
    model = with_random_weights(make())
    back = to_builtin(to_custom(model))
    if make is not functions:  # lambdas are written as bytes that depend on chance
        assert serialized(back) == serialized(model)
    assert_equal_arrays(back.weights, model.weights)
    assert_equal_outputs(back, model)


@first_of("make", [shared, bidirectional, cells])
def test_converting_leaves_the_given_model_unchanged(make):
    model = with_random_weights(make())
    config, weights = serialized(model), model.get_weights()
    custom = to_custom(model)
    randomize_weights(custom, seed=100)
    assert serialized(model) == config
    assert_equal_arrays(model.get_weights(), weights)
    with pytest.raises(AssertionError):
        assert_equal_outputs(custom, model)


@first_of(
    "make", [cells, sequential, bidirectional, nested, shared, encoder_and_decoder]
)
def test_a_converted_model_can_be_saved_and_reopened(make, tmp_path):
    model = with_random_weights(make())
    custom = to_custom(model)
    custom.save(tmp_path / "model.keras")
    reopened = keras.saving.load_model(tmp_path / "model.keras")
    assert serialized(reopened) == serialized(custom)
    assert_equal_outputs(reopened, model)


@pytest.mark.parametrize("merge_mode", ["concat", "mul", "ave", None])
def test_every_merge_mode_is_kept(merge_mode):
    model = in_sequence(layers.Bidirectional(layers.LSTM(UNITS), merge_mode))
    randomize_weights(model)
    assert_equal_outputs(to_custom(model), model)


def test_a_submodel_used_twice_stays_one():
    tower = in_sequence(layers.LSTM(UNITS))
    inputs = keras.Input((TIME, FEATURES))
    model = keras.Model(inputs, tower(inputs) * tower(2 * inputs))
    randomize_weights(model)
    custom = to_custom(model)
    assert len(custom.weights) == 3
    assert_equal_outputs(custom, model)


def test_inner_models_may_have_layers_of_the_same_names():
    def tower(name, factor):
        return keras.Sequential(
            [
                keras.Input((TIME, FEATURES)),
                layers.LSTM(UNITS, name="lstm"),
                layers.Lambda(lambda x: factor * x, name="scale"),
            ],
            name=name,
        )

    inputs = keras.Input((TIME, FEATURES))
    model = keras.Model(inputs, tower("a", 2)(inputs) + tower("b", 5)(inputs))
    randomize_weights(model)
    assert_equal_outputs(to_custom(model), model)


# Single layers, and arguments.

OF_ALL_LAYERS = {"name": "memory", "dtype": "mixed_float16", "trainable": False}
ARGUMENTS = NOT_DEFAULT_OF_CELL | OF_ALL_LAYERS
LAYER_ARGUMENTS = NOT_DEFAULT_OF_LAYER | OF_ALL_LAYERS


def test_every_argument_of_a_layer_is_kept():
    layer = layers.LSTM(**LAYER_ARGUMENTS)
    layer.build((BATCH, TIME, FEATURES))
    custom = to_custom(layer)
    assert type(custom) is lstm_keras.LSTM
    assert custom.get_config() == layer.get_config() | {"use_cudnn": False}
    back = to_builtin(custom)
    assert type(back) is layers.LSTM
    assert back.get_config() == layer.get_config()
    assert back.use_cudnn is False


def test_every_argument_of_a_cell_is_kept():
    cell = layers.LSTMCell(**ARGUMENTS)
    cell.build((BATCH, FEATURES))
    custom = to_custom(cell)
    assert type(custom) is lstm_keras.LSTMCell
    assert custom.get_config() == cell.get_config()
    assert to_builtin(custom).get_config() == cell.get_config()
    assert_equal_arrays(custom.weights, cell.weights)


def test_a_single_layer_computes_the_same():
    layer = layers.LSTM(UNITS)
    layer.build((None, TIME, FEATURES))
    randomize_weights(layer)
    x = ops.convert_to_tensor(normal(BATCH, TIME, FEATURES), "float32")
    assert_all_close(to_custom(layer)(x), layer(x))


def test_use_cudnn_is_kept_though_it_is_missing_in_the_configuration():
    model = in_sequence(layers.Bidirectional(layers.LSTM(UNITS, use_cudnn=False)))
    wrapper = to_custom(model).layers[0]
    assert wrapper.forward_layer.use_cudnn is wrapper.backward_layer.use_cudnn is False


@pytest.mark.parametrize("option", ["learn_initial_state", "return_cell_states"])
def test_an_option_that_keras_lacks_is_an_error_that_names_the_layer(option):
    lstm = lstm_keras.LSTM(UNITS, name="mine", **{option: True})
    inner = in_sequence(lstm_keras.LSTM(3, return_sequences=True))
    inputs = keras.Input((TIME, FEATURES))
    model = keras.Model(inputs, lstm(inner(inputs)), name="outer")
    with pytest.raises(ValueError, match=rf"received outer/mine \({option}=True\)$"):
        to_builtin(model)
    with pytest.raises(ValueError, match=rf"mine \({option}=True\)$"):
        to_builtin(lstm)


@pytest.mark.parametrize("option", ["learn_initial_state", "return_cell_states"])
def test_to_custom_keeps_such_an_option_of_a_layer_that_is_ours(option):
    inputs = keras.Input((TIME, FEATURES))
    sequences = layers.LSTM(3, return_sequences=True)(inputs)
    lstm = lstm_keras.LSTM(UNITS, **{option: True})
    model = keras.Model(inputs, lstm(sequences))
    randomize_weights(model)
    custom = to_custom(model)
    assert getattr(custom.layers[-1], option)
    x = ops.convert_to_tensor(normal(BATCH, TIME, FEATURES), "float32")
    assert_all_close(custom(x), model(x))


def test_the_engine_is_dropped_on_the_way_to_keras():
    model = in_sequence(
        lstm_keras.LSTM(UNITS, engine="loop", return_sequences=True),
        layers.Bidirectional(lstm_keras.LSTM(3, engine="loop")),
    )
    randomize_weights(model)
    builtin = to_builtin(model)
    assert lstm_modules(builtin) == BUILTIN
    assert_equal_outputs(builtin, model)


def test_a_layer_that_is_ours_already_stays_as_it_is():
    model = in_sequence(
        lstm_keras.LSTM(UNITS, engine="loop", return_sequences=True), layers.LSTM(3)
    )
    randomize_weights(model)
    custom = to_custom(model)
    assert lstm_modules(custom) <= CUSTOM
    assert [layer.engine for layer in custom.layers] == ["loop", "auto"]
    assert serialized(to_custom(custom)) == serialized(custom)
    assert_equal_outputs(custom, model)


def test_an_unbuilt_model_is_converted_without_weights():
    custom = to_custom(keras.Sequential([layers.LSTM(UNITS)]))
    assert type(custom.layers[0]) is lstm_keras.LSTM
    assert not custom.built


# State.


@pytest.mark.parametrize(
    "make_layer",
    [
        lambda: layers.LSTM(UNITS, stateful=True),
        lambda: layers.Bidirectional(layers.LSTM(UNITS, stateful=True)),
        lambda: layers.RNN([layers.LSTMCell(UNITS), layers.LSTMCell(3)], stateful=True),
    ],
    ids=["lstm", "bidirectional", "stacked cells"],
)
def test_a_stateful_model_continues_from_the_states_of_the_given_one(make_layer):
    model = in_sequence(make_layer(), batch_size=BATCH)
    randomize_weights(model)
    first, second, third = (
        ops.convert_to_tensor(normal(BATCH, TIME, FEATURES, seed=seed), "float32")
        for seed in range(3)
    )
    model(first)
    custom = to_custom(model)
    assert_all_close(custom(second), model(second))
    assert_all_close(to_builtin(custom)(third), model(third))


@pytest.mark.parametrize("exchange_twice", [False, True])
def test_dropout_continues_with_the_same_masks(exchange_twice):
    model = in_sequence(
        layers.Dropout(0.3, seed=1),
        layers.LSTM(UNITS, dropout=0.5, recurrent_dropout=0.4, seed=2),
    )
    randomize_weights(model)
    x = ops.convert_to_tensor(normal(BATCH, TIME, FEATURES), "float32")
    for _ in range(2):
        model(x, training=True)
    exchanged = to_custom(model)
    if exchange_twice:
        exchanged = to_builtin(exchanged)
    for _ in range(2):
        assert_all_close(exchanged(x, training=True), model(x, training=True))


def test_trainable_flags_are_kept():
    inner = in_sequence(layers.LSTM(UNITS, return_sequences=True), layers.LSTM(4))
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
    model = in_sequence(
        text,
        layers.Embedding(9, FEATURES, mask_zero=True),
        layers.LSTM(UNITS),
        shape=(1,),
        dtype="string",
    )
    texts = ops.convert_to_tensor([["the dog sat on the mat"], ["a cat"]])
    assert_all_close(to_custom(model)(texts), model(texts))


# Compiling and training.


def compiled():
    model = in_sequence(layers.LSTM(UNITS, seed=1, dropout=0.2), layers.Dense(1))
    randomize_weights(model)
    model.compile(keras.optimizers.Adam(0.02), "mse", metrics=["mae"])
    return model


def train(model, epochs=2):
    x, y = normal(8, TIME, FEATURES), normal(8, 1)
    history = model.fit(x, y, batch_size=4, epochs=epochs, shuffle=False, verbose=0)
    return history.history["loss"]


def test_a_compiled_model_stays_compiled_with_a_new_optimizer():
    model = compiled()
    train(model)
    custom = to_custom(model)
    assert custom.compiled
    assert custom.get_compile_config() == model.get_compile_config()
    assert int(custom.optimizer.iterations) == 0
    x, y = normal(8, TIME, FEATURES), normal(8, 1)
    np.testing.assert_allclose(
        custom.evaluate(x, y, verbose=0), model.evaluate(x, y, verbose=0), rtol=1e-5
    )


def test_both_models_train_alike_and_independently():
    model = compiled()
    custom = to_custom(model)
    losses = train(custom)
    assert losses[0] > losses[1]
    # The given model has not moved, and has still its own random state.
    np.testing.assert_allclose(train(model), losses, rtol=1e-4)
    train(custom)


def test_a_model_that_is_not_compiled_stays_so():
    assert not to_custom(sequential()).compiled


def test_an_inner_model_stays_compiled():
    model = in_sequence(compiled())
    custom = to_custom(model)
    assert not custom.compiled
    assert custom.layers[0].compiled


def test_a_warning_tells_of_a_loss_that_cannot_be_copied():
    model = sequential()
    model.compile("adam", loss=lambda y, p: ops.mean(ops.abs(y - p)))
    with pytest.warns(UserWarning, match=r"copy of '\w+' is not compiled: .*lambda"):
        custom = to_custom(model)
    assert not custom.compiled


# Functions and other objects.


def test_functions_are_the_same_objects():
    model = functions()
    lstm, scaling, halving, dense = model.layers
    custom = to_custom(model).layers
    assert custom[0].activation is lstm.activation is relu
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
    model = in_sequence(layers.LSTM(UNITS, return_sequences=True), Pooled("mean"))
    assert to_custom(model).layers[1].kind == "mean"


def test_functions_of_cells_of_one_name_are_not_mixed_up():
    def model():
        return in_sequence(
            layers.RNN(
                [
                    layers.LSTMCell(3, activation=halved, name="cell"),
                    layers.LSTMCell(3, activation="tanh", name="cell"),
                ]
            )
        )

    with pytest.raises(ValueError, match="Could not locate function 'halved'"):
        to_custom(model())
    with keras.saving.custom_object_scope({"halved": halved}):
        assert_equal_outputs(to_custom(given := model()), given)


def test_a_function_inside_of_a_wrapper_is_found_in_a_custom_object_scope():
    with keras.saving.custom_object_scope({"halved": halved}):
        model = in_sequence(layers.Bidirectional(layers.LSTM(3, activation=halved)))
        custom = to_custom(model)
    wrapper = custom.layers[0]
    assert wrapper.forward_layer.activation is halved
    assert wrapper.backward_layer.activation is halved
    assert_equal_outputs(custom, model)


def test_safe_mode_stays_on():
    to_custom(functions())
    config = keras.saving.serialize_keras_object(layers.Lambda(lambda x: x))
    with pytest.raises(ValueError, match="lambda"):
        keras.saving.deserialize_keras_object(config)
    shapes = layers.Lambda(lambda x: x, output_shape=lambda shape: shape)
    with pytest.raises(ValueError, match=r"rebuilt from its configuration.*lambda"):
        to_custom(in_sequence(layers.LSTM(UNITS), shapes))


class Quarters(keras.initializers.Initializer):
    """An initializer that Keras does not know."""

    def __call__(self, shape, dtype=None):
        return ops.full(shape, 0.25, dtype=dtype)


def test_other_objects_are_found_in_a_custom_object_scope():
    model = in_sequence(layers.LSTM(UNITS, kernel_initializer=Quarters()))
    with pytest.raises(ValueError, match=r"; Keras says: .*Quarters"):
        to_custom(model)
    with keras.saving.custom_object_scope({"Quarters": Quarters}):
        assert_equal_outputs(to_custom(model), model)


# Errors.


@pytest.mark.parametrize("exchange", [to_custom, to_builtin])
def test_a_model_without_an_lstm_is_an_error_that_lists_its_layers(exchange):
    model = in_sequence(layers.GRU(3, name="gru"), layers.Dense(1, name="dense"))
    with pytest.raises(
        ValueError,
        match=r"with an LSTM; received .*/gru \(GRU\), .*/dense \(Dense\)",
    ):
        exchange(model)


@pytest.mark.parametrize("what", [None, "lstm", layers.LSTM], ids=str)
def test_anything_but_a_layer_is_an_error(what):
    with pytest.raises(
        ValueError, match=rf"model or layer; received {type(what).__name__}"
    ):
        to_custom(what)


class PeepholeLSTM(layers.LSTM):
    """A subclass may compute anything."""


class PeepholeCell(layers.LSTMCell):
    """A subclass may compute anything."""


class OurPeepholeLSTM(lstm_keras.LSTM):
    """A subclass may compute anything."""


@pytest.mark.parametrize(
    ("exchange", "layer", "name"),
    [
        (to_custom, lambda: PeepholeLSTM(3), "peephole_lstm"),
        (to_custom, lambda: layers.RNN(PeepholeCell(3, name="p")), "rnn.*/p"),
        (to_builtin, lambda: OurPeepholeLSTM(3), "our_peephole_lstm"),
    ],
)
def test_a_subclass_is_an_error_that_names_it(exchange, layer, name):
    model = in_sequence(layers.LSTM(3, return_sequences=True), layer())
    with pytest.raises(
        ValueError, match=rf"exchanged class itself; .*{name}\w* \(\w*Peephole"
    ):
        exchange(model)
    other = to_builtin if exchange is to_custom else to_custom
    if exchange is to_builtin:
        assert type(other(model).layers[1]) is OurPeepholeLSTM


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


class WithoutConfiguration(MakesItsOwn):
    """A model whose argument can't be written down."""

    def __init__(self, anything):
        super().__init__()
        self.anything = anything

    def get_config(self):
        return keras.Model.get_config(self)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (MakesItsOwn, r"a class creates it itself: .*own_lstm \(LSTM\)"),
        (lambda: WithoutConfiguration(object()), r"rebuilt from .*get_config"),
    ],
    ids=["makes its own", "without configuration"],
)
def test_a_model_that_the_configuration_does_not_describe_is_an_error(make, message):
    model = make()
    model(np.zeros((BATCH, TIME, FEATURES), "float32"))
    with pytest.raises(ValueError, match=message):
        to_custom(model)


def test_classes_of_one_name_are_an_error_that_names_them():
    class Halved(layers.Layer):
        def call(self, inputs):
            return inputs / 2

    other = Halved()

    class Halved(layers.Layer):
        def call(self, inputs):
            return inputs / 4

    with pytest.raises(ValueError, match=r"rebuilt with .*halved.* in place of"):
        to_custom(in_sequence(layers.LSTM(3), other, Halved()))


def test_a_layer_shared_by_inner_models_is_an_error_that_names_it():
    lstm = layers.LSTM(UNITS, name="shared")
    inputs = keras.Input((TIME, FEATURES))
    towers = [keras.Model(inputs, lstm(inputs), name=name) for name in "ab"]
    model = keras.Model(inputs, towers[0](inputs) + towers[1](inputs))
    with pytest.raises(ValueError, match=r"share; received .*/b/shared \(LSTM\)"):
        to_custom(model)


def test_a_dtype_policy_by_path_is_an_error_where_the_path_is_lost():
    policies = keras.dtype_policies.DTypePolicyMap(default_policy="float32")
    policies["tagger/lstm"] = keras.DTypePolicy("mixed_bfloat16")
    model = Tagger(layers.LSTM(3, dtype=policies, name="lstm"), name="tagger")
    model(np.zeros((BATCH, TIME, FEATURES), "float32"))
    with pytest.raises(ValueError, match=r"tagger/lstm.* in bfloat16,.* in float32"):
        to_custom(model)


def test_a_lambda_layer_with_a_mask_is_an_error_that_names_it():
    masking = layers.Lambda(lambda x: x, mask=lambda x, mask: mask, name="masking")
    with pytest.raises(ValueError, match=r"mask, .*masking \(Lambda\)"):
        to_custom(in_sequence(masking, layers.LSTM(UNITS)))
