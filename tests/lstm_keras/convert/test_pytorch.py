"""Exchanged weights are held against torch, and without it against the reference."""

import sys

import keras
import numpy as np
import pytest
from keras import layers, ops

import lstm_keras
from lstm_keras.convert.pytorch import from_torch, to_torch
from lstm_keras.reference import lstm_forward
from tests.helpers.equality import assert_all_close, normal, randomize_weights
from tests.helpers.pairwise import first_of

BATCH, TIME, FEATURES, UNITS = 3, 7, 4, 5

# Each pair of values.
every_size = pytest.mark.parametrize(
    ("count", "bidirectional", "use_bias"),
    [(1, False, True), (1, True, False), (3, False, False), (3, True, True)],
)


def random_state_dict(
    count=1, bidirectional=False, use_bias=True, prefix="", parts=4, cell=False
):
    """What torch's module with random weights has, as NumPy arrays.

    A `torch.nn.LSTM`, or another layer whose z has other parts than 4; or its cell.
    """
    shapes, rows = {}, parts * UNITS
    for number in range(count):
        inputs = FEATURES if number == 0 else UNITS * (1 + bidirectional)
        for direction in ("", "_reverse")[: 1 + bidirectional]:
            suffix = "" if cell else f"_l{number}{direction}"
            shapes[f"weight_ih{suffix}"] = (rows, inputs)
            shapes[f"weight_hh{suffix}"] = (rows, UNITS)
            if use_bias:
                shapes[f"bias_ih{suffix}"] = shapes[f"bias_hh{suffix}"] = (rows,)
    return {
        prefix + key: 0.7 * normal(*shape, seed=seed)
        for seed, (key, shape) in enumerate(shapes.items())
    }


def call(model, x):
    return model(ops.convert_to_tensor(x, "float32"))


def reference(x, state_dict, suffix):
    """The reference with one layer's and direction's torch weights."""
    bias = 0
    if f"bias_ih{suffix}" in state_dict:
        bias = state_dict[f"bias_ih{suffix}"] + state_dict[f"bias_hh{suffix}"]
    return lstm_forward(
        x,
        state_dict[f"weight_ih{suffix}"].T,
        state_dict[f"weight_hh{suffix}"].T,
        bias + np.zeros(4 * UNITS),
    ).h


# Without torch.


@every_size
def test_the_model_equals_the_reference(count, bidirectional, use_bias):
    state_dict = random_state_dict(count, bidirectional, use_bias)
    x = expected = normal(BATCH, TIME, FEATURES)
    for number in range(count):
        outputs = [reference(expected, state_dict, f"_l{number}")]
        if bidirectional:
            from_the_end = expected[:, ::-1]
            backward = reference(from_the_end, state_dict, f"_l{number}_reverse")
            outputs.append(backward[:, ::-1])
        expected = np.concatenate(outputs, axis=-1)
    model = from_torch(state_dict)
    assert_all_close(call(model, x), expected)
    assert model.input_shape == (None, None, FEATURES)
    assert [isinstance(layer, layers.Bidirectional) for layer in model.layers] == [
        bidirectional
    ] * count
    for layer in model.layers:
        assert type(getattr(layer, "forward_layer", layer)) is lstm_keras.LSTM


def test_a_prefix_picks_one_lstm_of_a_module():
    state_dict = {
        **random_state_dict(2, prefix="encoder.lstm."),
        **random_state_dict(1, use_bias=False, prefix="decoder."),
        "head.weight": normal(2, UNITS),
    }
    weights = from_torch(state_dict, prefix="encoder.lstm.").get_weights()
    expected = from_torch(random_state_dict(2)).get_weights()
    for a, e in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(a, e)
    assert len(from_torch(state_dict, prefix="decoder.").get_weights()) == 2


CELL = random_state_dict(cell=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("weight_hh_l1"), r"without \['weight_hh_l1'\] and with \[\]"),
        (lambda d: d.pop("bias_hh_l0"), r"without \['bias_hh_l0'\]"),
        (lambda d: d.clear(), r"without \['weight_hh_l0', 'weight_ih_l0'\]"),
        (lambda d: d.update({"head.weight": 0}), r"and with \['head.weight'\]"),
        (lambda d: d.update({"weight_ih_l5": 0}), "'weight_ih_l5'"),
        (
            lambda d: d.update({"weight_ih_l0_reverse": 0}),
            r"without \['bias_hh_l0_reverse', .* and 3 more",
        ),
        (lambda d: d.update({"weight_hr_l1": 0}), r"without \['weight_hr_l0'\]"),
        (
            lambda d: (d.clear(), d.update(CELL), d.pop("weight_hh")),
            r"without \['weight_hh'\] and with \[\]",
        ),
    ],
)
def test_missing_and_unknown_keys_are_an_error_that_names_them(change, message):
    state_dict = random_state_dict(2)
    change(state_dict)
    with pytest.raises(ValueError, match=message):
        from_torch(state_dict)


@pytest.mark.parametrize(
    ("state_dict", "prefix", "message"),
    [
        (random_state_dict(prefix="lstm."), "", r"prefix ''.*prefixes \['lstm\.'\]"),
        (random_state_dict(prefix="lstm."), "a.", r"'a\.'.*prefixes \['lstm\.'\]"),
        (random_state_dict(prefix="a.", cell=True), "", r"''.*prefixes \['a\.'\]"),
    ],
)
def test_a_wrong_prefix_is_an_error_that_names_the_right_ones(
    state_dict, prefix, message
):
    with pytest.raises(ValueError, match=message):
        from_torch(state_dict, prefix=prefix)


@pytest.mark.parametrize(
    ("key", "shape", "expected"),
    [
        ("weight_ih_l0", (3 * UNITS, FEATURES), (4 * UNITS, FEATURES)),
        ("weight_hh_l0", (4 * UNITS, UNITS + 1), (4 * (UNITS + 1), FEATURES)),
        ("weight_ih_l1", (4 * UNITS, FEATURES), (4 * UNITS, 2 * UNITS)),
        ("weight_hh_l1_reverse", (4 * UNITS,), (4 * UNITS, UNITS)),
        ("bias_hh_l0", (4 * UNITS, 1), (4 * UNITS,)),
    ],
)
def test_a_wrong_shape_is_an_error_that_names_it(key, shape, expected):
    state_dict = random_state_dict(2, bidirectional=True)
    state_dict[key] = np.zeros(shape)
    with pytest.raises(ValueError, match="to be of shape") as error:
        from_torch(state_dict)
    assert str(expected) in str(error.value)


def test_weights_that_are_not_matrices_are_an_error():
    state_dict = random_state_dict() | {"weight_hh_l0": np.zeros(4 * UNITS)}
    with pytest.raises(ValueError, match=r"two dimensions; .*\(20, 4\), \(20,\)"):
        from_torch(state_dict)


@pytest.mark.parametrize(("use_bias", "prefix"), [(True, ""), (False, "cell.")])
def test_a_cell_becomes_a_model_that_applies_it_to_every_step(use_bias, prefix):
    cell = random_state_dict(use_bias=use_bias, cell=True)
    state_dict = {prefix + key: array for key, array in cell.items()}
    if prefix:
        state_dict["head.weight"] = normal(2, UNITS)
    model = from_torch(state_dict, prefix)
    x = normal(BATCH, TIME, FEATURES)
    assert_all_close(call(model, x), reference(x, cell, ""))
    assert [type(layer) for layer in model.layers] == [lstm_keras.LSTM]


@pytest.mark.parametrize(
    ("parts", "name", "cell"), [(3, "GRU", False), (1, "RNN", True)]
)
def test_another_recurrent_layers_weights_are_an_error_that_names_it(parts, name, cell):
    key = "weight_hh" if cell else "weight_hh_l0"
    message = rf"{key} is \(4 \* units.*\({parts * UNITS}, 5\).*nn.{name}"
    with pytest.raises(ValueError, match=message):
        from_torch(random_state_dict(parts=parts, cell=cell))


@pytest.mark.parametrize("what", [None, [("weight_ih_l0", 0)], {0: 0}], ids=str)
def test_anything_but_a_state_dict_is_an_error(what):
    with pytest.raises(ValueError, match=rf"state dict.*{type(what).__name__}"):
        from_torch(what)


def test_without_torch_the_error_says_what_to_install(monkeypatch):
    model = from_torch(random_state_dict())
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match="pip install torch"):
        to_torch(model)


def built(*model_layers):
    return keras.Sequential([keras.Input((TIME, FEATURES)), *model_layers])


def lstm(units=UNITS, **arguments):
    return lstm_keras.LSTM(units, return_sequences=True, **arguments)


def projected(size, **arguments):
    cell = lstm_keras.variants.ProjectedLSTMCell(UNITS, size, **arguments)
    return lstm_keras.RNN(cell, return_sequences=True, engine="loop")


class Peephole(lstm_keras.LSTM):
    """A subclass may compute anything."""


both = layers.Bidirectional


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: None, "Keras layer; received NoneType"),
        (lambda: lstm(name="a"), "built layer; received 'a'"),
        (lambda: both(lstm(name="a")), "received 'forward_a'"),
        (lambda: keras.Sequential(name="a"), "with layers; received 'a'"),
        (lambda: built(layers.GRU(3, name="a")), "received 'a', a GRU"),
        (lambda: built(lstm(), layers.Dropout(0.1, name="a")), "received 'a', a Drop"),
        (lambda: built(Peephole(3)), "a Peephole"),
        (lambda: built(lstm_keras.RNN(lstm_keras.LSTMCell(3))), "a RNN"),
        (
            lambda: built(projected(2), projected(3)),
            "'proj_size': 2.*'proj_size': 3",
        ),
        (lambda: built(lstm(activation="relu", name="a")), "'tanh'.* relu .*'a'"),
        (lambda: built(lstm(recurrent_activation="hard_sigmoid")), "hard_sigmoid"),
        (lambda: built(lstm(go_backwards=True, name="a")), "'a' with go_backwards"),
        (
            lambda: built(both(lstm(go_backwards=True), backward_layer=lstm())),
            r"'forward_lstm\w*' with go_backwards",
        ),
        (lambda: built(both(lstm(), "sum", name="a")), "'concat'.*'sum' in 'a'"),
        (lambda: built(lstm(5, name="a"), lstm(6)), r"equal units.*'a', .*: 5.*: 6"),
        (lambda: built(lstm(), lstm(use_bias=False)), "use_bias.*True.*False"),
        (lambda: built(both(lstm()), lstm()), "'directions': 2.*'directions': 1"),
        (
            lambda: built(both(lstm(5), backward_layer=lstm(6, go_backwards=True))),
            "'units': 5.*'units': 6",
        ),
        (lambda: built(lstm(learn_initial_state=True)), "with True.*initial_h.*hx"),
        (
            lambda: built(both(lstm(learn_initial_state=True))),
            "learn_initial_state=False.*'forward_lstm",
        ),
    ],
)
def test_what_torch_does_not_have_is_an_error_that_names_it(make, message):
    with pytest.raises(ValueError, match=message):
        to_torch(make())


# With torch.


def torch_module(count=1, bidirectional=False, use_bias=True, projection=0):
    torch = pytest.importorskip("torch")
    torch.manual_seed(1)
    return torch.nn.LSTM(
        FEATURES,
        UNITS,
        num_layers=count,
        bias=use_bias,
        batch_first=True,
        bidirectional=bidirectional,
        proj_size=projection,
    )


def outputs(module, x):
    import torch

    with torch.no_grad():
        return module(torch.tensor(x, dtype=torch.float32))[0].numpy()


@every_size
@first_of("projection", [0, 2])
def test_the_model_equals_torch_and_the_way_back_only_adds_the_biases(
    count, bidirectional, use_bias, projection
):
    module = torch_module(count, bidirectional, use_bias, projection)
    model, x = from_torch(module), normal(BATCH, TIME, FEATURES)
    assert_all_close(call(model, x), outputs(module, x))
    before, after = module.state_dict(), to_torch(model)
    assert list(after) == list(before)
    for key, tensor in before.items():
        expected = tensor.numpy()
        if key.startswith("bias_ih"):
            expected = expected + before[key.replace("ih", "hh")].numpy()
        if key.startswith("bias_hh"):
            expected = np.zeros_like(expected)
        np.testing.assert_array_equal(after[key].numpy(), expected)


def test_the_model_of_a_cell_equals_torchs_cell_step_by_step():
    torch = pytest.importorskip("torch")
    torch.manual_seed(2)
    cell = torch.nn.LSTMCell(FEATURES, UNITS)
    x = normal(BATCH, TIME, FEATURES)
    states, every_h = None, []
    with torch.no_grad():
        for step in torch.tensor(x, dtype=torch.float32).unbind(1):
            states = cell(step, states)
            every_h.append(states[0].numpy())
    assert_all_close(call(from_torch(cell), x), np.stack(every_h, axis=1))


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("GRU", {"bidirectional": True, "num_layers": 2}, "nn.GRU"),
        ("Linear", {}, r"keys of a torch.nn.LSTM .* with \['bias', 'weight'\]"),
    ],
)
def test_a_module_that_is_not_such_an_lstm_is_an_error(name, arguments, message):
    torch = pytest.importorskip("torch")
    module = getattr(torch.nn, name)(FEATURES, UNITS, **arguments)
    with pytest.raises(ValueError, match=message):
        from_torch(module)


def test_a_learned_initial_state_goes_to_torch_as_the_error_says():
    torch = pytest.importorskip("torch")
    layer = lstm(learn_initial_state=True)
    layer.build((None, TIME, FEATURES))
    randomize_weights(layer)
    plain = lstm()
    plain.build((None, TIME, FEATURES))
    plain.set_weights(layer.cell.get_weights())
    module = torch_module()
    module.load_state_dict(to_torch(plain))
    hx = [
        torch.tensor(ops.convert_to_numpy(state)).expand(1, BATCH, UNITS).contiguous()
        for state in (layer.initial_h, layer.initial_c)
    ]
    x = normal(BATCH, TIME, FEATURES)
    with torch.no_grad():
        expected = module(torch.tensor(x, dtype=torch.float32), hx)[0].numpy()
    assert_all_close(call(layer, x), expected)


@first_of("bidirectional", [True, False])
def test_torch_equals_a_model_of_the_layers_of_keras(bidirectional):
    module = torch_module(2, bidirectional)
    chain = [layers.LSTM(UNITS, return_sequences=True) for _ in range(2)]
    model = built(*(map(layers.Bidirectional, chain) if bidirectional else chain))
    randomize_weights(model)
    module.load_state_dict(to_torch(model))
    x = normal(BATCH, TIME, FEATURES)
    assert_all_close(outputs(module, x), call(model, x))


def test_a_single_layer_has_a_state_dict_too_whatever_it_returns():
    module = torch_module()
    single = lstm(return_cell_states=True, return_state=True)
    pair = layers.Bidirectional(layers.LSTM(UNITS))
    for layer in (single, pair):
        layer.build((None, TIME, FEATURES))
    module.load_state_dict(to_torch(single))
    torch_module(bidirectional=True).load_state_dict(to_torch(pair))
    x = normal(BATCH, TIME, FEATURES)
    assert_all_close(outputs(module, x), call(single, x)[0])


def test_the_state_dict_shares_no_memory_with_the_layer():
    pytest.importorskip("torch")
    model = from_torch(random_state_dict())
    weights = model.get_weights()
    for tensor in to_torch(model).values():
        tensor.zero_()
    for a, e in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(a, e)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_tensors_of_every_precision_are_read(dtype):
    module = torch_module(2, bidirectional=True)
    module = module.to(getattr(pytest.importorskip("torch"), dtype))
    model = from_torch(module.state_dict())
    x = normal(BATCH, TIME, FEATURES)
    assert_all_close(call(model, x), outputs(module.float(), x))


def test_half_precision_goes_to_torch_as_float32():
    torch = pytest.importorskip("torch")
    layer = lstm(dtype="float16", recurrent_initializer="glorot_uniform")
    layer.build((None, TIME, FEATURES))
    state_dict = to_torch(layer)
    assert {tensor.dtype for tensor in state_dict.values()} == {torch.float32}
    torch_module().load_state_dict(state_dict)
