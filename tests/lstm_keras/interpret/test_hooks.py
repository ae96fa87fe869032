"""Finding recurrent layers inside of a model, and stepping in where they compute."""

import threading

import keras
import numpy as np
import pytest
from keras import layers, ops

import lstm_keras
from lstm_keras.interpret.hooks import (
    LSTM_CELLS,
    ByLayer,
    as_arrays,
    build,
    intercepted,
    layers_within,
    recurrent_layers,
    replaced,
)
from tests.helpers.equality import (
    BACKEND,
    BATCH,
    FEATURES,
    TIME,
    UNITS,
    assert_all_close,
    built,
    inputs_and_states,
    normal,
)
from tests.helpers.models import (
    Block,
    ChangedCell,
    assert_same_attributes,
    attributes,
)
from tests.helpers.pairwise import first_of


class Nested(layers.Layer):
    """Layers one inside of the other, each of which Keras lists twice."""

    def __init__(self, depth):
        super().__init__()
        self.inner = Nested(depth - 1) if depth else layers.LSTM(UNITS)


@pytest.fixture(scope="module")
def functional():
    """A model inside of a model, a layer of its own, and a layer that is called twice.

    Returns the model, and its layers with an LSTM by path.
    """
    inputs = keras.Input((None, FEATURES))
    deep = layers.LSTM(UNITS, return_sequences=True, name="deep")
    inner = keras.Model(inputs, deep(inputs), name="inner")
    twice = lstm_keras.LSTM(UNITS, return_sequences=True, name="twice")
    block = Block(name="block")
    hidden = twice(twice(inner(inputs)))
    model = keras.Model(inputs, layers.Dense(1, name="dense")(block(hidden)))
    both = block.then["b"]
    return model, {
        "inner/deep": deep,
        "twice": twice,
        "block/a": block.first[0],
        "block/b/" + both.forward_layer.name: both.forward_layer,
        "block/b/" + both.backward_layer.name: both.backward_layer,
    }


# Finding.


def test_layers_are_found_by_the_names_on_the_way(functional):
    model, expected = functional
    found = dict(layers_within(model))
    for path, layer in expected.items():
        assert found[path] is layer
    assert found["dense"] is model.layers[-1]
    assert "inner" in found and "block" in found and "block/b" in found
    assert dict(layers_within(model, "outer")) == {
        f"outer/{path}": layer for path, layer in found.items()
    }
    assert recurrent_layers(model, LSTM_CELLS) == expected
    ours = recurrent_layers(model, (lstm_keras.LSTMCell,))
    assert list(ours) == ["twice", "block/a"]


def test_every_layer_is_visited_once():
    found = [layer for _, layer in layers_within(Nested(3))]
    assert [type(layer) for layer in found] == [Nested] * 3 + [layers.LSTM]


@pytest.mark.parametrize(
    ("layer", "listed"),
    [
        (layers.RNN(ChangedCell(UNITS), name="a"), r"a \(RNN\), head \(Dense\)"),
        (layers.RNN([layers.LSTMCell(UNITS)] * 2, name="a"), r"a \(RNN\), head"),
        (layers.GRU(UNITS, name="a"), r"a \(GRU\), head \(Dense\)"),
        (None, "none"),
    ],
)
def test_without_a_matching_layer_the_error_lists_the_layers(layer, listed):
    chain = [layer, layers.Dense(1, name="head")] if layer else []
    model = keras.Sequential([keras.Input((None, FEATURES)), *chain], name="a b")
    message = f"LSTMCell or SimpleRNNCell; received 'a b' with the layers {listed}"
    with pytest.raises(ValueError, match=message):
        recurrent_layers(model, (*LSTM_CELLS, layers.SimpleRNNCell))


# What was found.


def test_results_are_indexed_by_path_and_by_position():
    found = ByLayer([("b", 1), ("a", 2), ("b", 3), ("b", 4)])
    assert list(found.items()) == [("b", 1), ("a", 2), ("b#2", 3), ("b#3", 4)]
    assert found["b"] == found[0] == found[-4] == 1
    assert found["b#3"] == found[3] == found[-1] == 4
    assert len(found) == 4 and "a" in found and "c" not in found
    assert repr(found) == "ByLayer(['b', 'a', 'b#2', 'b#3'])"
    assert ByLayer(found.items()) == found


def test_the_errors_list_the_paths():
    found = ByLayer([("first", 1), ("second", 2)])
    message = r"expected one of \['first', 'second'\]; received 'third'"
    with pytest.raises(KeyError, match=message):
        found["third"]
    for position in (2, -3):
        message = f"expected one of 2 passes; received {position}"
        with pytest.raises(IndexError, match=message):
            found[position]
    assert not hasattr(found, "f")


# Building.


X = normal(2, TIME, FEATURES)


class Subclassed(keras.Model):
    """Knows no shape before it is called."""

    def __init__(self):
        super().__init__()
        self.lstm = layers.LSTM(UNITS, name="lstm")

    def call(self, inputs):
        return self.lstm(inputs["x"])


def embedded():
    return keras.Sequential([layers.Embedding(9, 2), lstm_keras.LSTM(UNITS)])


UNBUILT = {
    "a wrapper": (lambda: layers.Bidirectional(lstm_keras.LSTM(UNITS)), X),
    "a Sequential": (embedded, np.ones((2, TIME), "int64")),
    "a subclassed model": (Subclassed, {"x": X}),
}


@pytest.mark.parametrize(("make", "inputs"), UNBUILT.values(), ids=UNBUILT.keys())
def test_a_model_is_built_for_its_inputs_as_a_call_builds_it(make, inputs):
    model, called = make(), make()
    build(model, inputs, batch_size=2)
    called(inputs)
    shapes = [weight.shape for weight in called.get_weights()]
    assert [weight.shape for weight in model.get_weights()] == shapes
    assert all(layer.built for layer in [model, *dict(layers_within(model)).values()])
    weights = model.get_weights()
    build(model, None, batch_size=2)  # is built, and stays as it is
    for one, other in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_built_model_takes_batches_of_any_size_unless_it_is_stateful():
    model = keras.Sequential([lstm_keras.LSTM(UNITS)])
    build(model, normal(3, TIME, FEATURES), batch_size=2)
    assert model.output_shape == (None, UNITS)
    stateful = keras.Sequential([layers.LSTM(UNITS, stateful=True)])
    build(stateful, normal(3, TIME, FEATURES), batch_size=2)
    assert stateful.output_shape == (2, UNITS)
    for state in stateful.layers[0].states:
        np.testing.assert_array_equal(ops.convert_to_numpy(state), np.zeros((2, UNITS)))


@pytest.mark.parametrize("model", [None, "model.keras", layers.LSTM, normal(2, 3)])
def test_anything_but_a_layer_is_an_error(model):
    with pytest.raises(
        ValueError,
        match=f"expected a Keras model or layer; received {type(model).__name__}",
    ):
        build(model, X, batch_size=2)


# Inputs.


class PyDataset(keras.utils.PyDataset):
    """NumPy would read it to its end."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        raise AssertionError("was read")


def datasets():
    """Inputs that yield batches, by the name of their class."""
    x = normal(4, TIME, FEATURES)
    yield "generator", (batch for batch in [x])
    yield "PyDataset", PyDataset()
    if BACKEND == "tensorflow":
        import tensorflow as tf

        yield "_BatchDataset", tf.data.Dataset.from_tensor_slices(x).batch(2)
    if BACKEND == "torch":
        import torch

        yield "DataLoader", torch.utils.data.DataLoader(x, batch_size=2)


@pytest.mark.parametrize(("name", "dataset"), list(datasets()))
def test_a_dataset_is_refused_by_name(name, dataset):
    message = rf"batch; received {name} \(if it is a dataset, give its batches one"
    for data in (dataset, {"x": dataset}):
        with pytest.raises(ValueError, match=message):
            as_arrays(data)


def test_arrays_tensors_and_nested_lists_are_arrays():
    x = normal(2, 3)
    for form in (x, x.tolist(), tuple(x), ops.convert_to_tensor(x)):
        found = np.stack(as_arrays(form))
        np.testing.assert_allclose(found, x, rtol=1e-6)
    both = as_arrays({"a": ops.convert_to_tensor([1, 2]), "b": [x, x]})
    assert both["a"].tolist() == [1, 2]
    np.testing.assert_array_equal(both["b"], [x, x])
    assert as_arrays([["a b", "c d"]]).shape == (1, 2)


# Replacing.


def test_attributes_are_replaced_in_the_block_and_restored_even_after_an_error():
    layer = lstm_keras.LSTM(UNITS, return_sequences=False)
    before = dict(vars(layer))
    attributes = {"return_sequences": True, "inner_loop": len, "added": 3}
    with pytest.raises(ZeroDivisionError), replaced(layer, **attributes):
        assert layer.return_sequences
        assert layer.inner_loop("four") == 4
        assert layer.added == 3
        raise ZeroDivisionError
    assert dict(vars(layer)) == before
    assert layer.inner_loop.__func__ is lstm_keras.LSTM.inner_loop


def in_a_thread(function):
    """Call a function in another thread, and return what it returns."""
    returned = []
    thread = threading.Thread(target=lambda: returned.append(function()))
    thread.start()
    thread.join(timeout=60)
    assert returned, "the thread failed, or waits"
    return returned[0]


def test_another_thread_finds_the_layers_own_functions():
    layer = layers.Dense(1, activation="sigmoid")
    with replaced(layer, activation=lambda x: x + 1):
        assert layer.activation(0.0) == 1.0
        elsewhere = in_a_thread(lambda: layer.activation(ops.zeros(())))
    assert float(ops.convert_to_numpy(elsewhere)) == 0.5


def test_another_thread_waits_until_it_may_replace():
    layer, order = lstm_keras.LSTM(UNITS), []

    def replace():
        with replaced(layer, go_backwards=True):
            order.append("other")

    with replaced(layer, unroll=True), replaced(layer, call=len):
        thread = threading.Thread(target=replace)
        thread.start()
        thread.join(timeout=0.2)
        assert thread.is_alive()
        order.append("this")
    thread.join(timeout=60)
    assert order == ["this", "other"] and not layer.go_backwards


# Stepping in.


@pytest.mark.parametrize(
    ("make", "go_backwards"), [(lstm_keras.LSTM, True), (layers.LSTM, False)]
)
def test_a_call_holds_what_the_layer_was_called_with(make, go_backwards):
    layer = built(make(UNITS, return_sequences=True, go_backwards=go_backwards))
    x, h, c = (ops.convert_to_tensor(a, "float32") for a in inputs_and_states())
    mask = ops.convert_to_tensor(normal(BATCH, TIME) > 0)
    calls = []

    def on_call(call):
        calls.append(call)
        return call.loop(call.initial_state)

    expected = layer(x, initial_state=[h, c], mask=mask)
    with intercepted(layer, {"one": layer}, on_call):
        # A mask may have one more axis.
        outputs = layer(x, initial_state=[h, c], mask=mask[..., None])
    assert_all_close(outputs, expected)
    (call,) = calls
    assert call.path == "one" and call.layer is layer
    assert_all_close([call.sequences, *call.initial_state], [x, h, c])
    np.testing.assert_array_equal(
        ops.convert_to_numpy(call.mask), ops.convert_to_numpy(mask)
    )


@first_of("make", [lstm_keras.LSTM, layers.LSTM, layers.GRU])
def test_a_loop_with_other_attributes_leaves_the_layer_as_it_is(make):
    layer, every = built(make(UNITS)), built(make(UNITS, return_sequences=True))
    x = ops.convert_to_tensor(normal(BATCH, TIME, FEATURES), "float32")
    found, before = [], attributes(layer)

    def on_call(call):
        found.append(call.loop(call.initial_state, return_sequences=True)[1])
        assert not call.layer.return_sequences
        return call.loop(call.initial_state)

    with intercepted(layer, {"one": layer}, on_call):
        outputs = layer(x)
    assert_all_close([*found, outputs], [every(x), layer(x)])
    assert_same_attributes(before, attributes(layer))


def test_passes_are_intercepted_in_order_but_not_those_of_another_thread(functional):
    model, (first, twice, *others) = functional[0], functional[1]
    x = normal(BATCH, TIME, FEATURES)
    expected, passes, elsewhere = model(x, training=False), [], []

    def on_call(call):
        if not passes:
            elsewhere.append(in_a_thread(lambda: model(x, training=False)))
        passes.append(call.path)
        return call.loop(call.initial_state)

    with intercepted(model, recurrent_layers(model, LSTM_CELLS), on_call):
        outputs = model(x, training=False)
    assert passes == [first, twice, twice, *others]
    assert_all_close([outputs, *elsewhere], [expected, expected])


def test_no_attribute_is_left_behind_after_an_error(functional):
    frames = keras.Input((2, None, FEATURES))
    model = keras.Model(frames, layers.TimeDistributed(functional[0])(frames))
    before, passes = attributes(model), []

    def on_call(call):
        passes.append(call.path)
        if len(passes) == 3:
            raise ZeroDivisionError
        return call.loop(call.initial_state)

    with (
        pytest.raises(ZeroDivisionError),
        intercepted(model, recurrent_layers(model, LSTM_CELLS), on_call),
    ):
        # Deep within: that only these are other than before.
        for now, old in zip(attributes(model), before, strict=True):
            assert now.keys() - old.keys() <= {"inner_loop", "call"}
        model(normal(BATCH, 2, TIME, FEATURES), training=False)
    assert len(passes) == 3
    assert_same_attributes(before, attributes(model))
