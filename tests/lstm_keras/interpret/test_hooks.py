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
    inputs_and_states,
    normal,
    randomize_weights,
)
from tests.helpers.models import (
    Block,
    ChangedCell,
    SameNames,
    assert_same_attributes,
    attributes,
)


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


# Finding.


def test_layers_are_found_by_the_names_on_the_way():
    model, expected = functional()
    found = dict(layers_within(model))
    for path, layer in expected.items():
        assert found[path] is layer
    assert found["dense"] is model.layers[-1]
    assert "inner" in found and "block" in found and "block/b" in found


def test_paths_begin_with_the_given_prefix():
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
    assert found == {"same": model.one, "same_": model.other}


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.RNN(ChangedCell(UNITS), name="changed"),
        lambda: layers.RNN([layers.LSTMCell(UNITS)] * 2, name="stack"),
        lambda: layers.GRU(UNITS, name="gru"),
    ],
)
def test_without_a_matching_layer_the_error_lists_the_layers(make):
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


def test_the_error_names_each_cell_once_and_a_model_without_layers():
    model = Nothing(name="empty")
    model(np.ones((1, 1)))
    with pytest.raises(
        ValueError, match=r"is LSTMCell or GRUCell; received 'empty' .* none"
    ):
        recurrent_layers(model, (*LSTM_CELLS, layers.GRUCell))


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
    with pytest.raises(
        KeyError, match=r"expected one of \['first', 'second'\]; received 'third'"
    ):
        found["third"]
    for position in (2, -3):
        with pytest.raises(
            IndexError, match=f"expected one of 2 passes; received {position}"
        ):
            found[position]
    assert not hasattr(found, "f")


# Building.


class Subclassed(keras.Model):
    """Knows no shape before it is called."""

    def __init__(self):
        super().__init__()
        self.lstm = layers.LSTM(UNITS, name="lstm")

    def call(self, inputs):
        return self.lstm(inputs["x"])


UNBUILT = {
    "a layer": (lambda: layers.LSTM(UNITS), normal(2, TIME, FEATURES)),
    "a wrapper": (
        lambda: layers.Bidirectional(lstm_keras.LSTM(UNITS)),
        normal(2, TIME, FEATURES),
    ),
    "a Sequential": (
        lambda: keras.Sequential([layers.Embedding(9, 2), lstm_keras.LSTM(UNITS)]),
        np.ones((2, TIME), "int64"),
    ),
    "a subclassed model": (Subclassed, {"x": normal(2, TIME, FEATURES)}),
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
        build(model, normal(2, TIME, FEATURES), batch_size=2)


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
    model, _ = functional()
    for function in (
        lambda: lstm_keras.trace_gates(model, dataset),
        lambda: lstm_keras.stream_gates(model, {"x": dataset}),
        lambda: lstm_keras.gradient_flow(model, dataset, None, "mse"),
    ):
        with pytest.raises(
            ValueError,
            match=rf"first axis is the batch; received {name} \(if it is a dataset, "
            r"give its batches one by one\)",
        ):
            function()


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


def test_attributes_are_replaced_in_the_block_and_restored_afterwards():
    layer = lstm_keras.LSTM(UNITS, return_sequences=False)
    before = dict(vars(layer))
    with replaced(layer, return_sequences=True, inner_loop=len, added=3):
        assert layer.return_sequences
        assert layer.inner_loop("four") == 4
        assert layer.added == 3
    assert dict(vars(layer)) == before
    assert layer.inner_loop.__func__ is lstm_keras.LSTM.inner_loop


def test_attributes_are_restored_after_an_error():
    layer = lstm_keras.LSTM(UNITS)
    before = dict(vars(layer))
    with pytest.raises(ZeroDivisionError), replaced(layer, go_backwards=True, call=len):
        raise ZeroDivisionError
    assert dict(vars(layer)) == before


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


@pytest.mark.parametrize("make", [lstm_keras.LSTM, layers.LSTM])
@pytest.mark.parametrize("go_backwards", [False, True])
def test_a_call_holds_what_the_layer_was_called_with(make, go_backwards):
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
    assert call.path == "one" and call.layer is layer
    assert_all_close([call.sequences, *call.initial_state], [x, h, c])
    np.testing.assert_array_equal(
        ops.convert_to_numpy(call.mask), ops.convert_to_numpy(mask)
    )


@pytest.mark.parametrize("make", [lstm_keras.LSTM, layers.LSTM, layers.GRU])
def test_a_loop_with_other_attributes_leaves_the_layer_as_it_is(make):
    layer = make(UNITS, name="one")
    layer.build((None, None, FEATURES))
    randomize_weights(layer)
    every = make(UNITS, return_sequences=True)
    every.build((None, None, FEATURES))
    every.set_weights(layer.get_weights())
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


def test_a_mask_may_have_one_more_axis():
    layer = layers.LSTM(UNITS)
    layer.build((None, None, FEATURES))
    mask = normal(BATCH, TIME) > 0
    masks = []

    def on_call(call):
        masks.append(ops.convert_to_numpy(call.mask))
        return call.loop(call.initial_state)

    with intercepted(layer, {"lstm": layer}, on_call):
        layer(
            normal(BATCH, TIME, FEATURES), mask=ops.convert_to_tensor(mask[..., None])
        )
    np.testing.assert_array_equal(masks, [mask])


def test_a_model_that_another_thread_uses_meanwhile_is_not_intercepted_there():
    model, _ = functional()
    x = normal(BATCH, TIME, FEATURES)
    expected = model(x, training=False)
    elsewhere = []

    def on_call(call):
        if not elsewhere:
            elsewhere.append(in_a_thread(lambda: model(x, training=False)))
        passes.append(call.path)
        return call.loop(call.initial_state)

    passes = []
    with intercepted(model, recurrent_layers(model, LSTM_CELLS), on_call):
        outputs = model(x, training=False)
    assert len(passes) == 6
    assert_all_close([outputs, *elsewhere], [expected, expected])


def test_the_model_continues_with_what_on_call_returns():
    model, _ = functional()
    model.layers[-1].set_weights([np.ones((2 * UNITS, 1)), np.zeros(1)])
    found = recurrent_layers(model, LSTM_CELLS)

    def on_call(call):
        last, every, states = call.loop(call.initial_state)
        return ops.ones_like(last), ops.ones_like(every), states

    with intercepted(model, found, on_call):
        outputs = model(normal(BATCH, TIME, FEATURES))
    np.testing.assert_array_equal(ops.convert_to_numpy(outputs), 2 * UNITS)


def test_passes_come_in_the_order_of_computation():
    model, expected = functional()
    found = []

    def on_call(call):
        found.append(call.path)
        return call.loop(call.initial_state)

    for _ in range(2):
        with intercepted(model, expected, on_call):
            model(normal(BATCH, TIME, FEATURES))
    first, twice, *others = expected
    assert found == 2 * [first, twice, twice, *others]


@pytest.mark.parametrize("fails", [False, True])
def test_no_attribute_is_left_behind(fails):
    model, _ = functional()
    frames = keras.Input((2, None, FEATURES))
    model = keras.Model(frames, layers.TimeDistributed(model)(frames))
    found = recurrent_layers(model, LSTM_CELLS)
    before = attributes(model)
    passes = []

    def on_call(call):
        passes.append(call.path)
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
