"""Exported files give the numbers of the model, and of the NumPy reference."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import lstm_keras
from lstm_keras.pooling import InputOrder, MaskedMaxPooling1D
from tests.helpers.equality import (
    BACKEND,
    CELLS,
    FEATURES,
    LAYERS,
    UNITS,
    normal,
    randomize_weights,
    reference_call,
)
from tests.helpers.fresh_process import run_python
from tests.helpers.pairwise import first_of, pairwise

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

SIZES = [(1, 1), (3, 7), (2, 50), (5, 2)]  # batch, time
TOLERANCE = 1e-5
MASKS = {
    "none": lambda steps, lengths: None,
    "right": lambda steps, lengths: steps < lengths,
    "left": lambda steps, lengths: steps >= steps.shape[1] - lengths,
    "holes": lambda steps, lengths: (steps * 7 + lengths * 5) % 3 > 0,
    "a fully masked row": lambda steps, lengths: (steps < lengths) & (lengths > 1),
}


def a_mask(name, batch, time):
    """A mask `(batch, time)` of this kind, or None."""
    rows, steps = np.mgrid[:batch, :time]
    return MASKS[name](steps, 1 + (rows * 3 + time) % time)


def run_file(path, arrays):
    """What onnxruntime makes of arrays, in the order of the inputs."""
    session = onnxruntime.InferenceSession(str(path))
    names = [one.name for one in session.get_inputs()]
    return session.run(None, dict(zip(names, arrays, strict=True)))


def run_model(model, arrays):
    """What the model makes of arrays."""
    tensors = [ops.convert_to_tensor(array) for array in arrays]
    with lstm_keras.engine_scope("loop"):  # which compiles nothing
        outputs = model(tensors if len(tensors) > 1 else tensors[0])
    return [
        ops.convert_to_numpy(ops.stop_gradient(one))
        for one in keras.tree.flatten(outputs)
    ]


def assert_close(found, expected):
    """Compare lists of arrays."""
    for number, (one, other) in enumerate(zip(found, expected, strict=True)):
        np.testing.assert_allclose(
            one, other, rtol=0, atol=TOLERANCE, err_msg=f"output {number}"
        )


def assert_exported(model, arrays, folder):
    """Export, and return the file; its outputs are the model's on these arrays."""
    # That the error is what it says: see test_the_error_is_the_largest_difference_…
    done = lstm_keras.export_onnx(model, folder / "model.onnx", examples=arrays)
    assert done.largest_error < TOLERANCE
    return onnx.load(done.path)


def ids_of(mask, words=20):
    """Ids that are 0 at masked steps."""
    ids = np.random.default_rng(0).integers(1, words, mask.shape)
    return np.where(mask, ids, 0).astype("int32")


def every_mask(time=7):
    """Rows with each kind of mask, (12, time)."""
    return np.concatenate([a_mask(name, 3, time) for name in [*MASKS][1:]])


def float32(*arrays):
    """Arrays as models take them."""
    return [array.astype("float32") for array in arrays]


def layer_exists(kind, cell_states, learned, initial, **_):
    """Whether there is such a layer; Keras's has fewer arguments."""
    ours = kind is lstm_keras.LSTM
    return (ours or not (cell_states or learned)) and not (learned and initial)


@pairwise(
    layer_exists,
    kind=LAYERS,
    mask=MASKS,
    sequences=[False, True],
    backwards=[False, True],
    zero=[False, True],
    initial=[False, True],
    learned=[False, True],
    cell_states=[False, True],
    bias=[True, False],
)
def test_a_layer_equals_the_reference(
    kind,
    mask,
    sequences,
    backwards,
    zero,
    initial,
    learned,
    cell_states,
    bias,
    tmp_path,
):
    own = {"return_cell_states": cell_states, "learn_initial_state": learned}
    layer = kind(
        UNITS,
        return_sequences=sequences,
        return_state=True,
        go_backwards=backwards,
        zero_output_for_mask=zero,
        use_bias=bias,
        **(own if kind is lstm_keras.LSTM else {}),
    )
    x, m = keras.Input((None, FEATURES)), keras.Input((None,), dtype="bool")
    states = [keras.Input((UNITS,)) for _ in range(2 * initial)]
    masked = mask != "none"
    outputs = layer(x, initial_state=states or None, mask=m if masked else None)
    randomize_weights(layer)
    path = tmp_path / "layer.onnx"
    model = keras.Model([x, *states, *[m] * masked], outputs)
    one_step = [np.ones([n or 1 for n in i.shape], i.dtype) for i in model.inputs]
    lstm_keras.export_onnx(model, path, examples=one_step)
    for batch, time in SIZES:
        sequence = normal(batch, time, FEATURES)
        before = [normal(batch, UNITS, seed=seed) for seed in (1, 2)] if initial else []
        flags = a_mask(mask, batch, time)
        found = run_file(path, [*float32(sequence, *before), *[flags] * masked])
        if learned:
            before = [np.repeat(one, batch, 0) for one in layer.get_weights()[:2]]
        expected = reference_call(layer, sequence, flags, *before).outputs
        assert_close(found, expected)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("kind", "merge", "sequences", "state", "own"),
    [
        (lstm_keras.LSTM, "concat", True, False, {"return_cell_states": True}),
        (lstm_keras.LSTM, None, True, True, {"return_cell_states": True}),
        (lstm_keras.LSTM, "ave", False, True, {"learn_initial_state": True}),
        (layers.LSTM, "sum", False, True, {"use_bias": False}),
        (layers.LSTM, "mul", True, False, {}),
        (layers.GRU, None, False, True, {}),
    ],
)
def test_both_directions(kind, merge, sequences, state, own, tmp_path):
    one = kind(UNITS, return_sequences=sequences, return_state=state, **own)
    ids = keras.Input((None,), dtype="int32")
    x = layers.Embedding(20, FEATURES, mask_zero=True)(ids)
    model = keras.Model(ids, layers.Bidirectional(one, merge_mode=merge)(x))
    randomize_weights(model)
    assert_exported(model, [ids_of(every_mask())], tmp_path)


@first_of("gates", ["hard_sigmoid", "tanh", "softsign", "softplus", "elu", "linear"])
@pytest.mark.parametrize("kind", LAYERS)
def test_activations_of_a_layer(kind, gates, tmp_path):
    # The cell states, too, whose output gate is held open.
    own = {"return_cell_states": True} if kind is lstm_keras.LSTM else {}
    layer = kind(
        UNITS,
        activation="softsign",
        recurrent_activation=gates,
        return_sequences=True,
        **own,
    )
    model = keras.Sequential([keras.Input((None, FEATURES)), layer])
    if own:
        x = keras.Input((None, FEATURES))
        model = keras.Model(x, layer(x))
    randomize_weights(model, scale=0.3)
    assert_exported(model, float32(normal(2, 5, FEATURES)), tmp_path)


@first_of("reset_after", [True, False])
def test_gru(reset_after, tmp_path):
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            layers.Embedding(20, FEATURES, mask_zero=True),
            layers.GRU(UNITS, return_sequences=True, reset_after=reset_after),
            layers.GRU(UNITS, go_backwards=True, reset_after=reset_after),
        ]
    )
    randomize_weights(model)
    assert_exported(model, [ids_of(every_mask())], tmp_path)


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_in_keras_rnn(cell, tmp_path):
    model = keras.Sequential(
        [keras.Input((None, FEATURES)), layers.Masking(), layers.RNN(cell(UNITS))]
    )
    randomize_weights(model)
    x = normal(3, 7, FEATURES) * a_mask("holes", 3, 7)[..., None]
    assert_exported(model, float32(x), tmp_path)


def several_layers():
    """A functional model with one of each other layer, and a model inside it."""
    ids = keras.Input((6,), dtype="int32", name="ids")
    numbers = keras.Input((6, FEATURES), name="numbers")
    embedding = layers.Embedding(20, FEATURES, mask_zero=True)
    x = layers.SpatialDropout1D(0.5)(embedding(ids))
    joined = layers.Concatenate()([x, layers.Masking()(numbers)])
    inner_input = keras.Input((None, 2 * FEATURES))
    inner = keras.Sequential(
        [
            layers.LayerNormalization(),
            lstm_keras.LSTM(UNITS, return_sequences=True),
            layers.TimeDistributed(layers.Dense(UNITS, activation="gelu")),
        ]
    )
    inner = keras.Model(inner_input, inner(inner_input), name="inner")
    h = inner(joined)
    lstm = lstm_keras.LSTM(UNITS, return_sequences=True, return_cell_states=True)
    h, *_ = layers.Bidirectional(lstm, merge_mode="sum")(h)
    both = layers.Add()([h, layers.Dense(UNITS, activation="silu")(x)])
    mean, largest = (
        layers.GlobalAveragePooling1D()(both),
        layers.GlobalMaxPooling1D()(h),
    )
    flat = layers.Flatten()(layers.Reshape((2, -1))(InputOrder()(both)))
    masked = MaskedMaxPooling1D()(both)
    last = both[:, -1] - both[:, 0] * 0.5
    outputs = [
        layers.Activation("softmax", name="mean")(mean),
        layers.Concatenate(name="vector")([largest, masked, flat, last]),
        layers.LSTM(UNITS, name="twice", return_state=True)(both)[2],
        inner(layers.Subtract()([joined, joined * 2.0])),
    ]
    return keras.Model([ids, numbers], outputs)


def test_a_model_of_many_layers(tmp_path):
    model = several_layers()
    randomize_weights(model, scale=0.4)
    mask = every_mask(6)
    mask[:, 2] = True  # the mean of no steps is NaN
    numbers = normal(*mask.shape, FEATURES) * mask[::-1, :, None]
    file = assert_exported(model, [ids_of(mask), *float32(numbers)], tmp_path)
    assert [one.name for one in file.graph.input] == ["ids", "numbers"]
    names = [one.name for one in file.graph.output]
    assert names == ["mean", "vector", "twice", "inner"]
    kinds = {node.op_type for node in file.graph.node}
    assert "LSTM" in kinds and not kinds & {"Loop", "Scan", "If"}


@first_of("mask_zero", [True, False])
def test_tied_embeddings(mask_zero, tmp_path):
    model = lstm_keras.language_model.build_language_model(
        20,
        UNITS,
        [lstm_keras.LSTM(UNITS, return_sequences=True, return_state=True)],
        tied=True,
        mask_padding=mask_zero,
    ).model
    randomize_weights(model)
    assert_exported(model, [ids_of(every_mask())], tmp_path)


def test_names_that_collide(tmp_path):
    x = keras.Input((None, FEATURES), name="LSTM")
    outputs = layers.LSTM(UNITS, return_state=True, name="MatMul")(x)
    model = keras.Model(x, {"LSTM_1": outputs[0], "h": outputs[1]})
    file = assert_exported(model, float32(normal(2, 3, FEATURES)), tmp_path)
    assert [one.name for one in file.graph.output] == ["LSTM_1", "h"]


def test_an_output_is_not_named_as_an_input(tmp_path):
    x = keras.Input((None, FEATURES), name="x")
    model = keras.Model(x, {"x": layers.Dense(UNITS)(x), "y": x})
    done = lstm_keras.export_onnx(model, tmp_path / "model.onnx")
    assert (done.inputs, done.outputs) == (("x",), ("x_1", "y"))


def test_inputs_of_different_lengths(tmp_path):
    source, target = (keras.Input((None, FEATURES)) for _ in range(2))
    every, *states = layers.LSTM(UNITS, return_sequences=True, return_state=True)(
        source
    )
    decoded = lstm_keras.LSTM(UNITS, return_sequences=True)(target, states)
    joined = layers.Concatenate(axis=1)([every, decoded])
    model = keras.Model([source, target], [every, decoded, joined])
    arrays = float32(normal(3, 4, FEATURES), normal(3, 9, FEATURES))
    assert_exported(model, arrays, tmp_path)


def test_steps_that_are_left_out(tmp_path):
    x = keras.Input((None, FEATURES))
    model = keras.Model(x, layers.LSTM(UNITS)(x[:, 1:]))
    done = lstm_keras.export_onnx(model, tmp_path / "model.onnx")
    assert done.largest_error < TOLERANCE


def test_arithmetic_with_several_dtypes(tmp_path):
    ids, x = keras.Input((None,), dtype="int32"), keras.Input((None,))
    outputs = [ids * 0.5, 1 - ids, ids + x, x * ids, ops.divide(ids, 2), x - 1]
    model = keras.Model([ids, x], outputs)
    assert_exported(model, [ids_of(every_mask()), *float32(normal(12, 7))], tmp_path)


def test_nan_at_masked_steps_changes_nothing(tmp_path):
    x, m = keras.Input((None, FEATURES)), keras.Input((None,), dtype="bool")
    model = keras.Model(
        [x, m], lstm_keras.LSTM(UNITS, return_sequences=True)(x, mask=m)
    )
    path = tmp_path / "model.onnx"
    lstm_keras.export_onnx(model, path)
    for name in [*MASKS][1:]:
        mask, (sequence,) = a_mask(name, 3, 7), float32(normal(3, 7, FEATURES))
        poisoned = np.where(mask[..., None], sequence, np.float32("nan"))
        assert_close(run_file(path, [poisoned, mask]), run_file(path, [sequence, mask]))


def refused():
    """Models that cannot be exported, with what the message says, by name."""
    x = keras.Input((3, FEATURES), batch_size=2)

    def after(*chain):
        return keras.Sequential([keras.Input((3, FEATURES), batch_size=2), *chain])

    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    inner = after(layers.LSTM(UNITS, stateful=True, name="carried"))
    mask = keras.Input((3,), batch_size=2, dtype="bool")
    noisy = layers.Dropout(0.5, name="noisy")
    unrolled = {"unroll": True, "zero_output_for_mask": True, "name": "unrolled"}
    return {
        "stateful": (inner, r"carried \(LSTM\), which is stateful"),
        "inside": (
            keras.Model(x, keras.Model(inner.inputs, inner.outputs, name="in")(x)),
            "in/carried",
        ),
        "half precision": (
            after(layers.Dense(2, name="half", dtype="mixed_float16")),
            r"half \(Dense\), which computes in float16",
        ),
        "double precision": (after(layers.Dense(2, dtype="float64")), "in float64"),
        "lambda": (
            after(layers.Lambda(lambda x: x, name="code")),
            r"code \(Lambda\), which is none of Activation, ",
        ),
        "an activation": (
            after(layers.LSTM(2, activation=lambda x: x, name="odd")),
            r"odd \(LSTM\), whose activation is a function of its own",
        ),
        "an activation that ONNX lacks": (
            after(layers.LSTM(2, recurrent_activation="mish")),
            "whose recurrent_activation is mish, not one of tanh, sigmoid",
        ),
        "a subclass": (after(Changed(UNITS)), r"\(Changed\), which is none of"),
        "a subclassed cell": (
            after(layers.RNN(ChangedCell(2))),
            "cell is a ChangedCell",
        ),
        "an operation": (
            keras.Model(x, ops.cumsum(x, axis=1)),
            r"\(Cumsum\), which is none of Add",
        ),
        "a model of code": (Own(name="own"), r"received Own 'own'"),
        "no model": (layers.Dense(2, name="one"), "received Dense 'one'"),
        "unrolled": (
            keras.Model([x, mask], layers.LSTM(2, **unrolled)(x, mask=mask)),
            r"unrolled \(LSTM\), which is unrolled",
        ),
        "training": (
            keras.Model(x, noisy(x, training=True)),
            r"noisy \(Dropout\), which is called with training=True",
        ),
        "training inside": (
            keras.Model(x, keras.Sequential([noisy], name="in")(x, training=True)),
            r"in \(Sequential\), which is called with training=True",
        ),
        "dtypes": (
            keras.Model([x, mask], layers.Add()([x[:, :, 0], mask])),
            r"\(Add\), which combines tensors of different ranks or dtypes",
        ),
        "another axis": (after(layers.LayerNormalization(axis=1)), "not the last one"),
        "one at a time": (
            after(layers.TimeDistributed(layers.Reshape((2, 2)), name="each")),
            r"each \(TimeDistributed\), which applies a Reshape",
        ),
    }


class Changed(lstm_keras.LSTM):
    """A subclass may compute anything."""


class ChangedCell(lstm_keras.LSTMCell):
    """A subclass may compute anything."""


def test_what_is_refused_is_named(tmp_path):
    for name, (model, message) in refused().items():
        with pytest.raises(ValueError, match=message):
            lstm_keras.export_onnx(model, tmp_path / f"{name}.onnx")
    assert [*tmp_path.iterdir()] == []


def small_model():
    """Embedding, LSTM, Dense."""
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32", name="ids"),
            layers.Embedding(20, FEATURES, mask_zero=True),
            lstm_keras.LSTM(UNITS),
            layers.Dense(1, activation="sigmoid", name="probability"),
        ]
    )
    randomize_weights(model)
    return model


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        (
            [np.ones((2, 3)), np.ones((2, 3))],
            r"\(None, None\).*; received \[\(2, 3\), ",
        ),
        (np.ones(3), r"for the inputs ids, .*; received \[\(3,\)\]"),
        (np.ones((0, 3)), r"; received \[\(0, 3\)\]"),
        (np.full((2, 3), 20), r"that the model can compute; .* \[\(2, 3\)\] give"),
    ],
    ids=["too many", "rank", "empty", "an id that the embedding lacks"],
)
def test_examples_that_do_not_fit(examples, message, tmp_path):
    with pytest.raises(ValueError, match=f"expected .*examples.*{message}"):
        lstm_keras.export_onnx(small_model(), tmp_path / "a.onnx", examples=examples)
    assert [*tmp_path.iterdir()] == []


def test_a_folder_is_refused_before_the_export(tmp_path, monkeypatch):
    monkeypatch.setattr("lstm_keras.convert.onnx.translation.translated", None)
    with pytest.raises(IsADirectoryError, match="received the folder"):
        lstm_keras.export_onnx(small_model(), tmp_path)


def test_a_failed_check_leaves_the_old_file(tmp_path, monkeypatch):
    path, model = tmp_path / "model.onnx", small_model()
    path.write_text("old")
    weights = model.get_weights()
    monkeypatch.setattr(
        "lstm_keras.convert.onnx.random_examples",
        # The file has been made, and so the weights are others than in the file.
        lambda inputs, graph: (
            model.set_weights([2 * one for one in weights])
            or [[np.array([[3, 4]], "int32")]]
        ),
    )
    with pytest.raises(ValueError, match="outputs that differ by 0"):
        lstm_keras.export_onnx(model, path)
    assert [one.name for one in tmp_path.iterdir()] == ["model.onnx"]
    assert path.read_text() == "old"


def test_an_export_changes_nothing_of_the_model(tmp_path):
    model = small_model()
    before = [dict(vars(layer)) for layer in model.layers]
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    done = lstm_keras.export_onnx(model, tmp_path / "model.onnx")
    assert (done.inputs, done.outputs) == (("ids",), ("probability",))
    assert done.largest_error < TOLERANCE
    after = [dict(vars(layer)) for layer in model.layers]
    for old, new in zip(before, after, strict=True):
        assert old.keys() == new.keys()
        assert all(old[key] is new[key] for key in old.keys() - {"_called"})
    assert nodes == [len(layer._inbound_nodes) for layer in model.layers]


def test_the_error_is_the_largest_difference_as_of_quantized_weights(tmp_path):
    model, path = small_model(), tmp_path / "model.onnx"
    ids = ids_of(a_mask("holes", 3, 7))
    done = lstm_keras.export_onnx(model, path, examples=ids, quantize=True)
    error = np.abs(run_file(path, [ids])[0] - run_model(model, [ids])[0]).max()
    assert done.largest_error == pytest.approx(error, rel=1e-3)
    assert TOLERANCE < done.largest_error < 0.1
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert "DynamicQuantizeLSTM" in kinds


def test_keras_has_the_private_attribute():
    # All that has no public twin: see lstm_keras/convert/onnx/keras_graph.py.
    model, called = small_model(), []

    def call(operation, *args, **kwargs):
        called.append((type(operation).__name__, args[0]))
        return [operation.name]

    graph = keras.Model(model.inputs, model.outputs)
    (found,) = graph._run_through_graph(["ids"], call_fn=call)
    assert [name for name, _ in called] == ["Embedding", "NotEqual", "LSTM", "Dense"]
    assert found == "probability"


@pytest.mark.thorough
def test_without_onnx_the_package_works_and_says_what_to_install():
    program = (
        "import sys; sys.modules['onnx'] = None\n"
        "from lstm_keras import *\n"
        "try: export_onnx(None, 'model.onnx')\n"
        "except ModuleNotFoundError as error: print(error)"
    )
    printed = run_python(program, KERAS_BACKEND=BACKEND)
    assert "export_onnx needs onnx" in printed
    assert "pip install 'lstm_keras[onnx]'" in printed
