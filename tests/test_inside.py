"""Finding recurrent layers inside of a model, and stepping in where they compute."""

import keras
import numpy as np
import pytest
from equality import (
    BATCH,
    FEATURES,
    TIME,
    UNITS,
    assert_all_close,
    inputs_and_states,
    normal,
    randomize_weights,
)
from keras import layers, ops

import lstm_keras
from lstm_keras.inside import (
    LSTM_CELLS,
    intercepted,
    layers_within,
    recurrent_layers,
    replaced,
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


class Nothing(keras.Model):
    """A model without layers."""

    def call(self, inputs):
        return inputs


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


def attributes(model):
    """All that hangs on the layers of a model, to compare before and after."""
    every = [model, *(layer for _, layer in layers_within(model))]
    return [dict(vars(layer)) for layer in every]


def assert_same_attributes(before, after):
    for old, new in zip(before, after, strict=True):
        assert old.keys() == new.keys()
        for name in old.keys() - {"_called"}:  # Keras notes that a layer was called
            assert old[name] is new[name], name


# Finding.


def test_layers_are_found_by_the_names_on_the_way():
    model, expected = functional()
    found = dict(layers_within(model))
    for path, layer in expected.items():
        assert found[path] is layer
    assert found["dense"] is model.layers[-1]
    assert "inner" in found and "block" in found and "block/b" in found


def test_a_path_begins_where_it_is_told_to():
    model, expected = functional()
    assert {f"outer/{path}" for path in expected} <= dict(
        layers_within(model, "outer")
    ).keys()


def test_recurrent_layers_are_those_with_such_a_cell_each_once():
    model, expected = functional()
    assert recurrent_layers(model, LSTM_CELLS) == expected
    ours = recurrent_layers(model, (lstm_keras.LSTMCell,))
    assert list(ours) == ["twice", "block/a"]


def test_a_layer_alone_is_found_by_its_name():
    layer = layers.LSTM(UNITS, name="alone")
    layer.build((None, None, FEATURES))
    assert recurrent_layers(layer, LSTM_CELLS) == {"alone": layer}
    both = layers.Bidirectional(layer, name="both")
    both.build((None, None, FEATURES))
    assert list(recurrent_layers(both, LSTM_CELLS)) == [
        "both/forward_alone",
        "both/backward_alone",
    ]


def test_layers_of_one_name_are_all_found():
    model = SameNames()
    model(inputs_and_states()[0])
    found = recurrent_layers(model, LSTM_CELLS)
    assert list(found.values()) == [model.one, model.other]


class ChangedCell(lstm_keras.LSTMCell):
    """A subclass may compute something else."""


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.RNN(ChangedCell(UNITS), name="changed"),
        lambda: layers.RNN([layers.LSTMCell(UNITS)] * 2, name="stack"),
        lambda: layers.GRU(UNITS, name="gru"),
    ],
)
def test_without_a_layer_that_is_meant_the_error_lists_those_there_are(make):
    layer = make()
    model = keras.Sequential(
        [keras.Input((None, FEATURES)), layer, layers.Dense(1, name="head")],
        name="mine",
    )
    with pytest.raises(
        ValueError,
        match=r"a recurrent layer whose cell is LSTMCell; received 'mine' with the "
        rf"layers {layer.name} \({type(layer).__name__}\), head \(Dense\)",
    ):
        recurrent_layers(model, LSTM_CELLS)


def test_the_error_names_each_cell_once_and_tells_of_no_layers():
    model = Nothing(name="empty")
    model(np.ones((1, 1)))
    with pytest.raises(
        ValueError, match=r"is LSTMCell or GRUCell; received 'empty' .* none"
    ):
        recurrent_layers(model, (*LSTM_CELLS, layers.GRUCell))


def test_what_is_not_built_is_an_error():
    for model in (layers.LSTM(UNITS, name="new"), keras.Sequential(name="new")):
        with pytest.raises(ValueError, match=r"expected a built .*'new', which has no"):
            recurrent_layers(model, LSTM_CELLS)


@pytest.mark.parametrize("model", [None, "model.keras", layers.LSTM, normal(2, 3)])
def test_what_is_no_layer_is_an_error(model):
    with pytest.raises(
        ValueError,
        match=f"expected a Keras model or layer; received {type(model).__name__}",
    ):
        recurrent_layers(model, LSTM_CELLS)


# Replacing.


def test_attributes_are_others_inside_of_the_block_and_as_they_were_after():
    layer = lstm_keras.LSTM(UNITS, return_sequences=False)
    before = dict(vars(layer))
    with replaced(layer, return_sequences=True, inner_loop=len, added=3):
        assert layer.return_sequences
        assert layer.inner_loop is len
        assert layer.added == 3
    assert dict(vars(layer)) == before
    assert layer.inner_loop.__func__ is lstm_keras.LSTM.inner_loop


def test_attributes_are_as_they_were_after_an_error():
    layer = lstm_keras.LSTM(UNITS)
    before = dict(vars(layer))
    with pytest.raises(ZeroDivisionError), replaced(layer, go_backwards=True, call=len):
        raise ZeroDivisionError
    assert dict(vars(layer)) == before


# Stepping in.


@pytest.mark.parametrize("make", [lstm_keras.LSTM, layers.LSTM])
@pytest.mark.parametrize("go_backwards", [False, True])
def test_a_call_holds_what_the_layer_was_asked_and_its_loop_answers(make, go_backwards):
    layer = make(UNITS, return_sequences=True, go_backwards=go_backwards, name="one")
    layer.build((None, None, FEATURES))
    randomize_weights(layer)
    x, h, c = (ops.convert_to_tensor(a, "float32") for a in inputs_and_states())
    mask = ops.convert_to_tensor(normal(BATCH, TIME) > 0)
    calls = []

    def on_call(call):
        calls.append(call)
        return call.loop(call.initial_state)

    expected = layer(x, initial_state=[h, c], mask=mask)
    with intercepted(layer, {"one": layer}, on_call):
        outputs = layer(x, initial_state=[h, c], mask=mask)
    assert_all_close(outputs, expected)
    (call,) = calls
    assert call.name == "one" and call.layer is layer
    assert_all_close([call.sequences, *call.initial_state], [x, h, c])
    np.testing.assert_array_equal(
        ops.convert_to_numpy(call.mask), ops.convert_to_numpy(mask)
    )


def test_what_on_call_returns_is_what_the_model_goes_on_with():
    model, _ = functional()
    model.layers[-1].set_weights([np.ones((2 * UNITS, 1)), np.zeros(1)])
    found = recurrent_layers(model, LSTM_CELLS)

    def on_call(call):
        last, every, states = call.loop(call.initial_state)
        return ops.ones_like(last), ops.ones_like(every), states

    with intercepted(model, found, on_call):
        outputs = model(normal(BATCH, TIME, FEATURES))
    np.testing.assert_array_equal(ops.convert_to_numpy(outputs), 2 * UNITS)


def test_passes_are_named_in_the_order_of_computation():
    model, expected = functional()
    names = []

    def on_call(call):
        names.append(call.name)
        return call.loop(call.initial_state)

    for _ in range(2):
        with intercepted(model, expected, on_call):
            model(normal(BATCH, TIME, FEATURES))
    paths = list(expected)
    once = [*paths[:2], "twice#2", *paths[2:]]
    assert names == 2 * once


@pytest.mark.parametrize("fails", [False, True])
def test_no_attribute_is_left_behind(fails):
    model, _ = functional()
    frames = keras.Input((2, None, FEATURES))
    model = keras.Model(frames, layers.TimeDistributed(model)(frames))
    found = recurrent_layers(model, LSTM_CELLS)
    before = attributes(model)
    passes = []

    def on_call(call):
        passes.append(call.name)
        if fails and len(passes) == 3:
            raise ZeroDivisionError
        return call.loop(call.initial_state)

    def run():
        with intercepted(model, found, on_call):
            # Deep within: that only these are other than before.
            for (_, layer), old in zip(
                [("", model), *layers_within(model)], before, strict=True
            ):
                changed = {name for name in vars(layer) if name not in old}
                assert changed <= {"inner_loop", "call"}
            model(normal(BATCH, 2, TIME, FEATURES), training=False)

    if fails:
        with pytest.raises(ZeroDivisionError):
            run()
    else:
        run()
    assert len(passes) == (3 if fails else 6)
    assert_same_attributes(before, attributes(model))


def test_frames_are_one_batch():
    layer = layers.LSTM(UNITS, name="lstm")
    frames = keras.Input((None, None, FEATURES))
    model = keras.Model(frames, layers.TimeDistributed(layer)(frames))
    x = normal(BATCH, 2, TIME, FEATURES)
    expected = model.predict(x, verbose=0)
    shapes = []

    def on_call(call):
        shapes.append(tuple(call.sequences.shape))
        return call.loop(call.initial_state)

    with intercepted(model, {"lstm": layer}, on_call):
        outputs = model(x, training=False)
    assert shapes == [(BATCH * 2, TIME, FEATURES)]
    assert_all_close(outputs, expected)
