"""The gates and states of any LSTM are held against the NumPy reference."""

import copy
import gc
import itertools
import pickle
import weakref

import keras
import numpy as np
import pytest
from keras import layers, ops

import lstm_keras
from lstm_keras import stream_gates, trace_gates
from lstm_keras.interpret.hooks import layers_within
from lstm_keras.reference import lstm_forward
from tests.helpers.equality import (
    BACKEND,
    BATCH,
    FEATURES,
    TIME,
    TOLERANCES,
    UNITS,
    inputs_and_states,
    normal,
    randomize_weights,
    reference_forward,
)
from tests.helpers.models import (
    MASK,
    Block,
    ChangedCell,
    SameNames,
    assert_same_attributes,
    attributes,
    in_threads,
    masks_to_ids,
    vectors_of,
)
from tests.helpers.pairwise import first_of, pairwise

KINDS = {
    "ours": lstm_keras.LSTM,
    "built-in": layers.LSTM,
    "RNN of ours": lambda units, **kw: layers.RNN(lstm_keras.LSTMCell(units), **kw),
    "RNN of built-in": lambda units, **kw: layers.RNN(layers.LSTMCell(units), **kw),
}
every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())
both_kinds = pytest.mark.parametrize(
    "make", [lstm_keras.LSTM, layers.LSTM], ids=["ours", "built-in"]
)
every_direction = pytest.mark.parametrize("go_backwards", [False, True])


def masked_inputs():
    """Random sequences and initial states for every row of the mask."""
    return inputs_and_states(batch=len(MASK))


def built(layer, features=FEATURES, seed=4):
    """The layer with random weights."""
    layer.build((None, None, features))
    randomize_weights(layer, seed)
    return layer


def randomized(model, seed=4):
    randomize_weights(model, seed)
    return model


def assert_traced(trace, layer, forward, tolerance=TOLERANCES["float32"]):
    """Hold a layer's trace to the reference, all in the order of the input's time."""
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


# One layer.


@every_kind
@every_direction
def test_gates_and_states_equal_the_reference_with_any_mask_and_state(
    make, go_backwards
):
    layer = built(make(UNITS, go_backwards=go_backwards))
    x, h0, c0 = masked_inputs()
    trace = trace_gates(layer, x, [h0, c0], MASK)
    assert list(trace) == [layer.name]
    assert_traced(trace[0], layer, reference_forward(layer, x, MASK, h0, c0))


@every_kind
def test_h_is_the_output_of_the_model(make):
    layer = make(UNITS, return_sequences=True)
    model = randomized(keras.Sequential([keras.Input((None, FEATURES)), layer]))
    x = normal(BATCH, TIME, FEATURES)
    trace = trace_gates(model, x)
    np.testing.assert_allclose(trace[0].h, model.predict(x, verbose=0), atol=1e-6)
    assert_traced(trace[layer.name], layer, reference_forward(layer, x))


@both_kinds
@pytest.mark.parametrize(
    "arguments",
    [
        {"unroll": True},
        {"use_bias": False},
        {"return_state": True},
        {"dropout": 0.5, "recurrent_dropout": 0.5, "seed": 1},
    ],
    ids=str,
)
def test_gates_equal_the_reference_with_other_arguments(make, arguments):
    layer = built(make(UNITS, **arguments))
    x, h0, c0 = masked_inputs()
    before = layer.get_weights()
    trace = trace_gates(layer, x, [h0, c0], MASK)
    assert_traced(trace[0], layer, reference_forward(layer, x, MASK, h0, c0))
    for one, other in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


ACTIVATIONS = {
    "relu": lambda z: np.maximum(z, 0),
    "softsign": lambda z: z / (1 + np.abs(z)),
    "linear": lambda z: z,
    "hard_sigmoid": lambda z: np.clip(z / 6 + 0.5, 0, 1),
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
}


@both_kinds
@pytest.mark.parametrize(
    ("activation", "recurrent_activation"),
    [("softsign", "hard_sigmoid"), ("linear", "sigmoid"), ("relu", "softsign")],
)
def test_custom_activations_without_bias_are_honoured(
    make, activation, recurrent_activation
):
    layer = make(
        UNITS,
        activation=activation,
        recurrent_activation=recurrent_activation,
        use_bias=False,
    )
    built(layer)
    x, h, c = inputs_and_states()
    trace = trace_gates(layer, x, [h, c])[0]
    kernel, recurrent_kernel = layer.get_weights()
    act, gate = ACTIVATIONS[activation], ACTIVATIONS[recurrent_activation]
    for t in range(TIME):
        z = x[:, t] @ kernel + h @ recurrent_kernel
        parts = [z[:, n * UNITS : (n + 1) * UNITS] for n in range(4)]
        i, f, g, o = gate(parts[0]), gate(parts[1]), act(parts[2]), gate(parts[3])
        c = f * c + i * g
        h = o * act(c)
        for name, expected in zip("ifgoch", (i, f, g, o, c, h), strict=True):
            np.testing.assert_allclose(
                getattr(trace, name)[:, t], expected, rtol=1e-4, atol=1e-5
            )


def test_half_precision_is_traced_in_single():
    layer = layers.LSTM(UNITS, return_sequences=True, dtype="mixed_bfloat16")
    built(layer)
    x, h0, c0 = masked_inputs()
    trace = trace_gates(layer, x, [h0, c0], MASK)[0]
    assert {array.dtype for array in trace.arrays().values()} == {
        np.dtype("float32"),
        np.dtype(bool),
    }
    # A few units in the last place of bfloat16, for the errors of the steps add up.
    assert_traced(trace, layer, reference_forward(layer, x, MASK, h0, c0), 8 * 2.0**-8)
    outputs = layer(x, initial_state=[ops.convert_to_tensor(s) for s in (h0, c0)])
    outputs = ops.convert_to_numpy(ops.cast(outputs, "float32"))
    np.testing.assert_allclose(trace.h[0], outputs[0], atol=2.0**-7)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="float64 is TensorFlow's alone")
@both_kinds
def test_double_precision_is_traced_in_double(make):
    layer = built(make(UNITS, dtype="float64"))
    x, h0, c0 = masked_inputs()
    trace = trace_gates(layer, x, [h0, c0], MASK)
    assert_traced(trace[0], layer, reference_forward(layer, x, MASK, h0, c0), 1e-12)


def test_the_dtype_is_the_models_whatever_the_global_one_is():
    layer = built(layers.LSTM(UNITS))
    x, h0, c0 = inputs_and_states()
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        trace = trace_gates(layer, x, [h0, c0])
    finally:
        keras.config.set_dtype_policy(policy)
    assert_traced(trace[0], layer, reference_forward(layer, x, None, h0, c0))


# In models.


def stacked(**arguments):
    """Embedding that masks, our layer, Keras's, a head."""
    return randomized(
        keras.Sequential(
            [
                keras.Input((None,), dtype="int32"),
                layers.Embedding(20, FEATURES, mask_zero=True),
                lstm_keras.LSTM(
                    UNITS, return_sequences=True, name="first", **arguments
                ),
                layers.LSTM(UNITS - 2, name="second", **arguments),
                layers.Dense(1, activation="sigmoid"),
            ]
        )
    )


@first_of("zero_output_for_mask", [True, False])
@every_direction
def test_stacked_layers_see_the_mask_of_an_embedding(
    zero_output_for_mask, go_backwards
):
    arguments = {
        "zero_output_for_mask": zero_output_for_mask,
        "go_backwards": go_backwards,
    }
    model, ids = stacked(**arguments), masks_to_ids(MASK)
    first, second = model.layers[1:3]
    trace = trace_gates(model, ids)
    assert list(trace) == ["first", "second"]
    forward = reference_forward(first, vectors_of(model, ids), MASK)
    assert_traced(trace["first"], first, forward)
    # What the first puts out is in the order of reading, with the mask as it was.
    outputs = forward.outputs(zero_output_for_mask)
    if go_backwards and zero_output_for_mask:
        outputs = keras_outputs(first, vectors_of(model, ids))
    assert_traced(trace["second"], second, reference_forward(second, outputs, MASK))


def keras_outputs(layer, vectors):
    return ops.convert_to_numpy(layer(vectors, mask=ops.convert_to_tensor(MASK)))


def test_zeroed_outputs_are_not_the_states():
    layer = layers.LSTM(UNITS, return_sequences=True, zero_output_for_mask=True)
    built(layer)
    x, h0, c0 = masked_inputs()
    trace = trace_gates(layer, x, [h0, c0], MASK)[0]
    # A masked step has the state of the step before.
    before = np.concatenate([h0[:, None], trace.h[:, :-1]], axis=1)
    np.testing.assert_allclose(trace.h[~MASK], before[~MASK], atol=1e-6)
    assert np.abs(trace.h[~MASK]).min() > 0
    assert_traced(trace, layer, reference_forward(layer, x, MASK, h0, c0))


@first_of("masked", [True, False])
@pytest.mark.parametrize("return_sequences", [False, True])
def test_both_directions_are_traced(masked, return_sequences):
    both = layers.Bidirectional(
        layers.LSTM(UNITS, return_sequences=return_sequences), name="both"
    )
    inputs = keras.Input((TIME,), dtype="int32")
    vectors = layers.Embedding(20, FEATURES, mask_zero=masked)(inputs)
    model = randomized(keras.Model(inputs, both(vectors)))
    ids = masks_to_ids(MASK)
    trace = trace_gates(model, ids)
    assert list(trace) == [
        f"both/{layer.name}" for layer in (both.forward_layer, both.backward_layer)
    ]
    mask = MASK if masked else None
    x = vectors_of(model, ids)
    for one, layer in zip(
        trace.values(), (both.forward_layer, both.backward_layer), strict=True
    ):
        assert_traced(one, layer, reference_forward(layer, x, mask))
    forth, back = trace[0].h, trace[1].h
    if not return_sequences:
        forth, back = forth[:, -1], back[:, 0]
    expected = np.concatenate([forth, back], axis=-1)
    outputs = model.predict(ids, verbose=0)
    # Where nothing was read yet, an output is zero on most backends.
    rows = slice(0, 1) if masked and return_sequences else slice(None)
    tolerance = TOLERANCES["float32"]
    np.testing.assert_allclose(outputs[rows], expected[rows], atol=tolerance)


@first_of("masked", [True, False])
def test_a_distinct_backward_layer_is_traced(masked):
    back = layers.RNN(
        layers.LSTMCell(UNITS + 2),
        return_sequences=True,
        go_backwards=True,
        name="back",
    )
    forth = lstm_keras.LSTM(UNITS, return_sequences=True, name="forth")
    both = layers.Bidirectional(forth, backward_layer=back, name="both")
    built(both)
    x = masked_inputs()[0]
    mask = MASK if masked else None
    trace = trace_gates(both, x, mask=mask)
    names = ["both/" + one.name for one in (both.forward_layer, both.backward_layer)]
    assert list(trace) == names
    for name, layer in zip(
        names, (both.forward_layer, both.backward_layer), strict=True
    ):
        assert_traced(trace[name], layer, reference_forward(layer, x, mask))
    assert trace[1].h.shape == (len(MASK), TIME, UNITS + 2)


@both_kinds
@first_of("frames", [None, 3])
def test_frames_of_time_distributed_are_rows_of_one_batch(make, frames):
    mask = np.stack([MASK, MASK[::-1], np.roll(MASK, 1, axis=0)], axis=1)
    ids = masks_to_ids(mask)
    inputs = keras.Input((frames, TIME), dtype="int32")
    vectors = layers.Embedding(20, FEATURES, mask_zero=True)(inputs)
    layer = make(UNITS, name="words")
    hidden = layers.TimeDistributed(layer, name="frames")(vectors)
    model = randomized(keras.Model(inputs, hidden))
    trace = trace_gates(model, ids)
    assert list(trace) == ["frames/words"]
    x = vectors_of(model, ids).reshape(-1, TIME, FEATURES)
    forward = reference_forward(layer, x, mask.reshape(-1, TIME))
    assert_traced(trace[0], layer, forward)
    outputs = model.predict(ids, verbose=0)
    np.testing.assert_allclose(
        outputs.reshape(-1, UNITS), trace[0].h[:, -1], rtol=0, atol=1e-6
    )


def test_a_model_of_sentences_of_words_is_traced():
    words = keras.Input((None, FEATURES))
    sentence = keras.Model(words, layers.LSTM(UNITS, name="words")(words), name="one")
    inputs = keras.Input((None, None, FEATURES))
    vectors = layers.TimeDistributed(sentence, name="each")(inputs)
    outer = lstm_keras.LSTM(UNITS, name="sentences")
    model = randomized(keras.Model(inputs, outer(vectors)))
    x = normal(BATCH, 2, TIME, FEATURES)
    trace = trace_gates(model, x)
    assert list(trace) == ["each/one/words", "sentences"]
    inner = sentence.layers[-1]
    forward = reference_forward(inner, x.reshape(-1, TIME, FEATURES))
    assert_traced(trace[0], inner, forward)
    of_sentences = forward.h_last.reshape(BATCH, 2, UNITS)
    assert_traced(trace["sentences"], outer, reference_forward(outer, of_sentences))


@first_of("time", [None, TIME])
def test_a_masked_model_with_a_dense_layer_at_every_step_is_traced(time):
    layer = layers.LSTM(UNITS, return_sequences=True)
    model = keras.Sequential(
        [
            keras.Input((time,), dtype="int32"),
            layers.Embedding(20, FEATURES, mask_zero=True),
            layer,
            layers.TimeDistributed(layers.Dense(3)),
        ]
    )
    ids = masks_to_ids(MASK)
    trace = trace_gates(randomized(model), ids)
    assert_traced(
        trace[0], layer, reference_forward(layer, vectors_of(model, ids), MASK)
    )


def test_a_layer_that_is_called_twice_is_traced_twice():
    inputs = keras.Input((None, UNITS))
    layer = lstm_keras.LSTM(UNITS, return_sequences=True, name="lstm")
    inner_inputs = keras.Input((None, UNITS))
    inner_layer = layers.LSTM(UNITS, return_sequences=True, name="lstm")
    inner = keras.Model(inner_inputs, inner_layer(inner_inputs), name="inner")
    model = randomized(keras.Model(inputs, layer(inner(layer(inner(inputs))))))
    x = normal(BATCH, TIME, UNITS)
    trace = trace_gates(model, x)
    assert list(trace) == ["inner/lstm", "lstm", "inner/lstm#2", "lstm#2"]
    for name, one in zip(trace, 2 * [inner_layer, layer], strict=True):
        forward = reference_forward(one, x)
        assert_traced(trace[name], one, forward)
        x = forward.h


def test_layers_within_a_composite_layer_are_traced():
    block = Block(name="block")
    inputs = keras.Input((None, FEATURES))
    model = randomized(keras.Model(inputs, block(inputs)))
    x = normal(BATCH, TIME, FEATURES)
    trace = trace_gates(model, x)
    first, both = block.first[0], block.then["b"]
    assert list(trace) == [
        "block/a",
        f"block/b/{both.forward_layer.name}",
        f"block/b/{both.backward_layer.name}",
    ]
    forward = reference_forward(first, x)
    assert_traced(trace[0], first, forward)
    for one, layer in ((1, both.forward_layer), (2, both.backward_layer)):
        assert_traced(trace[one], layer, reference_forward(layer, forward.h))


def test_a_subclassed_model_is_traced_even_with_two_layers_of_one_name():
    model = SameNames()
    x = normal(BATCH, TIME, FEATURES)
    model(x)
    trace = trace_gates(randomized(model), x)
    assert len(trace) == 2 and trace.keys() == {"same", "same_"}
    forward = reference_forward(model.one, x)
    assert_traced(trace[0], model.one, forward)
    assert_traced(trace[1], model.other, reference_forward(model.other, forward.h))


def test_a_state_that_another_layer_gives_is_the_one_before_the_first_step():
    inputs = keras.Input((None, FEATURES))
    encoder = layers.LSTM(UNITS, return_state=True, name="encoder")
    decoder = lstm_keras.LSTM(UNITS, return_sequences=True, name="decoder")
    _, *states = encoder(inputs)
    model = randomized(keras.Model(inputs, decoder(inputs, initial_state=states)))
    x = normal(BATCH, TIME, FEATURES)
    trace = trace_gates(model, x)
    forward = reference_forward(encoder, x)
    assert_traced(trace["encoder"], encoder, forward)
    assert_traced(
        trace["decoder"],
        decoder,
        reference_forward(decoder, x, None, forward.h_last, forward.c_last),
    )


def test_a_model_of_one_lstm_starts_at_the_initial_state_and_takes_a_mask():
    layer = layers.LSTM(UNITS)
    inputs = keras.Input((None, FEATURES))
    model = keras.Model(inputs, layers.Dense(1)(layer(inputs)))
    randomized(model)
    x, h0, c0 = masked_inputs()
    trace = trace_gates(model, x, [h0, c0], MASK)
    assert_traced(trace[0], layer, reference_forward(layer, x, MASK, h0, c0))


@pytest.mark.parametrize("form", [list, dict])
def test_models_with_several_inputs_take_lists_and_dictionaries(form):
    left, right = keras.Input((None, FEATURES)), keras.Input((None, 2))
    one, other = layers.LSTM(UNITS, name="one"), lstm_keras.LSTM(3, name="other")
    outputs = layers.Concatenate()([one(left), other(right)])
    inputs = [left, right] if form is list else {"left": left, "right": right}
    model = randomized(keras.Model(inputs, outputs))
    x, y = normal(BATCH, TIME, FEATURES, seed=1), normal(BATCH, TIME - 2, 2, seed=2)
    arrays = [x, y] if form is list else {"right": y, "left": x}
    trace = trace_gates(model, arrays, batch_size=2)
    assert_traced(trace["one"], one, reference_forward(one, x))
    assert_traced(trace["other"], other, reference_forward(other, y))


def test_inputs_may_be_nested_lists_or_tensors():
    layer = built(layers.LSTM(UNITS))
    x, h0, c0 = inputs_and_states()
    expected = reference_forward(layer, x, None, h0, c0)
    for form in (lambda a: a.tolist(), lambda a: ops.convert_to_tensor(a, "float32")):
        trace = trace_gates(layer, form(x), [form(h0), form(c0)])
        assert_traced(trace[0], layer, expected)


@every_kind
@first_of("go_backwards", [True, False])
def test_one_initial_state_may_serve_every_row(make, go_backwards):
    layer = built(make(UNITS, go_backwards=go_backwards))
    x, h0, c0 = masked_inputs()
    forward = reference_forward(layer, x, MASK, h0[:1].repeat(len(x), axis=0), c0)
    for size in (2, 32):
        trace = trace_gates(layer, x, [h0[:1], c0], MASK, batch_size=size)
        assert_traced(trace[0], layer, forward)


@pairwise(
    go_backwards=[False, True],
    return_sequences=[False, True],
    zero_output_for_mask=[False, True],
)
def test_a_layer_that_returns_its_cell_states_is_traced_and_returns_them(
    go_backwards, return_sequences, zero_output_for_mask
):
    first = lstm_keras.LSTM(
        UNITS,
        return_sequences=return_sequences,
        go_backwards=go_backwards,
        zero_output_for_mask=zero_output_for_mask,
        return_cell_states=True,
        name="first",
    )
    inputs = keras.Input((None, FEATURES))
    h, c = first(layers.Masking()(inputs))
    steps = layers.Concatenate()([h, c])
    if not return_sequences:
        steps = layers.Reshape((1, 2 * UNITS))(steps)
    second = layers.LSTM(UNITS, use_cudnn=False, name="second")
    model = randomized(keras.Model(inputs, second(steps)))
    x = masked_inputs()[0] * MASK[..., None]
    trace = trace_gates(model, x)
    assert_traced(trace["first"], first, reference_forward(first, x, MASK))
    # The second layer reads what the first returns without being traced.
    mask = ops.convert_to_tensor(MASK)
    outputs = first(ops.convert_to_tensor(x, "float32"), mask=mask)
    joined = np.concatenate([ops.convert_to_numpy(one) for one in outputs], axis=-1)
    joined = joined if return_sequences else joined[:, None]
    seen = MASK if return_sequences else None
    assert_traced(trace["second"], second, reference_forward(second, joined, seen))


@first_of("go_backwards", [True, False])
def test_a_learned_initial_state_is_the_one_before_the_first_step(go_backwards):
    layer = lstm_keras.LSTM(
        UNITS, go_backwards=go_backwards, learn_initial_state=True, name="lstm"
    )
    inputs = keras.Input((None, FEATURES))
    model = randomized(keras.Model(inputs, layer(inputs)))
    x, h0, c0 = masked_inputs()
    learned = [
        ops.convert_to_numpy(state).repeat(len(x), axis=0)
        for state in (layer.initial_h, layer.initial_c)
    ]
    assert np.abs(learned).min() > 0
    trace = trace_gates(model, x, batch_size=2)
    assert_traced(trace[0], layer, reference_forward(layer, x, None, *learned))
    trace = trace_gates(model, x, [h0, c0], MASK)
    assert_traced(trace[0], layer, reference_forward(layer, x, MASK, h0, c0))


# In batches.


def test_batches_are_joined_though_the_last_one_is_smaller():
    model, ids = stacked(), masks_to_ids(np.concatenate([MASK, MASK[1:3]]))
    whole, parts = trace_gates(model, ids), trace_gates(model, ids, batch_size=3)
    assert list(whole) == list(parts)
    for name in whole:
        one, other = whole[name].arrays(), parts[name].arrays()
        for array in one:
            np.testing.assert_allclose(one[array], other[array], atol=1e-6)


def test_a_stream_yields_batch_by_batch():
    model, ids = stacked(), masks_to_ids(np.concatenate([MASK, MASK[1:3]]))
    whole = trace_gates(model, ids)
    stream = stream_gates(model, ids, batch_size=3)
    assert next(stream)["second"].h.shape == (3, TIME, UNITS - 2)
    start = 3
    for trace in stream:
        rows = slice(start, start + 3)
        np.testing.assert_allclose(trace["first"].f, whole["first"].f[rows], atol=1e-6)
        np.testing.assert_array_equal(trace[1].mask, whole[1].mask[rows])
        start += 3
    assert start == 9


@both_kinds
def test_states_are_carried_from_batch_to_batch_and_restored(make):
    layer = make(UNITS, stateful=True)
    inputs = keras.Input(batch_shape=(2, TIME, FEATURES))
    model = keras.Model(inputs, layers.Dense(1)(layer(inputs)))
    randomized(model)
    h0, c0 = normal(2, UNITS, seed=2), normal(2, UNITS, seed=3)
    for state, value in zip(layer.states, (h0, c0), strict=True):
        state.assign(value)
    x = normal(4, TIME, FEATURES)
    for _ in range(2):
        trace = trace_gates(model, x, batch_size=2)
        first = reference_forward(layer, x[:2], None, h0, c0)
        second = reference_forward(layer, x[2:], None, first.h_last, first.c_last)
        for name in ("f", "c", "h", "h0", "c0"):
            expected = np.concatenate([getattr(first, name), getattr(second, name)])
            np.testing.assert_allclose(getattr(trace[0], name), expected, atol=1e-5)
        for state, value in zip(layer.states, (h0, c0), strict=True):
            np.testing.assert_allclose(ops.convert_to_numpy(state), value, rtol=1e-6)


def test_states_of_other_stateful_layers_are_read_and_restored():
    below = layers.GRU(UNITS, stateful=True, return_sequences=True)
    # Keras's cuDNN on JAX reads what comes from a loop in the wrong order.
    layer = layers.LSTM(UNITS, stateful=True, use_cudnn=False)
    inputs = keras.Input(batch_shape=(2, TIME, FEATURES))
    model = randomized(keras.Model(inputs, layer(below(inputs))))
    x = normal(2, TIME, FEATURES)
    for seed in (2, 5):
        for number, state in enumerate([*below.states, *layer.states]):
            state.assign(normal(2, UNITS, seed=seed + number))
        kept = [ops.convert_to_numpy(v) for v in [*below.states, *layer.states]]
        kept = [np.array(state) for state in kept]
        trace = trace_gates(model, x)
        for state, value in zip([*below.states, *layer.states], kept, strict=True):
            np.testing.assert_array_equal(ops.convert_to_numpy(state), value)
        hidden = ops.convert_to_numpy(below(x, initial_state=kept[0]))
        assert_traced(
            trace[0], layer, reference_forward(layer, hidden, None, *kept[1:])
        )


def test_a_stream_changes_no_states():
    layer = layers.LSTM(UNITS, stateful=True)
    inputs = keras.Input(batch_shape=(2, TIME, FEATURES))
    model = randomized(keras.Model(inputs, layer(inputs)))
    for _ in stream_gates(model, normal(4, TIME, FEATURES), batch_size=2):
        for state in layer.states:
            np.testing.assert_array_equal(ops.convert_to_numpy(state), 0)


# The model afterwards.


@keras.saving.register_keras_serializable("test_trace")
class Fragile(layers.Layer):
    """Passes its inputs on until it breaks."""

    broken = False

    def call(self, inputs):
        if Fragile.broken:
            raise ZeroDivisionError("broken")
        return inputs

    def compute_output_shape(self, input_shape):
        return input_shape


def fragile_model():
    """All that is replaced while a model is traced, and a layer that breaks."""
    frames = keras.Input((2, TIME, FEATURES))
    both = layers.Bidirectional(lstm_keras.LSTM(UNITS), name="both")
    hidden = layers.TimeDistributed(both)(frames)
    # Not layers.LSTM: its cuDNN on JAX reads what comes from a loop in the wrong order.
    cell = layers.LSTMCell(UNITS)
    after = layers.RNN(cell, zero_output_for_mask=True, name="after")
    outputs = layers.Dense(1)(Fragile()(after(hidden)))
    model = randomized(keras.Model(frames, outputs))
    model.compile("sgd", "mse")
    return model


def test_the_model_is_unchanged_and_can_be_trained_and_saved(tmp_path):
    model, x = fragile_model(), normal(BATCH, 2, TIME, FEATURES)
    expected = model.predict(x, verbose=0)
    before, weights = attributes(model), model.get_weights()
    trace_gates(model, x)
    assert_same_attributes(before, attributes(model))
    for one, other in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(model.predict(x, verbose=0), expected)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.predict(x, verbose=0), expected, rtol=1e-6)
    model.fit(x, np.ones((BATCH, 1)), verbose=0)
    assert np.abs(model.predict(x, verbose=0) - expected).max() > 1e-4


def test_the_model_is_unchanged_after_an_error_in_the_middle(monkeypatch):
    model, x = fragile_model(), normal(BATCH, 2, TIME, FEATURES)
    expected = model.predict(x, verbose=0)
    before = attributes(model)
    monkeypatch.setattr(Fragile, "broken", True)
    with pytest.raises(ZeroDivisionError, match="broken"):
        trace_gates(model, x)
    assert_same_attributes(before, attributes(model))
    monkeypatch.setattr(Fragile, "broken", False)
    np.testing.assert_array_equal(model.predict(x, verbose=0), expected)
    h = trace_gates(model, x)["after"].h[:, -1]
    kernel, bias = model.layers[-1].get_weights()
    np.testing.assert_allclose(h @ kernel + bias, expected, rtol=1e-5, atol=1e-6)


def test_new_weights_show_in_the_next_trace():
    model, ids = stacked(), masks_to_ids(MASK)
    layer = model.layers[1]
    trace_gates(model, ids)
    randomized(model, seed=50)
    forward = reference_forward(layer, vectors_of(model, ids), MASK)
    assert_traced(trace_gates(model, ids)["first"], layer, forward)
    model.compile(keras.optimizers.SGD(1.0), "mse")
    model.fit(ids, np.ones((len(ids), 1)), verbose=0)
    trained = reference_forward(layer, vectors_of(model, ids), MASK)
    assert np.abs(trained.h - forward.h).max() > 1e-3
    assert_traced(trace_gates(model, ids)["first"], layer, trained)


def test_layers_added_later_are_traced_as_well():
    model = keras.Sequential(
        [keras.Input((None, FEATURES)), layers.LSTM(UNITS, return_sequences=True)]
    )
    x = normal(BATCH, TIME, FEATURES)
    assert len(trace_gates(model, x)) == 1
    model.add(layers.LSTM(UNITS))
    assert len(trace_gates(model, x)) == 2


def test_lengths_may_differ_from_trace_to_trace():
    layer = built(lstm_keras.LSTM(UNITS))
    for time in (TIME, 1, TIME + 3):
        x = normal(BATCH, time, FEATURES)
        assert_traced(trace_gates(layer, x)[0], layer, reference_forward(layer, x))


# Compiled once, and forgotten with the model.


class Counting(layers.Layer):
    """Counts how often Python runs through it."""

    calls = 0

    def call(self, inputs):
        Counting.calls += 1
        return inputs


@pytest.mark.skipif(BACKEND == "torch", reason="nothing is compiled there")
def test_a_model_is_compiled_once_for_one_shape(monkeypatch):
    layer = lstm_keras.LSTM(UNITS)
    inputs = keras.Input((TIME, FEATURES))
    model = randomized(keras.Model(inputs, Counting()(layer(inputs))))
    other = built(layers.LSTM(UNITS))
    x = normal(4, TIME, FEATURES)
    trace_gates(model, x, batch_size=2)
    monkeypatch.setattr(Counting, "calls", 0)
    for seed in range(12):  # more models in between than one could keep
        trace_gates(model, x + seed, batch_size=2)
        trace_gates(built(layers.LSTM(1)), x[:1])
        trace_gates(other, x)
    assert Counting.calls == 0
    layer.cell.activation = ops.relu
    trace_gates(model, x, batch_size=2)
    assert Counting.calls > 0


def wrapped_layers():
    return fragile_model(), normal(BATCH, 2, TIME, FEATURES)


def stacked_layers():
    return stacked(), masks_to_ids(MASK)


def bare_layer():
    return built(lstm_keras.LSTM(UNITS)), normal(BATCH, TIME, FEATURES)


def stateful_model():
    inputs = keras.Input(batch_shape=(BATCH, TIME, FEATURES))
    model = keras.Model(inputs, lstm_keras.LSTM(UNITS, stateful=True)(inputs))
    return model, normal(BATCH, TIME, FEATURES)


def subclassed_model():
    return SameNames(), normal(BATCH, TIME, FEATURES)


@pytest.mark.thorough
@first_of(
    "make",
    [wrapped_layers, stacked_layers, bare_layer, stateful_model, subclassed_model],
)
def test_a_traced_model_is_freed_when_it_is_no_longer_used(make):
    model, x = make()
    trace = trace_gates(model, x)
    parts = [model, *(layer for _, layer in layers_within(model))]
    alive = [weakref.ref(part) for part in parts]
    del model, parts
    gc.collect()
    assert [ref() for ref in alive] == [None] * len(alive)
    assert len(trace) > 0


# In several threads.


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
        assert_traced(trace[0], shared, reference_forward(shared, x))
    for trace in other:
        assert list(trace) == ["below", "shared"]
        assert_traced(
            trace[1], shared, reference_forward(shared, reference_forward(below, y).h)
        )


def test_two_threads_trace_one_model_of_a_stateful_layer():
    layer = layers.LSTM(UNITS, stateful=True, use_cudnn=False)
    inputs = keras.Input(batch_shape=(2, TIME, FEATURES))
    model = randomized(keras.Model(inputs, layer(inputs)))
    x = [normal(4, TIME, FEATURES, seed=seed) for seed in range(2)]
    found = in_threads(*(lambda x=x: trace_gates(model, x, batch_size=2) for x in x))
    for traces, sequences in zip(found, x, strict=True):
        first = reference_forward(layer, sequences[:2])
        second = reference_forward(
            layer, sequences[2:], None, first.h_last, first.c_last
        )
        for trace in traces:
            for name in ("f", "c", "h"):
                expected = [getattr(first, name), getattr(second, name)]
                np.testing.assert_allclose(
                    getattr(trace[0], name), np.concatenate(expected), atol=1e-5
                )


def test_one_thread_traces_a_model_that_another_one_calls():
    model, ids = stacked(), masks_to_ids(MASK)
    expected = ops.convert_to_numpy(model(ids))
    first = reference_forward(model.layers[1], vectors_of(model, ids), MASK)
    # Not predict: with JAX, Keras gives the variables away meanwhile.
    traces, outputs = in_threads(
        lambda: trace_gates(model, ids, batch_size=2),
        lambda: ops.convert_to_numpy(model(ids)),
    )
    for trace, output in zip(traces, outputs, strict=True):
        assert_traced(trace["first"], model.layers[1], first)
        np.testing.assert_allclose(output, expected, rtol=1e-5)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's strategy")
def test_a_model_is_traced_under_a_strategy_that_calls_it_in_another_thread():
    import tensorflow as tf

    with tf.distribute.MirroredStrategy(["/cpu:0"]).scope():
        model = stacked()
        trace = trace_gates(model, masks_to_ids(MASK))
    layer = model.layers[1]
    forward = reference_forward(layer, vectors_of(model, masks_to_ids(MASK)), MASK)
    assert_traced(trace["first"], layer, forward)


# The result.


def test_the_arrays_are_saved_by_numpy(tmp_path):
    trace = trace_gates(built(layers.LSTM(UNITS)), normal(BATCH, TIME, FEATURES))[0]
    np.savez(tmp_path / "trace.npz", **trace.arrays())
    with np.load(tmp_path / "trace.npz") as saved:
        assert sorted(saved) == sorted("i f g o c h mask h0 c0".split())
        np.testing.assert_array_equal(saved["c"], trace.c)
        np.testing.assert_array_equal(saved["mask"], trace.mask)


# Errors.


def test_a_model_without_an_lstm_is_an_error_that_lists_its_layers():
    model = keras.Sequential(
        [
            keras.Input((None, FEATURES)),
            layers.GRU(3, return_sequences=True, name="gru"),
            layers.RNN(ChangedCell(3), name="changed"),
        ],
        name="mine",
    )
    with pytest.raises(
        ValueError,
        match=r"received 'mine' with the layers gru \(GRU\), changed \(RNN\)",
    ):
        trace_gates(model, normal(BATCH, TIME, FEATURES))


def test_anything_but_a_layer_is_an_error():
    with pytest.raises(ValueError, match="a Keras model or layer; received str"):
        trace_gates("model.keras", normal(BATCH, TIME, FEATURES))


X, H, C = np.zeros((3, 6, FEATURES)), np.zeros((3, UNITS)), np.zeros((3, UNITS))
ONES = np.ones((3, 6), bool)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((X,), {"batch_size": 0}, "expected batch_size >= 1; received 0"),
        ((X[:0],), {}, r"at least one; received the shapes \[\(0, 6, 4\)\]"),
        ((0.5,), {}, r"at least one; received the shapes \[\(\)\]"),
        (
            (X, [H[:2], C]),
            {},
            r"same number of examples.*\(2, 5\)",
        ),
        ((X, None, ONES[:1]), {}, r"same number of examples.*\(1, 6\)"),
        ((X, None, ONES[0]), {}, "same number of examples"),
        ((X, None, ONES[:, 0]), {}, r"a mask of shape \(batch, time\); .* \(3,\)"),
        (
            (X, [H]),
            {},
            r"\[h, c\], each of shape \(batch, units\) = \(3, 5\) or "
            r"\(1, 5\); received shapes \[\(3, 5\)\]",
        ),
        ((X, [H, C[:, 1:]]), {}, r"received shapes \[\(3, 5\), \(3, 4\)\]"),
        ((X, [H, 0.5]), {}, "same number of examples"),
        ((X[:0], [H[:1], C[:1]]), {}, "at least one"),
        ((X, [H, C, C]), {}, r"expected initial_state to be \[h, c\]"),
    ],
)
def test_arguments_that_do_not_fit_are_errors(arguments, options, message):
    layer = built(layers.LSTM(UNITS))
    for function in (trace_gates, stream_gates):
        with pytest.raises(ValueError, match=message):
            function(layer, *arguments, **options)


def test_an_initial_state_for_several_layers_is_an_error():
    with pytest.raises(
        ValueError,
        match="expected a model with one LSTM to start at initial_state; received one "
        r"with \['first', 'second'\]",
    ):
        trace_gates(stacked(), masks_to_ids(MASK), np.zeros((2, 5, UNITS)))


def test_inputs_with_other_features_raise_the_error_of_keras_and_leave_nothing_behind():
    layer = built(layers.LSTM(UNITS, stateful=False))
    before = attributes(layer)
    with pytest.raises(Exception, match=r"(?i)shape|dimension|size"):
        trace_gates(layer, normal(BATCH, TIME, FEATURES + 1))
    assert_same_attributes(before, attributes(layer))
    assert_traced(trace_gates(layer, X)[0], layer, reference_forward(layer, X))


def test_numbers_of_layers_do_not_disturb_their_order():
    # JAX returns dictionaries sorted: "b" would come before "z", "10" before "2".
    inputs = keras.Input((None, FEATURES))
    hidden, names = inputs, [f"lstm_{n}" for n in itertools.chain([10], range(2))]
    for name in names:
        hidden = layers.LSTM(2, return_sequences=True, name=name)(hidden)
    model = keras.Model(inputs, hidden)
    assert list(trace_gates(model, normal(2, 3, FEATURES))) == names


def test_a_trace_can_be_copied_and_pickled():
    layer = lstm_keras.LSTM(2)
    layer.build((1, 3, 2))
    trace = trace_gates(layer, np.ones((1, 3, 2)))
    for same in (
        copy.copy(trace),
        copy.deepcopy(trace),
        pickle.loads(pickle.dumps(trace)),
    ):
        np.testing.assert_array_equal(same[0].h, trace[0].h)


def test_an_activation_given_after_a_trace_is_seen():
    model = keras.Sequential([keras.Input((4, 3)), layers.LSTM(2)])
    x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
    trace_gates(model, x)
    model.layers[0].cell.activation = ops.relu
    np.testing.assert_allclose(
        trace_gates(model, x)[0].h[:, -1], ops.convert_to_numpy(model(x)), rtol=1e-5
    )


# Unusual models and inputs.


@pytest.mark.parametrize("dtype", ["int32", "bool"])
def test_integers_are_traced_as_the_layer_reads_them(dtype):
    layer = lstm_keras.LSTM(3, return_sequences=True)
    x = np.random.default_rng(0).integers(0, 2, (2, 6, 4)).astype(dtype)
    layer(x)
    forward = lstm_forward(x.astype("float64"), *layer.get_weights())
    trace = lstm_keras.trace_gates(layer, x)[0]
    for name in "ifgoch":
        np.testing.assert_allclose(
            getattr(trace, name), getattr(forward, name), atol=1e-5
        )


class WithoutConfiguration(keras.layers.Layer):
    def __init__(self, something):
        super().__init__()
        self.something = something

    def call(self, x):
        return x


def test_other_layers_may_be_stateful_stacks_or_have_no_configuration():
    x = keras.Input(batch_shape=(2, 6, 4))
    cells = [keras.layers.LSTMCell(3), keras.layers.LSTMCell(3)]
    y = keras.layers.RNN(cells, stateful=True, return_sequences=True)(x)
    y = WithoutConfiguration(object())(y)
    model = keras.Model(x, lstm_keras.LSTM(3, return_sequences=True)(y))
    inputs = np.random.default_rng(0).normal(size=(2, 6, 4)).astype("float32")
    trace = lstm_keras.trace_gates(model, inputs)[0]
    np.testing.assert_allclose(trace.h, model.predict(inputs, verbose=0), atol=1e-5)


class Nested(keras.layers.Layer):
    """Layers one inside of the other, each of which Keras lists twice."""

    def __init__(self, depth):
        super().__init__()
        self.inner = Nested(depth - 1) if depth else lstm_keras.LSTM(3)

    def call(self, x):
        return self.inner(x)


def test_every_layer_is_visited_once():
    layer = Nested(25)
    x = np.ones((2, 6, 4), "float32")
    layer(x)
    (trace,) = lstm_keras.trace_gates(layer, x).values()
    assert trace.h.shape == (2, 6, 3)
