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
    FEATURES,
    TIME,
    UNITS,
    normal,
    randomize_weights,
    reference_forward,
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


def other_lstm(x, states, kernel, recurrent_kernel):
    """A step of an LSTM with softsign and hard sigmoid, without a bias."""
    h, c = np.split(states[0], 2, axis=-1)
    z = np.split(x @ kernel + h @ recurrent_kernel, 4, axis=-1)
    i, f, o = (np.clip(z[n] / 6 + 0.5, 0, 1) for n in (0, 1, 3))
    c = f * c + i * z[2] / (1 + np.abs(z[2]))
    return [np.hstack([o * c / (1 + np.abs(c)), c])]


OTHER = {
    "activation": "softsign",
    "recurrent_activation": "hard_sigmoid",
    "use_bias": False,
}


def mse(targets, outputs):
    return ops.mean(ops.square(targets - outputs))


def model_of(*chain, shape=(None, FEATURES)):
    """A model that masks zeros, with random weights."""
    model = keras.Sequential([keras.Input(shape), layers.Masking(), *chain])
    randomize_weights(model)
    return model


def masked(x, mask):
    return np.where(mask[..., None], x, 0)


def finite_differences(step, layer, x, mask, targets, size=1e-5):
    """The norms of d mse / d h_t of each example, by central differences.

    Of a layer that returns its last output; in the order of the input. `step` takes and
    returns its states in one array, h first.
    """
    batch, time = mask.shape
    units, states = layer.units, layer.units * len(np.atleast_1d(layer.state_size))
    order = range(time)[::-1] if layer.go_backwards else range(time)

    def losses(at, added):
        state = np.zeros((batch, states))
        for t in order:
            (new,) = step(x[:, t], [state], *layer.get_weights())
            new = new + (added if t == at else 0)
            state = np.where(mask[:, t, None], new, state)
        return np.mean((targets - state[:, :units]) ** 2, axis=-1)

    norms = np.zeros((batch, time))
    for t in range(time):
        differences = [
            (losses(t, size * unit) - losses(t, -size * unit)) / (2 * size)
            for unit in np.eye(states)[:units]
        ]
        norms[:, t] = np.linalg.norm(differences, axis=0)
    return norms


def reference_flow(forward, dh, dc_last=None):
    """The norms of dL/dh_t and dL/dc_t of each example, in the order of reading.

    An LSTM that reads on from the states after step t has them as its initial states.

    Args:
        forward: Of the reference.
        dh: dL/d(output of each step), `(batch, time, units)`.
        dc_last: dL/d(last cell state), `(batch, units)`, zeros by default.
    """
    x, *weights = forward[:4]
    mask, time = forward.mask, x.shape[1]
    norms = np.zeros((2, *mask.shape))
    for t in range(time):
        h, c = forward.h[:, t], forward.c[:, t]
        of_h, of_c = dh[:, t], 0.0 if dc_last is None else dc_last
        if t + 1 < time:
            rest = lstm_forward(x[:, t + 1 :], *weights, h, c, mask[:, t + 1 :])
            later = lstm_backward(rest, dh=dh[:, t + 1 :], dc_last=dc_last)
            of_h, of_c = dh[:, t] + later.h0, later.c0
        of_c = of_c + of_h * forward.o[:, t] * (1 - np.tanh(c) ** 2)
        norms[:, :, t] = np.linalg.norm([of_h, of_c], axis=-1)
    return norms * mask  # a masked step has no state of its own


def assert_flow(flow, *arguments, rtol=1e-4, atol=1e-5):
    """Hold the flow of an LSTM to that of the reference, with its arguments."""
    order = slice(None, None, -1 if flow.backwards else 1)
    expected = reference_flow(*arguments)[..., order]
    for found, norms in zip((flow.h, flow.c), expected, strict=True):
        np.testing.assert_allclose(found, norms, rtol, atol * norms.max())


def last_only(dh_last):
    """The gradient by every output, if the loss is of the last one."""
    dh = np.zeros((*HOLES.shape, UNITS))
    dh[:, -1] = dh_last
    return dh


def of_mse(forward):
    """The gradient of each example's mean square by every output."""
    return last_only(2 * (forward.h_last - TARGETS) / UNITS)


# Every kind of layer.


@pytest.mark.parametrize(
    ("layer", "step"),
    [
        (layers.SimpleRNN(UNITS, go_backwards=True), simple_rnn),
        (layers.GRU(UNITS), gru),
        (layers.GRU(UNITS, reset_after=False, go_backwards=True), gru_reset_before),
        (layers.LSTM(UNITS, **OTHER), other_lstm),
    ],
    ids=["SimpleRNN", "GRU", "GRU, reset before", "LSTM of other activations"],
)
def test_flow_of_h_equals_finite_differences(layer, step):
    model, x = model_of(layer), masked(X, HOLES)
    flow = gradient_flow(model, x, TARGETS, mse)
    assert list(flow) == [layer.name]
    np.testing.assert_allclose(
        *(flow[0].h, finite_differences(step, layer, x, HOLES, TARGETS)),
        rtol=1e-3,
        atol=1e-5,
    )
    assert flow[0].backwards == layer.go_backwards
    assert (flow[0].c is None) == (step is not other_lstm)


@pytest.mark.parametrize(
    ("make", "go_backwards", "return_sequences"),
    [
        (lstm_keras.LSTM, False, False),
        (lstm_keras.LSTM, True, True),
        (layers.LSTM, True, False),
        (lambda n, **kw: layers.RNN(lstm_keras.LSTMCell(n), **kw), False, True),
    ],
    ids=["ours", "ours, every step", "built-in", "RNN, every step"],
)
def test_flow_through_an_lstm_equals_that_of_the_reference(
    make, go_backwards, return_sequences
):
    layer = make(UNITS, go_backwards=go_backwards, return_sequences=return_sequences)
    model, x = model_of(layer), masked(X, HOLES)
    targets = normal(*HOLES.shape, UNITS, seed=8) if return_sequences else TARGETS
    flow = gradient_flow(model, x, targets, mse)
    forward = reference_forward(layer, x, HOLES)
    dh = of_mse(forward)
    if return_sequences:
        shown = 1.0 if BACKEND == "jax" else forward.output_mask()
        dh = 2 * (forward.h * shown - targets) * shown / (UNITS * TIME)
    assert flow[layer.name].backwards == go_backwards
    assert_flow(flow[layer.name], forward, dh)


def test_the_flow_of_the_reference_equals_finite_differences():
    layer = layers.LSTM(UNITS)
    model_of(layer)
    weights, size = layer.get_weights(), 1e-6
    forward, t = lstm_forward(X, *weights, mask=HOLES), 3
    by_backward = reference_flow(forward, of_mse(forward))

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


@first_of("twice", [False, True])
def test_flow_through_two_passes_one_under_another(twice):
    first = layers.LSTM(UNITS, return_sequences=True, name="first")
    second = lstm_keras.LSTM(UNITS, return_sequences=True, name="second")
    second, inputs = first if twice else second, keras.Input((None, UNITS))
    model = keras.Model(inputs, second(first(inputs))[:, -1])
    randomize_weights(model)
    x = normal(len(HOLES), TIME, UNITS)
    flow = gradient_flow(model, x, TARGETS, mse)
    assert list(flow) == ["first", "first#2" if twice else "second"]
    below = reference_forward(first, x)
    above = reference_forward(second, below.h)
    assert_flow(flow[1], above, of_mse(above))
    assert_flow(flow[0], below, lstm_backward(above, dh=of_mse(above)).x)


def test_flow_through_both_directions_and_an_embedding_that_masks():
    both = layers.Bidirectional(layers.LSTM(UNITS), name="both")
    inputs = keras.Input((None,), dtype="int32")
    vectors = layers.Embedding(20, FEATURES, mask_zero=True)(inputs)
    model = keras.Model(inputs, both(vectors))
    randomize_weights(model)
    ids = masks_to_ids(HOLES)
    targets = normal(len(HOLES), 2 * UNITS, seed=8)
    flow = gradient_flow(model, ids, targets, "mse")
    for layer, part in zip(
        (both.forward_layer, both.backward_layer),
        np.split(targets, 2, axis=-1),
        strict=True,
    ):
        forward = reference_forward(layer, vectors_of(model, ids), HOLES)
        dh = last_only((forward.h_last - part) / UNITS)
        assert_flow(flow[f"both/{layer.name}"], forward, dh)


@first_of("go_backwards", [True, False])
def test_flow_of_a_loss_of_the_cell_state(go_backwards):
    layer = lstm_keras.LSTM(
        UNITS,
        go_backwards=go_backwards,
        return_cell_states=True,
        learn_initial_state=True,
    )
    outputs = layers.Lambda(lambda pair: ops.concatenate(pair, axis=-1))
    mask = HOLES if go_backwards else None
    model, x = model_of(layer, outputs), X if mask is None else masked(X, mask)
    targets = normal(len(x), 2 * UNITS, seed=8)
    flow = gradient_flow(model, x, targets, mse)[0]
    learned = [
        ops.convert_to_numpy(state).repeat(len(x), axis=0)
        for state in (layer.initial_h, layer.initial_c)
    ]
    forward = reference_forward(layer, x, mask, *learned)
    dh_last, dc_last = (
        (state - part) / UNITS
        for state, part in zip(
            (forward.h_last, forward.c_last), np.split(targets, 2, axis=-1), strict=True
        )
    )
    assert_flow(flow, forward, last_only(dh_last), dc_last)


def test_the_flow_does_not_depend_on_the_inputs_of_masked_steps():
    layer = lstm_keras.LSTM(UNITS)
    inputs, mask = keras.Input((TIME, FEATURES)), keras.Input((TIME,), dtype="bool")
    model = keras.Model([inputs, mask], layer(inputs, mask=mask))
    randomize_weights(model)
    x = np.where(HOLES[..., None], X, np.nan)
    (flow,) = gradient_flow(model, [x, HOLES], TARGETS, mse).values()
    forward = reference_forward(layer, X, HOLES)
    assert_flow(flow, forward, of_mse(forward))


def test_flow_of_half_precision_in_a_model_that_is_built_for_the_inputs():
    layer = layers.LSTM(UNITS, dtype="mixed_bfloat16")
    (flow,) = gradient_flow(keras.Sequential([layer]), X, TARGETS, "mse").values()
    forward = reference_forward(layer, X)
    assert_flow(flow, forward, of_mse(forward), rtol=0.1, atol=0.05)


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
    "a name": ("bce", ops.convert_to_tensor(LABELS[:, None], "int32")),
    "an object": (keras.losses.BinaryCrossentropy(), LABELS),
    "a sum": (keras.losses.BinaryCrossentropy(reduction="sum"), LABELS[:, None]),
    "Keras's function": (keras.losses.binary_crossentropy, LABELS),
    "a function": (binary_crossentropy, LABELS.astype("float64")),
}


@first_of("form", FORMS)
def test_losses_and_targets_come_in_any_form(form):
    loss, targets = FORMS[form]
    model = binary_model()
    model.compile("sgd", "binary_crossentropy")
    flow = gradient_flow(model, X, targets, loss)["lstm"]
    layer, head = model.layers[-2:]
    forward, (kernel, bias) = reference_forward(layer, X), head.get_weights()
    probability = sigmoid(forward.h_last @ kernel + bias)
    dh = last_only((probability - LABELS[:, None]) @ kernel.T)
    assert_flow(flow, forward, dh)


@first_of("given", [(), ("mse",), (keras.losses.MeanSquaredError(),)])
def test_a_loss_of_keras_leaves_masked_outputs_out(given):
    layer, head = layers.LSTM(UNITS, return_sequences=True), layers.Dense(1)
    model, x = model_of(layer, head), masked(X, HOLES)
    model.compile(loss="mse")
    targets = normal(*HOLES.shape, 1, seed=8)
    flow = gradient_flow(model, x, targets, *given)[0]
    forward, (kernel, bias) = reference_forward(layer, x, HOLES), head.get_weights()
    slopes = 2 * (forward.h @ kernel + bias - targets) * HOLES[..., None]
    dh = len(x) / HOLES.sum() * slopes @ kernel.T
    assert_flow(flow, forward, dh)


@first_of("compiled", [True, False])
def test_losses_of_several_outputs_are_weighted_as_in_training_and_leave_no_trace(
    compiled,
):
    inputs, layer = keras.Input((TIME, FEATURES)), layers.LSTM(UNITS)
    hidden = layer(inputs)
    heads = {name: layers.Dense(n, name=name) for name, n in (("a", 1), ("b", 2))}
    model = keras.Model(inputs, {name: head(hidden) for name, head in heads.items()})
    weights = {"a": 1.0, "b": 3.0}
    model.compile("sgd", {"a": "mse", "b": "mse"}, loss_weights=weights)
    targets = {"a": normal(len(X), 1, seed=1), "b": normal(len(X), 2, seed=2)}
    targets = {key: value.astype("float32") for key, value in targets.items()}
    model.train_on_batch(X, targets)
    metrics = [np.array(ops.convert_to_numpy(v)) for v in model.metrics_variables]
    assert any(np.any(value) for value in metrics)

    def by_hand(targets, outputs):
        return sum(weights[key] * mse(targets[key], outputs[key]) for key in "ab")

    flow = gradient_flow(model, X, targets, None if compiled else by_hand)[0]
    for variable, value in zip(model.metrics_variables, metrics, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), value)
    forward, dh_last = reference_forward(layer, X), 0.0
    for name, head in heads.items():
        kernel, bias = head.get_weights()
        slopes = 2 * (forward.h_last @ kernel + bias - targets[name]) / len(bias)
        dh_last = dh_last + weights[name] * slopes @ kernel.T
    assert_flow(flow, forward, last_only(dh_last))


# The model meanwhile and afterwards, and errors.


@pytest.mark.thorough
def test_one_thread_takes_gradients_of_a_model_that_others_use():
    layer = layers.LSTM(UNITS, name="lstm")
    model = model_of(layer)
    forward = reference_forward(layer, X)
    flows, traces, calls = in_threads(
        lambda: gradient_flow(model, X, TARGETS, mse)["lstm"],
        lambda: lstm_keras.trace_gates(model, X)["lstm"],
        lambda: ops.convert_to_numpy(model(X)),
    )
    for flow, traced, output in zip(flows, traces, calls, strict=True):
        assert_flow(flow, forward, of_mse(forward))
        np.testing.assert_allclose(traced.f, forward.f, atol=1e-5)
        np.testing.assert_allclose(output, forward.h_last, atol=1e-5)


@first_of("make", [lstm_keras.LSTM, layers.GRU])
def test_no_variable_of_the_model_changes(make):
    layer = make(UNITS, dropout=0.5, recurrent_dropout=0.5, stateful=True)
    others = [layers.Dropout(0.5), layers.BatchNormalization()]
    inputs = keras.Input((TIME, FEATURES), batch_size=4)
    model = keras.Sequential([inputs, layer, *others])
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
    layer = layers.LSTM(UNITS, stateful=True)
    model = keras.Sequential([keras.Input((TIME, FEATURES), batch_size=4), layer])
    randomize_weights(model)
    states = [normal(4, UNITS, seed=seed) for seed in (2, 3)]
    for variable, value in zip(layer.states, states, strict=True):
        variable.assign(value)
    flow = gradient_flow(model, X, TARGETS, mse)[0]
    forward = reference_forward(layer, X, None, *states)
    assert_flow(flow, forward, of_mse(forward))


def test_a_missing_loss_or_recurrent_layer_is_an_error():
    with pytest.raises(ValueError, match="a loss, or a compiled model; received neith"):
        gradient_flow(binary_model(), X, LABELS)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1, name="head")])
    message = r"LSTMCell or GRUCell or SimpleRNNCell; received .* head \(Dense"
    with pytest.raises(ValueError, match=message):
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


@first_of("factor", [0.5, 2.0])
def test_norms_far_from_1_are_exact(factor):
    def last(targets, outputs):
        return ops.sum(outputs)

    # h_t = u h_{t-1}: the gradient n steps back is u^n; its square is no float32.
    layer = layers.SimpleRNN(1, activation="linear", use_bias=False)
    model = keras.Sequential([keras.Input((121, 1)), layer])
    layer.set_weights([np.ones((1, 1)), np.full((1, 1), factor)])
    flow = gradient_flow(model, np.zeros((1, 121, 1)), np.zeros((1, 1)), last)
    expected = factor ** np.arange(121.0)[::-1]
    np.testing.assert_allclose(flow[layer.name].h[0], expected, rtol=1e-5)
