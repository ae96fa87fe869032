"""Gradients through time against the reference's, and against finite differences."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import lstm_keras
from lstm_keras import gradient_flow
from lstm_keras.interpret.gradients import gradients
from lstm_keras.reference import lstm_backward, lstm_forward, sigmoid
from tests.helpers.equality import (
    BACKEND,
    BATCH,
    FEATURES,
    TIME,
    UNITS,
    normal,
    randomize_weights,
)
from tests.helpers.models import (
    MASK,
    assert_same_attributes,
    attributes,
    in_threads,
    masks_to_ids,
    vectors_of,
)
from tests.helpers.pairwise import first_of

HOLES = MASK[:4]  # a row without any step has no gradient
TARGETS = normal(len(HOLES), UNITS, seed=9)
X = normal(len(HOLES), TIME, FEATURES)


def simple_rnn(x, states, kernel, recurrent_kernel, bias):
    """A step of SimpleRNN."""
    (h,) = states
    return [np.tanh(x @ kernel + h @ recurrent_kernel + bias)]


def gru(x, states, kernel, recurrent_kernel, bias):
    """A step of GRU as cuDNN computes it (`reset_after`)."""
    (h,) = states
    z, r, n = np.split(x @ kernel + bias[0], 3, axis=-1)
    z_h, r_h, n_h = np.split(h @ recurrent_kernel + bias[1], 3, axis=-1)
    update = sigmoid(z + z_h)
    candidate = np.tanh(n + sigmoid(r + r_h) * n_h)
    return [update * h + (1 - update) * candidate]


def gru_reset_before(x, states, kernel, recurrent_kernel, bias):
    """A step of GRU as it was published."""
    (h,) = states
    units = h.shape[-1]
    z, r, n = np.split(x @ kernel + bias, 3, axis=-1)
    gates = h @ recurrent_kernel[:, : 2 * units]
    update = sigmoid(z + gates[:, :units])
    reset = sigmoid(r + gates[:, units:])
    candidate = np.tanh(n + (reset * h) @ recurrent_kernel[:, 2 * units :])
    return [update * h + (1 - update) * candidate]


STEPS = {
    "SimpleRNN": (layers.SimpleRNN, {}, simple_rnn),
    "GRU": (layers.GRU, {}, gru),
    "GRU, reset before": (layers.GRU, {"reset_after": False}, gru_reset_before),
}
every_rnn = pytest.mark.parametrize(
    ("make", "arguments", "step"), STEPS.values(), ids=STEPS.keys()
)
LSTMS = {
    "ours": lstm_keras.LSTM,
    "built-in": layers.LSTM,
    "RNN": lambda units, **kw: layers.RNN(lstm_keras.LSTMCell(units), **kw),
}
every_lstm = pytest.mark.parametrize("make", LSTMS.values(), ids=LSTMS.keys())
every_direction = pytest.mark.parametrize("go_backwards", [False, True])


def mse(targets, outputs):
    return ops.mean(ops.square(targets - outputs))


def model_of(*chain, shape=(None, FEATURES), seed=4):
    """A model that masks zeros, with random weights."""
    inputs = keras.Input(shape)
    hidden = layers.Masking()(inputs)
    for layer in chain:
        hidden = layer(hidden)
    model = keras.Model(inputs, hidden)
    randomize_weights(model, seed)
    return model


def masked(x, mask):
    return np.where(mask[..., None], x, 0)


def finite_differences(step, weights, x, mask, targets, go_backwards, size=1e-5):
    """The norms of d mse / d h_t of each example, by central differences.

    Of a layer of one state that returns its last output; in the order of the input.
    """
    batch, time = mask.shape
    units = targets.shape[-1]
    order = range(time)[::-1] if go_backwards else range(time)

    def losses(at, added):
        h = np.zeros((batch, units))
        for t in order:
            (new,) = step(x[:, t], [h], *weights)
            new = new + (added if t == at else 0)
            h = np.where(mask[:, t, None], new, h)
        return np.mean((targets - h) ** 2, axis=-1)

    norms = np.zeros((batch, time))
    for t in range(time):
        differences = [
            (losses(t, size * unit) - losses(t, -size * unit)) / (2 * size)
            for unit in np.eye(units)
        ]
        norms[:, t] = np.linalg.norm(differences, axis=0)
    return norms


def backward_from_every_step(weights, x, mask, dh, h0=None, c0=None, dc_last=None):
    """The norms of dL/dh_t and dL/dc_t of each example, by the reference.

    An LSTM that reads on from the states after step t has them as its initial states.

    Args:
        weights: Of the layer.
        x: Inputs, in the order of reading.
        mask: Likewise.
        dh: dL/d(output of each step), `(batch, time, units)`.
        h0: Initial state, zeros by default.
        c0: Likewise.
        dc_last: dL/d(last cell state), `(batch, units)`, zeros by default.
    """
    forward = lstm_forward(x, *weights, h0=h0, c0=c0, mask=mask)
    h_norms, c_norms = np.zeros(mask.shape), np.zeros(mask.shape)
    for t in range(x.shape[1]):
        h, c = forward.h[:, t], forward.c[:, t]
        of_h, of_c = dh[:, t], 0.0 if dc_last is None else dc_last
        if t + 1 < x.shape[1]:
            rest = lstm_forward(
                x[:, t + 1 :], *weights, h0=h, c0=c, mask=mask[:, t + 1 :]
            )
            later = lstm_backward(rest, dh=dh[:, t + 1 :], dc_last=dc_last)
            of_h, of_c = dh[:, t] + later.h0, later.c0
        of_c = of_c + of_h * forward.o[:, t] * (1 - np.tanh(c) ** 2)
        h_norms[:, t] = np.linalg.norm(of_h, axis=-1)
        c_norms[:, t] = np.linalg.norm(of_c, axis=-1)
    # A masked step has no state of its own.
    return np.where(mask, h_norms, 0), np.where(mask, c_norms, 0)


def assert_flow(flow, h, c=None, rtol=1e-4):
    for actual, expected in ((flow.h, h), (flow.c, c)):
        if expected is None:
            assert actual is None
        else:
            assert actual.shape == expected.shape
            np.testing.assert_allclose(
                actual, expected, rtol=rtol, atol=1e-5 * expected.max()
            )


def last_only(dh_last):
    """The gradient by every output, if the loss is of the last one."""
    dh = np.zeros((*HOLES.shape, UNITS))
    dh[:, -1] = dh_last
    return dh


# Every kind of layer.


@every_rnn
@every_direction
def test_flow_through_a_layer_of_one_state_equals_finite_differences(
    make, arguments, step, go_backwards
):
    layer = make(UNITS, go_backwards=go_backwards, **arguments)
    model, x = model_of(layer), masked(X, HOLES)
    flow = gradient_flow(model, x, TARGETS, mse)
    assert list(flow) == [layer.name]
    expected = finite_differences(
        step, layer.get_weights(), x, HOLES, TARGETS, go_backwards
    )
    assert_flow(flow[layer.name], expected)
    assert flow[layer.name].backwards == go_backwards


@every_lstm
@every_direction
def test_flow_through_an_lstm_equals_that_of_the_reference(make, go_backwards):
    layer = make(UNITS, go_backwards=go_backwards)
    model, x = model_of(layer), masked(X, HOLES)
    flow = gradient_flow(model, x, TARGETS, "mse")
    order = slice(None, None, -1 if go_backwards else 1)
    x, mask, weights = x[:, order], HOLES[:, order], layer.get_weights()
    h = lstm_forward(x, *weights, mask=mask).h_last
    dh = last_only(2 * (h - TARGETS) / UNITS)
    expected = backward_from_every_step(weights, x, mask, dh)
    assert_flow(flow[layer.name], *(norms[:, order] for norms in expected))
    assert flow[layer.name].backwards == go_backwards


def test_the_flow_of_the_reference_equals_finite_differences():
    layer = layers.LSTM(UNITS)
    model_of(layer)
    weights, size = layer.get_weights(), 1e-6
    h = lstm_forward(X, *weights, mask=HOLES).h_last
    dh = last_only(2 * (h - TARGETS) / UNITS)
    by_backward = backward_from_every_step(weights, X, HOLES, dh)
    t = 3
    forward = lstm_forward(X, *weights, mask=HOLES)

    def losses(h, c):
        rest = lstm_forward(X[:, t + 1 :], *weights, h0=h, c0=c, mask=HOLES[:, t + 1 :])
        return np.mean((TARGETS - rest.h_last) ** 2, axis=-1)

    def of_h(added):
        return losses(forward.h[:, t] + added, forward.c[:, t])

    def of_c(added):
        c = forward.c[:, t] + added
        return losses(forward.o[:, t] * np.tanh(c), c)

    counts = HOLES[:, t]
    for function, norms in zip((of_h, of_c), by_backward, strict=True):
        differences = [
            (function(size * unit) - function(-size * unit)) / (2 * size)
            for unit in np.eye(UNITS)
        ]
        expected = np.linalg.norm(differences, axis=0)
        np.testing.assert_allclose(norms[counts, t], expected[counts], rtol=1e-5)


@every_lstm
def test_flow_of_a_loss_of_every_step(make):
    layer = make(UNITS, return_sequences=True)
    model, x = model_of(layer), masked(X, HOLES)
    targets = normal(*HOLES.shape, UNITS, seed=8)
    flow = gradient_flow(model, x, targets, mse)
    forward = lstm_forward(x, *layer.get_weights(), mask=HOLES)
    shown = 1.0 if BACKEND == "jax" else forward.output_mask()
    dh = 2 * (forward.h * shown - targets) * shown / (UNITS * TIME)
    expected = backward_from_every_step(layer.get_weights(), x, HOLES, dh)
    assert_flow(flow[layer.name], *expected)


def test_flow_through_two_layers_one_of_them_under_another():
    first = layers.LSTM(UNITS, return_sequences=True, name="first")
    second = lstm_keras.LSTM(UNITS, name="second")
    model = model_of(first, second)
    mask = np.ones(HOLES.shape, bool)
    flow = gradient_flow(model, X, TARGETS, mse)
    assert list(flow) == ["first", "second"]
    below = lstm_forward(X, *first.get_weights())
    above = lstm_forward(below.h, *second.get_weights())
    dh = last_only(2 * (above.h_last - TARGETS) / UNITS)
    expected = backward_from_every_step(second.get_weights(), below.h, mask, dh)
    assert_flow(flow["second"], *expected)
    dh = lstm_backward(above, dh=dh).x
    expected = backward_from_every_step(first.get_weights(), X, mask, dh)
    assert_flow(flow["first"], *expected)


def test_flow_through_both_directions_and_an_embedding_that_masks():
    both = layers.Bidirectional(layers.LSTM(UNITS), name="both")
    inputs = keras.Input((None,), dtype="int32")
    vectors = layers.Embedding(20, FEATURES, mask_zero=True)(inputs)
    model = keras.Model(inputs, both(vectors))
    randomize_weights(model)
    ids = masks_to_ids(HOLES)
    targets = normal(len(HOLES), 2 * UNITS, seed=8)
    flow = gradient_flow(model, ids, targets, "mse")
    x = vectors_of(model, ids)
    for one, part, order in (
        (both.forward_layer, targets[:, :UNITS], slice(None)),
        (both.backward_layer, targets[:, UNITS:], slice(None, None, -1)),
    ):
        inputs, mask, weights = x[:, order], HOLES[:, order], one.get_weights()
        h = lstm_forward(inputs, *weights, mask=mask).h_last
        dh = last_only((h - part) / UNITS)
        expected = backward_from_every_step(weights, inputs, mask, dh)
        assert_flow(flow[f"both/{one.name}"], *(norms[:, order] for norms in expected))


def test_flow_through_frames_and_a_layer_that_is_called_twice():
    frames = keras.Input((2, None, FEATURES))
    words = layers.TimeDistributed(layers.GRU(FEATURES, name="words"), name="each")
    twice = layers.SimpleRNN(FEATURES, return_sequences=True, name="twice")
    model = keras.Model(frames, twice(twice(words(frames))))
    randomize_weights(model)
    x = normal(BATCH, 2, TIME, FEATURES)
    flow = gradient_flow(model, x, np.zeros((BATCH, 2, FEATURES)), mse)
    assert list(flow) == ["each/words", "twice", "twice#2"]
    assert flow["each/words"].h.shape == (2 * BATCH, TIME)
    # h of the last pass is the output itself.
    outputs = model.predict(x, verbose=0)
    dh = 2 * outputs / (2 * FEATURES)
    slopes = 1 - outputs[:, 1] ** 2
    kernel, recurrent_kernel, _ = twice.get_weights()
    dh[:, 0] += (dh[:, 1] * slopes) @ recurrent_kernel.T
    assert_flow(flow["twice#2"], np.linalg.norm(dh, axis=-1))
    # The last step of the first pass is seen by the last step of the second only.
    of_first = (dh[:, 1] * slopes) @ kernel.T
    np.testing.assert_allclose(
        flow["twice"].h[:, 1], np.linalg.norm(of_first, axis=-1), rtol=1e-4
    )


@every_direction
@first_of("masked_steps", [True, False])
def test_flow_of_a_loss_of_the_cell_state(go_backwards, masked_steps):
    layer = lstm_keras.LSTM(
        UNITS,
        go_backwards=go_backwards,
        return_cell_states=True,
        learn_initial_state=True,
    )
    outputs = layers.Lambda(lambda pair: ops.concatenate(pair, axis=-1))
    mask = HOLES if masked_steps else np.ones(HOLES.shape, bool)
    x = masked(X, mask)
    model = model_of(layer, outputs)
    targets = normal(len(x), 2 * UNITS, seed=8)
    flow = gradient_flow(model, x, targets, mse)[0]
    order = slice(None, None, -1 if go_backwards else 1)
    x, mask = x[:, order], mask[:, order]
    weights = layer.cell.get_weights()
    h0, c0 = map(ops.convert_to_numpy, (layer.initial_h, layer.initial_c))
    states = {"h0": h0.repeat(len(x), axis=0), "c0": c0.repeat(len(x), axis=0)}
    forward = lstm_forward(x, *weights, **states, mask=mask)
    dh_last, dc_last = (
        (state - part) / UNITS
        for state, part in zip(
            (forward.h_last, forward.c_last), np.split(targets, 2, axis=-1), strict=True
        )
    )
    expected = backward_from_every_step(
        weights, x, mask, last_only(dh_last), **states, dc_last=dc_last
    )
    assert_flow(flow, *(norms[:, order] for norms in expected))


def test_the_flow_does_not_depend_on_the_inputs_of_masked_steps():
    layer = lstm_keras.LSTM(UNITS, name="lstm")
    inputs, mask = keras.Input((TIME, FEATURES)), keras.Input((TIME,), dtype="bool")
    model = keras.Model([inputs, mask], layer(inputs, mask=mask))
    randomize_weights(model)
    zeros, nans = (
        gradient_flow(
            model, [np.where(HOLES[..., None], X, filler), HOLES], TARGETS, mse
        )[0]
        for filler in (0.0, np.nan)
    )
    np.testing.assert_array_equal(nans.h, zeros.h)
    np.testing.assert_array_equal(nans.c, zeros.c)
    assert zeros.h.max() > 0


@first_of("kind", LSTMS)
def test_flow_with_custom_activations_and_no_bias(kind):
    arguments = {"activation": "softsign", "recurrent_activation": "hard_sigmoid"}
    if kind == "RNN":
        cell = layers.LSTMCell(UNITS, use_bias=False, **arguments)
        layer = layers.RNN(cell)
    else:
        layer = LSTMS[kind](UNITS, use_bias=False, **arguments)
    model = model_of(layer)
    flow = gradient_flow(model, X, TARGETS, mse)[layer.name]
    kernel, recurrent_kernel = layer.get_weights()

    def step(x, states, *_):
        h, c = states[0][:, :UNITS], states[0][:, UNITS:]
        z = np.split(x @ kernel + h @ recurrent_kernel, 4, axis=-1)
        i, f, o = (np.clip(z[n] / 6 + 0.5, 0, 1) for n in (0, 1, 3))
        c = f * c + i * z[2] / (1 + np.abs(z[2]))
        return np.hstack([o * c / (1 + np.abs(c)), c])

    def losses(at, added):
        states = np.zeros((len(X), 2 * UNITS))
        for t in range(TIME):
            states = step(X[:, t], [states]) + (added if t == at else 0)
        return np.mean((TARGETS - states[:, :UNITS]) ** 2, axis=-1)

    size = 1e-6
    for t in range(TIME):
        differences = [
            (losses(t, size * unit) - losses(t, -size * unit)) / (2 * size)
            for unit in np.eye(2 * UNITS)[:UNITS]
        ]
        np.testing.assert_allclose(
            flow.h[:, t], np.linalg.norm(differences, axis=0), rtol=1e-3
        )


def test_flow_of_half_precision_is_near_that_of_single():
    flows = []
    for dtype in ("float32", "mixed_bfloat16"):
        layer = layers.LSTM(UNITS, dtype=dtype, name="lstm")
        flows.append(gradient_flow(model_of(layer), X, TARGETS, mse)["lstm"])
    single, half = flows
    for one, other in ((single.h, half.h), (single.c, half.c)):
        np.testing.assert_allclose(one, other, rtol=0.1, atol=0.05 * one.max())


# Loss and targets.


def binary_model():
    return model_of(layers.LSTM(UNITS, name="lstm"), layers.Dense(1, "sigmoid"))


LABELS = np.array([1, 0, 0, 1])


def binary_crossentropy(targets, outputs):
    """Like Keras's, a function of one's own."""
    loss = targets * ops.log(outputs) + (1 - targets) * ops.log(1 - outputs)
    return -ops.mean(loss)


FORMS = {
    "that of compile": (None, LABELS.tolist()),
    "a name": ("binary_crossentropy", LABELS),
    "an object": (keras.losses.BinaryCrossentropy(), LABELS[:, None]),
    "Keras's function": (keras.losses.binary_crossentropy, LABELS.astype("float64")),
    "a function": (binary_crossentropy, LABELS.astype("float64")),
    "a tensor": ("bce", ops.convert_to_tensor(LABELS[:, None], "float32")),
}


@first_of("form", FORMS)
def test_losses_and_targets_come_in_any_form(form):
    loss, targets = FORMS[form]
    model = binary_model()
    model.compile("sgd", "binary_crossentropy")
    flow = gradient_flow(model, X, targets, loss)["lstm"]
    layer, head = model.layers[-2:]
    h = lstm_forward(X, *layer.get_weights()).h_last
    kernel, bias = head.get_weights()
    probability = sigmoid(h @ kernel + bias)
    dh = last_only((probability - LABELS[:, None]) @ kernel.T)
    mask = np.ones(HOLES.shape, bool)
    assert_flow(flow, *backward_from_every_step(layer.get_weights(), X, mask, dh))


def test_the_norms_of_an_example_do_not_depend_on_the_others():
    model = binary_model()
    together = gradient_flow(model, X, LABELS, "binary_crossentropy")["lstm"]
    alone = gradient_flow(model, X[1:2], LABELS[1:2], "binary_crossentropy")["lstm"]
    np.testing.assert_allclose(together.h[1:2], alone.h, rtol=1e-4)
    np.testing.assert_allclose(together.c[1:2], alone.c, rtol=1e-4)


def test_a_step_that_the_loss_cannot_see_has_no_gradient():
    last = layers.Lambda(lambda h: h[:, 2])
    model = model_of(layers.LSTM(UNITS, return_sequences=True, name="lstm"), last)
    flow = gradient_flow(model, X, TARGETS, mse)["lstm"]
    assert np.all(flow.h[:, 3:] == 0) and np.all(flow.c[:, 3:] == 0)
    assert np.all(flow.h[:, :3] > 0) and np.all(flow.c[:, :3] > 0)


# The model meanwhile and afterwards, and errors.


def test_one_thread_takes_gradients_of_a_model_that_others_use():
    model = model_of(layers.LSTM(UNITS, name="lstm"))
    weights = model.get_weights()
    forward = lstm_forward(X, *weights)
    dh = last_only(2 * (forward.h_last - TARGETS) / UNITS)
    mask = np.ones(HOLES.shape, bool)
    expected = backward_from_every_step(weights, X, mask, dh)
    flows, traces, calls = in_threads(
        lambda: gradient_flow(model, X, TARGETS, mse)["lstm"],
        lambda: lstm_keras.trace_gates(model, X)["lstm"],
        lambda: ops.convert_to_numpy(model(X)),
    )
    for flow, traced, output in zip(flows, traces, calls, strict=True):
        assert_flow(flow, *expected)
        np.testing.assert_allclose(traced.f, forward.f, atol=1e-5)
        np.testing.assert_allclose(output, forward.h_last, atol=1e-5)


@pytest.mark.parametrize("make", [lstm_keras.LSTM, layers.LSTM, layers.GRU])
def test_no_variable_of_the_model_changes(make):
    layer = make(UNITS, dropout=0.5, recurrent_dropout=0.5, stateful=True)
    inputs = keras.Input(batch_shape=(4, TIME, FEATURES))
    hidden = layers.Dropout(0.5)(layer(inputs))
    model = keras.Model(inputs, layers.BatchNormalization()(hidden))
    randomize_weights(model)
    model.set_weights([np.abs(w) for w in model.get_weights()])  # of variances
    layer.states[0].assign(normal(4, UNITS, seed=2))
    variables = [*model.variables, *layer.states]
    values = [ops.convert_to_numpy(v) for v in variables]
    before = attributes(model)
    flow = gradient_flow(model, X, TARGETS, "mse")[layer.name]
    assert flow.h.min() > 0
    assert_same_attributes(before, attributes(model))
    for variable, value in zip(variables, values, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), value)


def test_the_states_of_a_stateful_layer_are_where_the_flow_starts():
    layer = layers.SimpleRNN(UNITS, stateful=True)
    inputs = keras.Input(batch_shape=(4, TIME, FEATURES))
    model = keras.Model(inputs, layer(inputs))
    randomize_weights(model)
    h0 = normal(4, UNITS, seed=2)
    layer.states[0].assign(h0)
    flow = gradient_flow(model, X[:, :1].repeat(TIME, axis=1), TARGETS, mse)
    kernel, recurrent_kernel, bias = layer.get_weights()[:3]
    h = h0
    slopes = []
    for _ in range(TIME):
        h = np.tanh(X[:, 0] @ kernel + h @ recurrent_kernel + bias)
        slopes.append(1 - h**2)
    dh = 2 * (h - TARGETS) / UNITS
    norms = []
    for slope in slopes[::-1]:
        norms.append(np.linalg.norm(dh, axis=-1))
        dh = (dh * slope) @ recurrent_kernel.T
    assert_flow(flow[layer.name], np.stack(norms[::-1], axis=1))


def test_a_missing_loss_is_an_error():
    with pytest.raises(
        ValueError, match="expected a loss, or a compiled model; received neither for"
    ):
        gradient_flow(binary_model(), X, LABELS)


def test_a_model_is_built_for_the_inputs():
    model = keras.Sequential([layers.LSTM(UNITS)])
    flow = gradient_flow(model, X, TARGETS, "mse")[0]
    weights = model.get_weights()
    h = lstm_forward(X, *weights).h_last
    dh = last_only(2 * (h - TARGETS) / UNITS)
    mask = np.ones(HOLES.shape, bool)
    assert_flow(flow, *backward_from_every_step(weights, X, mask, dh))


def test_a_model_without_a_recurrent_layer_is_an_error_that_lists_its_layers():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1, name="head")])
    with pytest.raises(
        ValueError,
        match=r"cell is LSTMCell or GRUCell or SimpleRNNCell; received .* head \(Dense",
    ):
        gradient_flow(model, np.zeros((2, 3)), np.zeros(2), "mse")


# The function underneath.


def test_gradients_of_a_function_of_several_arrays():
    x, y, unused = normal(2, 3), normal(3, 2, seed=1), normal(4, seed=2)
    arrays = [array.astype("float32") for array in (x, y, unused)]
    variable = keras.Variable(2.0)

    def function(x, y, unused):
        variable.assign_add(1.0)
        return variable * ops.sum(ops.square(ops.matmul(x, y)))

    found = gradients(function, arrays)
    product = x @ y
    expected = [6 * product @ y.T, 6 * x.T @ product, np.zeros(4)]
    for actual, array in zip(found, expected, strict=True):
        np.testing.assert_allclose(actual, array, rtol=1e-5)
    assert float(ops.convert_to_numpy(variable)) == 2.0


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_norms_far_from_1_are_exact(factor):
    # h_t = u h_{t-1}: the gradient n steps back is u^n; its square is no float32.
    layer = layers.SimpleRNN(1, activation="linear", use_bias=False)
    model = keras.Sequential([keras.Input((121, 1)), layer])
    layer.set_weights([np.ones((1, 1)), np.full((1, 1), factor)])
    flow = gradient_flow(model, np.zeros((1, 121, 1)), np.zeros((1, 1)), output_sum)
    expected = factor ** np.arange(121.0)[::-1]
    np.testing.assert_allclose(flow[layer.name].h[0], expected, rtol=1e-5)


def output_sum(targets, outputs):
    return ops.sum(outputs)


def compiled(*chain, **losses):
    model = keras.Sequential([keras.Input((6, 3)), *chain])
    randomize_weights(model)
    model.compile(**losses)
    return model


def flow_of(model, *arguments):
    x = np.random.default_rng(0).normal(size=(3, 6, 3)).astype("float32")
    x[:2, 4:] = 0
    shape = (3, *model.output_shape[1:])
    targets = np.random.default_rng(1).normal(size=shape).astype("float32")
    (flow,) = gradient_flow(model, x, targets, *arguments).values()
    return flow.h


def test_the_compiled_loss_leaves_masked_outputs_out():
    model = compiled(
        layers.Masking(), layers.LSTM(4, return_sequences=True), layers.Dense(1)
    )
    model.compile(loss="mse")

    def of_counted(targets, outputs):
        mask = np.ones((3, 6, 1), "float32")
        mask[:2, 4:] = 0
        squares = (outputs - targets) ** 2
        return ops.sum(ops.convert_to_tensor(mask) * squares) / mask.sum()

    expected = flow_of(model, of_counted)
    for given in ((), ("mse",), (keras.losses.MeanSquaredError(),)):
        np.testing.assert_allclose(flow_of(model, *given), expected, rtol=1e-4)


def test_a_loss_that_is_a_sum_is_taken_for_one():
    model = compiled(layers.LSTM(4), loss=keras.losses.MeanSquaredError("sum"))
    expected = flow_of(model, keras.losses.MeanSquaredError())
    np.testing.assert_allclose(flow_of(model), expected, rtol=1e-5)


def test_the_compiled_losses_of_several_outputs_are_weighted_as_in_training():
    inputs = keras.Input((6, 3))
    h = layers.LSTM(4)(inputs)
    model = keras.Model(
        inputs, {"a": layers.Dense(1, name="a")(h), "b": layers.Dense(2, name="b")(h)}
    )
    randomize_weights(model)
    model.compile(loss={"a": "mse", "b": "mse"}, loss_weights={"a": 1.0, "b": 3.0})
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 6, 3)).astype("float32")
    targets = {"a": rng.normal(size=(3, 1)), "b": rng.normal(size=(3, 2))}
    targets = {key: value.astype("float32") for key, value in targets.items()}

    def by_hand(targets, outputs):
        def mse(key):
            return ops.mean((targets[key] - outputs[key]) ** 2)

        return mse("a") + 3 * mse("b")

    (found,) = gradient_flow(model, x, targets).values()
    (expected,) = gradient_flow(model, x, targets, by_hand).values()
    np.testing.assert_allclose(found.h, expected.h, rtol=1e-4)
    np.testing.assert_allclose(found.c, expected.c, rtol=1e-4)


def test_the_metrics_of_a_compiled_model_stay_as_they_are():
    x = keras.Input((6, 4))
    h = keras.layers.LSTM(3, name="memory")(x)
    outputs = {name: keras.layers.Dense(1, name=name)(h) for name in "ab"}
    model = keras.Model(x, outputs)
    model.compile("sgd", {"a": "mse", "b": "mae"})
    inputs = np.random.default_rng(0).normal(size=(2, 6, 4)).astype("float32")
    targets = {name: np.ones((2, 1), "float32") for name in "ab"}
    model.train_on_batch(inputs, targets)
    before = [ops.convert_to_numpy(v) for v in model.metrics_variables]
    assert any(np.any(value) for value in before)
    lstm_keras.gradient_flow(model, inputs, targets)
    after = [ops.convert_to_numpy(v) for v in model.metrics_variables]
    for value, expected in zip(after, before, strict=True):
        np.testing.assert_array_equal(value, expected)
