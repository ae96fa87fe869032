"""The gates and states of any LSTM are held against the NumPy reference."""

import copy
import functools
import gc
import pickle
import weakref

import keras
import numpy as np
import pytest
from keras import layers, ops

import lstm_keras
from lstm_keras import stream_gates, trace_gates
from lstm_keras.interpret.hooks import layers_within
from tests.helpers.equality import (
    BACKEND,
    BATCH,
    FEATURES,
    TIME,
    TOLERANCES,
    UNITS,
    built,
    inputs_and_states,
    normal,
    randomize_weights,
    reference_call,
    reference_forward,
)
from tests.helpers.models import (
    MASK,
    Block,
    SameNames,
    assert_same_attributes,
    attributes,
    in_threads,
    masks_to_ids,
    vectors_of,
)
from tests.helpers.pairwise import first_of

KINDS = {
    "ours": lstm_keras.LSTM,
    "built-in": layers.LSTM,
    "RNN of ours": lambda units, **kw: layers.RNN(lstm_keras.LSTMCell(units), **kw),
    "RNN of built-in": lambda units, **kw: layers.RNN(layers.LSTMCell(units), **kw),
}


def masked_inputs():
    """Random sequences and initial states for every row of the mask."""
    return inputs_and_states(batch=len(MASK))


def randomized(model, seed=4):
    randomize_weights(model, seed)
    return model


def sequential(*chain, shape=(None, FEATURES), **options):
    return randomized(keras.Sequential([keras.Input(shape, **options), *chain]))


def call(model, inputs):
    """The outputs of a model without compiling it."""
    return ops.convert_to_numpy(model(ops.convert_to_tensor(inputs)))


def assert_traced(trace, layer, *arguments, tolerance=TOLERANCES["float32"]):
    """Hold a layer's trace to the reference, all in the order of the input's time.

    The arguments are those of `reference_forward`; returns its result.
    """
    forward = reference_forward(layer, *arguments)
    order = slice(None, None, -1 if layer.go_backwards else 1)
    expected = {name: getattr(forward, name)[:, order] for name in "ifgoch"}
    expected |= {"mask": forward.mask[:, order], "h0": forward.h0, "c0": forward.c0}
    assert trace.arrays().keys() == expected.keys()
    for name, array in trace.arrays().items():
        assert array.shape == expected[name].shape, name
        np.testing.assert_allclose(
            array, expected[name], rtol=0, atol=tolerance, err_msg=name
        )
    assert trace.mask.dtype == bool
    assert trace.backwards == layer.go_backwards
    return forward


# One layer.


@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())
def test_gates_and_states_equal_the_reference_with_any_mask_and_state(
    make, go_backwards
):
    layer = built(make(UNITS, go_backwards=go_backwards))
    x, h0, c0 = masked_inputs()
    # One row of h serves all, also in several batches.
    batch_size = 1 if go_backwards else 32
    trace = trace_gates(layer, x, [h0[:1], c0], MASK, batch_size=batch_size)
    assert list(trace) == [layer.name]
    assert_traced(trace[0], layer, x, MASK, h0[:1].repeat(len(x), axis=0), c0)


@pytest.mark.parametrize("make", [lstm_keras.LSTM, layers.LSTM])
@pytest.mark.parametrize(
    "arguments",
    [
        {"unroll": True, "use_bias": False},
        {"return_state": True, "dropout": 0.5, "recurrent_dropout": 0.5, "seed": 1},
        {"return_sequences": True, "zero_output_for_mask": True},
    ],
    ids=str,
)
def test_gates_equal_the_reference_with_other_arguments(make, arguments):
    layer = built(make(UNITS, **arguments))
    x, h0, c0 = masked_inputs()
    trace = trace_gates(layer, x.tolist(), [ops.convert_to_tensor(h0), c0], MASK)
    assert_traced(trace[0], layer, x, MASK, h0, c0)


@pytest.mark.parametrize(
    ("dtype", "traced", "tolerance"),
    [
        # A few units in the last place of bfloat16: the errors of the steps add up.
        ("mixed_bfloat16", "float32", 8 * 2.0**-8),
        pytest.param(
            *("float64", "float64", 1e-12),
            marks=pytest.mark.skipif(
                BACKEND != "tensorflow", reason="float64 is TensorFlow's alone"
            ),
        ),
        pytest.param(
            *("float32", "float32", TOLERANCES["float32"]), marks=pytest.mark.thorough
        ),
    ],
)
def test_the_dtype_is_the_layers_but_not_half(dtype, traced, tolerance):
    layer = built(layers.LSTM(UNITS, dtype=dtype))
    x, h0, c0 = masked_inputs()
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")  # whatever the global one is
    try:
        trace = trace_gates(layer, x, [h0, c0], MASK)[0]
    finally:
        keras.config.set_dtype_policy(policy)
    assert {str(a.dtype) for a in trace.arrays().values()} == {traced, "bool"}
    assert_traced(trace, layer, x, MASK, h0, c0, tolerance=tolerance)


@pytest.mark.parametrize("dtype", ["int32", "bool"])
def test_integers_are_traced_as_the_layer_reads_them(dtype):
    layer = built(lstm_keras.LSTM(UNITS))
    x = np.random.default_rng(0).integers(0, 2, (2, 6, FEATURES)).astype(dtype)
    assert_traced(trace_gates(layer, x)[0], layer, x)


# In models.


def embedding():
    return layers.Embedding(20, FEATURES, mask_zero=True)


def stacked(**arguments):
    """Embedding that masks, our layer, Keras's, a head."""
    first = lstm_keras.LSTM(UNITS, return_sequences=True, name="first", **arguments)
    second = layers.LSTM(UNITS - 2, name="second", **arguments)
    head = layers.Dense(1, activation="sigmoid")
    return sequential(embedding(), first, second, head, shape=(None,), dtype="int32")


@first_of("go_backwards", [True, False])
@first_of("zero_output", [True, False])
def test_stacked_layers_see_the_mask_of_an_embedding(zero_output, go_backwards):
    model = stacked(zero_output_for_mask=zero_output, go_backwards=go_backwards)
    ids, (first, second) = masks_to_ids(MASK), model.layers[1:3]
    trace, x = trace_gates(model, ids), vectors_of(model, ids)
    assert_traced(trace["first"], first, x, MASK)
    # What the first returns is in the order of reading, with the mask as it was.
    outputs = reference_call(first, x, MASK).outputs[0]
    assert_traced(trace["second"], second, outputs, MASK)


# Models with the inputs to trace, and by path each layer with its own arguments of the
# reference.


def directions(both, path, *arguments):
    parts = (both.forward_layer, both.backward_layer)
    return {f"{path}/{layer.name}": (layer, *arguments) for layer in parts}


def both_directions():
    every = {"return_sequences": True}
    back = layers.RNN(layers.LSTMCell(UNITS + 2), go_backwards=True, **every)
    forth = lstm_keras.LSTM(UNITS, **every)
    both = built(layers.Bidirectional(forth, backward_layer=back, name="both"))
    x = masked_inputs()[0]
    return both, {"inputs": x, "mask": MASK}, directions(both, "both", x, MASK)


def frames_of_words(make=lstm_keras.LSTM, frames=None):
    mask = np.stack([MASK, MASK[::-1], np.roll(MASK, 1, axis=0)], axis=1)
    ids, layer = masks_to_ids(mask), make(UNITS, name="words")
    each = layers.TimeDistributed(layer, name="frames")
    model = sequential(embedding(), each, shape=(frames, TIME), dtype="int32")
    rows = vectors_of(model, ids).reshape(-1, TIME, FEATURES)
    return model, ids, {"frames/words": (layer, rows, mask.reshape(-1, TIME))}


def masked_with_dense_at_every_step(time=None):
    layer = layers.LSTM(UNITS, return_sequences=True, name="lstm")
    dense = layers.TimeDistributed(layers.Dense(3))
    model = sequential(embedding(), layer, dense, shape=(time,), dtype="int32")
    ids = masks_to_ids(MASK)
    return model, ids, {"lstm": (layer, vectors_of(model, ids), MASK)}


def layers_called_twice():
    inputs, inner_inputs = keras.Input((None, UNITS)), keras.Input((None, UNITS))
    outer, inner = (
        kind(UNITS, return_sequences=True, name="lstm")
        for kind in (lstm_keras.LSTM, layers.LSTM)
    )
    once = keras.Model(inner_inputs, inner(inner_inputs), name="inner")
    model = randomized(keras.Model(inputs, outer(once(outer(once(inputs))))))
    x = every = normal(BATCH, TIME, UNITS)
    expected = {}
    for path in ("inner/lstm", "lstm", "inner/lstm#2", "lstm#2"):
        layer = inner if path.startswith("inner") else outer
        expected[path] = (layer, every)
        every = reference_forward(layer, every).h
    return model, x, expected


def composite_layer():
    block, inputs = Block(name="block"), keras.Input((None, FEATURES))
    model = randomized(keras.Model(inputs, block(inputs)))
    x, first, both = normal(BATCH, TIME, FEATURES), block.first[0], block.then["b"]
    h = reference_forward(first, x).h
    return model, x, {"block/a": (first, x), **directions(both, "block/b", h)}


def subclass_with_two_layers_of_one_name():
    model, x = SameNames(), normal(BATCH, TIME, FEATURES)
    model(x)
    h = reference_forward(randomized(model).one, x).h
    return model, x, {"same": (model.one, x), "same_": (model.other, h)}


def decoder_that_starts_at_the_states_of_an_encoder():
    inputs = keras.Input((None, FEATURES))
    encoder = layers.LSTM(UNITS, return_state=True, name="encoder")
    decoder = lstm_keras.LSTM(UNITS, return_sequences=True, name="decoder")
    _, *states = encoder(inputs)
    model = randomized(keras.Model(inputs, decoder(inputs, initial_state=states)))
    x = normal(BATCH, TIME, FEATURES)
    forward = reference_forward(encoder, x)
    last = (forward.h_last, forward.c_last)
    return model, x, {"encoder": (encoder, x), "decoder": (decoder, x, None, *last)}


def model_that_takes_mask_and_state():
    layer = layers.LSTM(UNITS, name="lstm")
    model, (x, h0, c0) = sequential(layer, layers.Dense(1)), masked_inputs()
    arguments = {"inputs": x, "initial_state": [h0, c0], "mask": MASK}
    return model, arguments, {"lstm": (layer, x, MASK, h0, c0)}


def several_inputs(form=list):
    left, right = keras.Input((None, FEATURES)), keras.Input((None, 2))
    one, other = layers.LSTM(UNITS, name="one"), lstm_keras.LSTM(3, name="other")
    outputs = layers.Concatenate()([one(left), other(right)])
    inputs = [left, right] if form is list else {"left": left, "right": right}
    model = randomized(keras.Model(inputs, outputs))
    x, y = normal(BATCH, TIME, FEATURES, seed=1), normal(BATCH, TIME - 2, 2, seed=2)
    arrays = [x, y] if form is list else {"right": y, "left": x}
    arguments = {"inputs": arrays, "batch_size": 1}
    return model, arguments, {"one": (one, x), "other": (other, y)}


def numbered_layers():
    """JAX returns dictionaries sorted: "lstm_10" would come before "lstm_2"."""
    chain = [layers.LSTM(2, return_sequences=True, name=f"lstm_{n}") for n in (10, 2)]
    model, x = sequential(*chain), normal(BATCH, TIME, FEATURES)
    h = reference_forward(chain[0], x).h
    return model, x, {"lstm_10": (chain[0], x), "lstm_2": (chain[1], h)}


MODELS = [
    both_directions,
    frames_of_words,
    masked_with_dense_at_every_step,
    layers_called_twice,
    subclass_with_two_layers_of_one_name,
    decoder_that_starts_at_the_states_of_an_encoder,
    model_that_takes_mask_and_state,
    several_inputs,
]
VARIANTS = {
    "three frames": functools.partial(frames_of_words, layers.LSTM, frames=3),
    "one length": functools.partial(masked_with_dense_at_every_step, time=TIME),
    "a composite layer": composite_layer,
    "inputs by name": functools.partial(several_inputs, form=dict),
    "numbered layers": numbered_layers,
}


@pytest.mark.parametrize(
    "make",
    [
        *(pytest.param(make, id=make.__name__) for make in MODELS),
        *(
            pytest.param(make, id=name, marks=pytest.mark.thorough)
            for name, make in VARIANTS.items()
        ),
    ],
)
def test_every_lstm_of_a_model_is_traced_in_the_order_of_computation(make):
    model, arguments, expected = make()
    by_name = isinstance(arguments, dict) and "inputs" in arguments
    trace = trace_gates(model, **(arguments if by_name else {"inputs": arguments}))
    assert list(trace) == list(expected)
    for path, (layer, *of_reference) in expected.items():
        assert_traced(trace[path], layer, *of_reference)


@first_of("every", [True, False])
@first_of("go_backwards", [True, False])
def test_a_layer_that_returns_its_cell_states_is_traced_and_returns_them(
    go_backwards, every
):
    first = lstm_keras.LSTM(
        UNITS,
        return_sequences=every,
        go_backwards=go_backwards,
        zero_output_for_mask=go_backwards != every,
        return_cell_states=True,
    )
    inputs = keras.Input((None, FEATURES))
    steps = layers.Concatenate()(first(layers.Masking()(inputs)))
    steps = steps if every else layers.Reshape((1, 2 * UNITS))(steps)
    second = layers.LSTM(UNITS, use_cudnn=False)
    model = randomized(keras.Model(inputs, second(steps)))
    x = masked_inputs()[0] * MASK[..., None]
    trace = trace_gates(model, x)
    assert_traced(trace[0], first, x, MASK)
    joined = np.concatenate(reference_call(first, x, MASK).outputs[:2], axis=-1)
    seen = (joined, MASK) if every else (joined[:, None],)
    assert_traced(trace[1], second, *seen)


@first_of("go_backwards", [True, False])
def test_a_learned_initial_state_is_the_one_before_the_first_step(go_backwards):
    layer = lstm_keras.LSTM(UNITS, go_backwards=go_backwards, learn_initial_state=True)
    model, (x, h0, c0) = sequential(layer), masked_inputs()
    learned = [
        ops.convert_to_numpy(state).repeat(len(x), axis=0)
        for state in (layer.initial_h, layer.initial_c)
    ]
    assert np.abs(learned).min() > 0
    assert_traced(trace_gates(model, x)[0], layer, x, None, *learned)
    trace = trace_gates(model, x, [h0, c0], MASK)
    assert_traced(trace[0], layer, x, MASK, h0, c0)


class WithoutConfiguration(layers.Layer):
    def __init__(self, something):
        super().__init__()
        self.something = something

    def call(self, x):
        return x


def test_other_layers_may_be_stateful_stacks_or_have_no_configuration():
    stack = [layers.LSTMCell(3), layers.LSTMCell(3)]
    model = sequential(
        layers.RNN(stack, stateful=True, return_sequences=True),
        WithoutConfiguration(object()),
        lstm_keras.LSTM(3, return_sequences=True),
        shape=(6, FEATURES),
        batch_size=2,
    )
    x = normal(2, 6, FEATURES).astype("float32")
    np.testing.assert_allclose(trace_gates(model, x)[0].h, call(model, x), atol=1e-5)


# In batches.


def test_batches_are_streamed_and_joined_though_the_last_one_is_smaller():
    model, mask = stacked(), np.concatenate([MASK, MASK[1:3]])
    ids, (first, second) = masks_to_ids(mask), model.layers[1:3]
    joined = trace_gates(model, ids, batch_size=3)
    forward = assert_traced(joined["first"], first, vectors_of(model, ids), mask)
    assert_traced(joined["second"], second, forward.h, mask)
    stream = list(stream_gates(model, ids, batch_size=3))
    assert [len(trace["second"].h) for trace in stream] == [3, 3, 1]
    for field, array in joined["first"].arrays().items():
        parts = [getattr(trace["first"], field) for trace in stream]
        np.testing.assert_array_equal(np.concatenate(parts), array)


def assert_traced_in_two_batches(trace, layer, x, *states):
    """The second batch goes on from the states after the first."""
    first = reference_forward(layer, x[:2], None, *states)
    second = reference_forward(layer, x[2:], None, first.h_last, first.c_last)
    for name in ("f", "c", "h", "h0", "c0"):
        expected = np.concatenate([getattr(first, name), getattr(second, name)])
        np.testing.assert_allclose(getattr(trace, name), expected, atol=1e-5)


@first_of("make", [lstm_keras.LSTM, layers.LSTM])
def test_states_are_carried_from_batch_to_batch_and_restored(make):
    below = layers.GRU(UNITS, stateful=True, return_sequences=True)
    # Keras's cuDNN on JAX reads what comes from a loop in the wrong order.
    layer = make(UNITS, stateful=True, use_cudnn=False)
    model = sequential(below, layer, shape=(TIME, FEATURES), batch_size=2)
    x, states = normal(4, TIME, FEATURES), [*below.states, *layer.states]
    for seed in (2, 5):
        for number, state in enumerate(states):
            state.assign(normal(2, UNITS, seed=seed + number))
        before = [np.array(ops.convert_to_numpy(state)) for state in states]
        trace = trace_gates(model, x, batch_size=2)[0]
        for streamed in stream_gates(model, x, batch_size=2):
            assert len(streamed[0].h) == 2
        for state, value in zip(states, before, strict=True):
            np.testing.assert_array_equal(ops.convert_to_numpy(state), value)
        hidden = [call(below, part.astype("float32")) for part in (x[:2], x[2:])]
        assert_traced_in_two_batches(trace, layer, np.concatenate(hidden), *before[1:])


# The model afterwards.


@keras.saving.register_keras_serializable("test_trace")
class Fragile(layers.Layer):
    """Passes its inputs on until it breaks, and counts how often Python does so."""

    broken, calls = False, 0

    def call(self, inputs):
        if Fragile.broken:
            raise ZeroDivisionError("broken")
        Fragile.calls += 1
        return inputs

    def compute_output_shape(self, input_shape):
        return input_shape


def fragile_model():
    """All that is replaced while a model is traced, and a layer that breaks."""
    both = layers.Bidirectional(lstm_keras.LSTM(UNITS), name="both")
    # Not layers.LSTM: its cuDNN on JAX reads what comes from a loop in the wrong order.
    cell = layers.LSTMCell(UNITS)
    after = layers.RNN(cell, zero_output_for_mask=True, name="after")
    chain = (layers.TimeDistributed(both), after, Fragile(), layers.Dense(1))
    model = sequential(*chain, shape=(2, TIME, FEATURES))
    return model, normal(BATCH, 2, TIME, FEATURES)


def test_the_model_is_unchanged_even_after_an_error_in_the_middle(monkeypatch):
    model, x = fragile_model()
    expected = call(model, x)
    before, weights = attributes(model), model.get_weights()
    monkeypatch.setattr(Fragile, "broken", True)
    with pytest.raises(ZeroDivisionError, match="broken"):
        trace_gates(model, x)
    assert_same_attributes(before, attributes(model))
    monkeypatch.setattr(Fragile, "broken", False)
    h = trace_gates(model, x)["after"].h[:, -1]
    assert_same_attributes(before, attributes(model))
    for one, other in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(call(model, x), expected)
    kernel, bias = model.layers[-1].get_weights()
    np.testing.assert_allclose(h @ kernel + bias, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.thorough
def test_a_traced_model_can_be_saved_trained_and_traced_again(tmp_path):
    model, x = fragile_model()
    trace_gates(model, x)
    expected = call(model, x)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(call(again, x), expected, rtol=1e-6)
    model.compile("sgd", "mse")
    model.fit(x, np.ones((BATCH, 1)), verbose=0)
    trained = call(model, x)
    assert np.abs(trained - expected).max() > 1e-4
    kernel, bias = model.layers[-1].get_weights()
    outputs = trace_gates(model, x)["after"].h[:, -1] @ kernel + bias
    np.testing.assert_allclose(outputs, trained, rtol=1e-5, atol=1e-6)


def test_the_next_trace_shows_what_has_changed_meanwhile():
    layer = layers.LSTM(UNITS, return_sequences=True)
    model, x = sequential(layer), normal(BATCH, TIME, FEATURES).astype("float32")
    for change in (
        lambda: None,
        lambda: randomized(model, seed=50),
        lambda: setattr(layer.cell, "activation", ops.relu),
        lambda: model.add(layers.LSTM(UNITS)),
    ):
        change()
        trace = trace_gates(model, x)
        assert len(trace) == len(model.layers)
        found = trace[-1].h if len(trace) == 1 else trace[-1].h[:, -1]
        np.testing.assert_allclose(found, call(model, x), rtol=1e-5, atol=1e-6)
    assert trace_gates(model, x[:1, :3])[0].h.shape == (1, 3, UNITS)


# Compiled once, and forgotten with the model.


@pytest.mark.skipif(BACKEND == "torch", reason="nothing is compiled there")
def test_a_model_is_compiled_once_for_one_shape(monkeypatch):
    layer = lstm_keras.LSTM(UNITS)
    model, x = sequential(layer, Fragile()), normal(4, TIME, FEATURES)
    trace_gates(model, x, batch_size=2)
    monkeypatch.setattr(Fragile, "calls", 0)
    for seed in range(3):
        trace_gates(built(layers.LSTM(1)), x[:1])
        trace_gates(model, x + seed, batch_size=2)
    assert Fragile.calls == 0
    layer.cell.activation = ops.relu
    trace_gates(model, x, batch_size=2)
    assert Fragile.calls > 0


def stateful_model():
    layer = lstm_keras.LSTM(UNITS, stateful=True)
    model = sequential(layer, shape=(TIME, FEATURES), batch_size=BATCH)
    return model, normal(BATCH, TIME, FEATURES)


def subclassed_model():
    return SameNames(), normal(BATCH, TIME, FEATURES)


@pytest.mark.thorough
@pytest.mark.parametrize("make", [fragile_model, stateful_model, subclassed_model])
def test_a_traced_model_is_freed_when_it_is_no_longer_used(make):
    model, x = make()
    trace = trace_gates(model, x)
    parts = [model, *(layer for _, layer in layers_within(model))]
    alive = [weakref.ref(part) for part in parts]
    del model, parts
    gc.collect()
    assert [ref() for ref in alive] == [None] * len(alive)
    assert len(trace) > 0


# In several threads. (That one may trace a model while others call it, or take its
# gradients, is tested in test_gradients.py.)


def test_two_threads_trace_two_models_that_share_a_layer():
    shared = lstm_keras.LSTM(UNITS, name="shared")
    inputs = keras.Input((None, FEATURES))
    first = keras.Model(inputs, shared(inputs))
    below = layers.LSTM(FEATURES, return_sequences=True, name="below")
    second = randomized(keras.Model(inputs, shared(below(inputs))))
    x, y = normal(BATCH, TIME, FEATURES), normal(BATCH, TIME, FEATURES, seed=1)
    one, other = in_threads(
        lambda: trace_gates(first, x, batch_size=2), lambda: trace_gates(second, y)
    )
    for trace in one:
        assert list(trace) == ["shared"]
        assert_traced(trace[0], shared, x)
    for trace in other:
        assert list(trace) == ["below", "shared"]
        assert_traced(trace[1], shared, reference_forward(below, y).h)


def test_two_threads_trace_one_model_of_a_stateful_layer():
    layer = layers.LSTM(UNITS, stateful=True, use_cudnn=False)
    model = sequential(layer, shape=(TIME, FEATURES), batch_size=2)
    x = [normal(4, TIME, FEATURES, seed=seed) for seed in range(2)]
    found = in_threads(*(lambda x=x: trace_gates(model, x, batch_size=2) for x in x))
    for traces, sequences in zip(found, x, strict=True):
        for trace in traces:
            assert_traced_in_two_batches(trace[0], layer, sequences)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's strategy")
def test_a_model_is_traced_under_a_strategy_that_calls_it_in_another_thread():
    import tensorflow as tf

    ids = masks_to_ids(MASK)
    with tf.distribute.MirroredStrategy(["/cpu:0"]).scope():
        model = stacked()
        trace = trace_gates(model, ids)
    assert_traced(trace["first"], model.layers[1], vectors_of(model, ids), MASK)


# The result.


def test_a_trace_can_be_saved_copied_and_pickled(tmp_path):
    trace = trace_gates(built(layers.LSTM(2)), np.ones((1, 3, FEATURES)))
    np.savez(tmp_path / "trace.npz", **trace[0].arrays())
    with np.load(tmp_path / "trace.npz") as saved:
        assert sorted(saved) == sorted("i f g o c h mask h0 c0".split())
        np.testing.assert_array_equal(saved["c"], trace[0].c)
        np.testing.assert_array_equal(saved["mask"], trace[0].mask)
    for same in (copy.copy(trace), copy.deepcopy(trace)):
        np.testing.assert_array_equal(same[0].h, trace[0].h)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(trace))[0].h, trace[0].h)


# Errors.


X, H, C = np.zeros((3, 6, FEATURES)), np.zeros((3, UNITS)), np.zeros((3, UNITS))
ONES = np.ones((3, 6), bool)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X[:0],), r"at least one; received the shapes \[\(0, 6, 4\)\]"),
        ((0.5,), r"at least one; received the shapes \[\(\)\]"),
        ((X[:0], [H[:1], C[:1]]), "at least one"),
        ((X, [H[:2], C]), r"same number of examples.*\(2, 5\)"),
        ((X, [H, 0.5]), "same number of examples"),
        ((X, None, ONES[:1]), r"same number of examples.*\(1, 6\)"),
        ((X, None, ONES[0]), "same number of examples"),
        ((X, None, ONES[:, 0]), r"a mask of shape \(batch, time\); .* \(3,\)"),
        ((X, [H]), r"units\) = \(3, 5\) or \(1, 5\); received shapes \[\(3, 5\)\]"),
        ((X, [H, C[:, 1:]]), r"received shapes \[\(3, 5\), \(3, 4\)\]"),
        ((X, [H, C, C]), r"expected initial_state to be \[h, c\]"),
    ],
)
def test_arguments_that_do_not_fit_are_errors(arguments, message):
    layer = built(layers.LSTM(UNITS))
    for function in (trace_gates, stream_gates):
        with pytest.raises(ValueError, match=message):
            function(layer, *arguments)
        with pytest.raises(ValueError, match="expected batch_size >= 1; received 0"):
            function(layer, X, batch_size=0)


def test_an_initial_state_for_several_layers_is_an_error():
    with pytest.raises(
        ValueError,
        match="expected a model with one LSTM to start at initial_state; received one "
        r"with \['first', 'second'\]",
    ):
        trace_gates(stacked(), masks_to_ids(MASK), np.zeros((2, 5, UNITS)))


def test_inputs_with_other_features_raise_the_error_of_keras_and_leave_nothing_behind():
    layer = built(layers.LSTM(UNITS))
    before = attributes(layer)
    with pytest.raises(Exception, match=r"(?i)shape|dimension|size"):
        trace_gates(layer, normal(BATCH, TIME, FEATURES + 1))
    assert_same_attributes(before, attributes(layer))
    assert_traced(trace_gates(layer, X)[0], layer, X)
