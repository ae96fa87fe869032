"""Pairs of equal layers, their gradients, and the same by the NumPy reference.

A pair is ours and Keras's, with the same arguments and the same random weights.
"""

import contextlib

import keras
import numpy as np
from keras import ops

import lstm_keras
from lstm_keras import engines
from lstm_keras.reference import lstm_layer

BACKEND = keras.backend.backend()
BATCH, TIME, FEATURES, UNITS = 3, 7, 4, 5
LAYERS = (lstm_keras.LSTM, keras.layers.LSTM)
CELLS = (lstm_keras.LSTMCell, keras.layers.LSTMCell)


def _can_train(engine):
    try:
        lstm_keras.LSTM(1, engine=engine)
    except ValueError:
        return False
    return True


# The engines that can be tried here: cudnn where the backend sees a GPU.
ENGINES = [name for name in engines.BACKENDS if _can_train(name)]
HAS_CUDNN = "cudnn" in ENGINES

# The arguments of a layer for each engine, and for the loop also unrolled.
EVERY_ENGINE = {
    "loop": {"engine": "loop"},
    "unrolled loop": {"engine": "loop", "unroll": True},
    **{name: {"engine": name} for name in ENGINES},
}
MASKS = {
    "holes": ["0110101", "1001010", "0010110"],
    "none": None,
    "right": ["1111111", "1111000", "1000000"],
    "left": ["1111111", "0001111", "0000001"],
    "a fully masked row": ["1111111", "0000000", "1001110"],
}

# Relative to the largest expected element. Half precision: a few units in the last
# place, since rounding errors of the steps add up. cuDNN's sigmoid and tanh are exact
# to about 1e-5.
TOLERANCES = {
    "float64": 1e-12,
    "float32": 5e-5 if HAS_CUDNN else 1e-5,
    "mixed_float16": 4 * 2.0**-10,
    "mixed_bfloat16": 4 * 2.0**-7,
}


def as_mask(name):
    """A mask `(BATCH, TIME)` by its name in `MASKS`, or None."""
    rows = MASKS[name]
    return None if rows is None else np.array([[s == "1" for s in row] for row in rows])


def normal(*shape, seed=0):
    """Random numbers, float64."""
    return np.random.default_rng(seed).normal(size=shape)


def inputs_and_states(batch=BATCH, time=TIME):
    """Random sequences and initial states that are not zero."""
    return (
        normal(batch, time, FEATURES, seed=1),
        normal(batch, UNITS, seed=2),
        normal(batch, UNITS, seed=3),
    )


def randomize_weights(layer, seed=4, scale=0.7):
    """Give every weight random values, the bias too."""
    layer.set_weights(
        [
            scale * normal(*weight.shape, seed=seed + number)
            for number, weight in enumerate(layer.get_weights())
        ]
    )


def built(layer, input_shape=(BATCH, TIME, FEATURES)):
    """The layer with random weights."""
    layer.build(input_shape)
    randomize_weights(layer)
    return layer


def equal_pair(make, classes=LAYERS, input_shape=None):
    """What `make` makes of our class and of Keras's, with equal random weights."""
    pair = [make(one) for one in classes]
    for layer in pair:
        if input_shape is not None:
            layer.build(input_shape)
    randomize_weights(pair[1])
    pair[0].set_weights(pair[1].get_weights())
    return pair


def lstm_pair(
    units=UNITS, input_shape=(BATCH, TIME, FEATURES), engine="auto", **arguments
):
    """`lstm_keras.LSTM` and `keras.layers.LSTM` with equal random weights."""
    # cuDNN is wrong on JAX: see lstm_keras/engines/cudnn.py.
    of_keras = {"use_cudnn": False} if BACKEND == "jax" else {}

    def make(layer):
        alone = {"engine": engine} if layer is lstm_keras.LSTM else of_keras
        return layer(units, **arguments | alone)

    return equal_pair(make, input_shape=input_shape)


def to_numpy(nested):
    """A flat list of float64 arrays."""
    return [
        ops.convert_to_numpy(tensor).astype("float64")
        for tensor in keras.tree.flatten(nested)
    ]


def loss_weights(shape, number):
    """The weights of a loss's tensor of this number: each element counts otherwise."""
    return normal(*shape, seed=100 + number)


def _loss(outputs):
    """The sum of outputs, weighted so that nothing cancels."""
    total = 0
    for number, tensor in enumerate(keras.tree.flatten(outputs)):
        is_double = keras.backend.standardize_dtype(tensor.dtype) == "float64"
        dtype = "float64" if is_double else "float32"
        weights = ops.convert_to_tensor(loss_weights(tensor.shape, number), dtype=dtype)
        total += ops.sum(ops.cast(tensor, dtype) * weights)
    return total


def outputs_and_gradients(layer, function, arrays):
    """Call `function(*tensors)`, which calls the layer, and differentiate.

    Returns:
        The outputs, and the gradients by the layer's trainable weights and by the
        arrays, two flat lists. The loss is the sum of outputs times `loss_weights`.
    """
    tensors = [ops.convert_to_tensor(a, dtype=layer.variable_dtype) for a in arrays]
    outputs, gradients = _DIFFERENTIATE[BACKEND](layer, function, tensors)
    return keras.tree.flatten(outputs), keras.tree.flatten(gradients)


def _differentiate_tensorflow(layer, function, tensors):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(tensors)
        outputs = function(*tensors)
        value = _loss(outputs)
    sources = [variable.value for variable in layer.trainable_variables] + tensors
    return outputs, tape.gradient(value, sources)


def _differentiate_jax(layer, function, tensors):
    import jax

    def value_and_outputs(weights, tensors):
        mapping = zip(layer.trainable_variables, weights, strict=True)
        with keras.StatelessScope(state_mapping=mapping) as scope:
            outputs = function(*tensors)
            value = _loss(outputs)
        updates = [scope.get_current_value(v) for v in layer.non_trainable_variables]
        return value, (outputs, updates)

    weights = [variable.value for variable in layer.trainable_variables]
    gradients, (outputs, updates) = jax.grad(
        value_and_outputs, argnums=(0, 1), has_aux=True
    )(weights, tensors)
    for variable, update in zip(layer.non_trainable_variables, updates, strict=True):
        if update is not None:
            variable.assign(update)
    return outputs, gradients


def _differentiate_torch(layer, function, tensors):
    import torch

    for tensor in tensors:
        tensor.requires_grad_(True)
    outputs = function(*tensors)
    weights = [variable.value for variable in layer.trainable_variables]
    gradients = torch.autograd.grad(_loss(outputs), weights + tensors)
    return keras.tree.map_structure(lambda t: t.detach(), outputs), gradients


_DIFFERENTIATE = {
    "tensorflow": _differentiate_tensorflow,
    "jax": _differentiate_jax,
    "torch": _differentiate_torch,
}


def run_layer(layer, arrays=None, **call):
    """Return `outputs_and_gradients` of a layer's call with inputs (and states)."""

    def function(x, *states):
        return layer(x, initial_state=list(states) or None, **call)

    arrays = inputs_and_states() if arrays is None else arrays
    return outputs_and_gradients(layer, function, arrays)


def reference_call(layer, x, mask=None, h0=None, c0=None):
    """Call the reference with the weights and options of a layer, Keras's or ours."""
    kernel, recurrent_kernel, *bias = layer.cell.get_weights()
    return lstm_layer(
        x,
        kernel,
        recurrent_kernel,
        *(bias or [None]),
        h0,
        c0,
        mask,
        go_backwards=layer.go_backwards,
        return_sequences=layer.return_sequences,
        return_cell_states=getattr(layer, "return_cell_states", False),
        zero_output_for_mask=layer.zero_output_for_mask,
        # Keras's loop on JAX does so, where others show zeros, and ours does as well.
        shows_initial_state=BACKEND == "jax"
        and not (layer.unroll or layer.zero_output_for_mask),
    )


def reference_forward(*arguments):
    """Return the reference's `Forward`, in the order in which the layer reads."""
    return reference_call(*arguments).forward


def reference_results(layer, arrays=None, mask=None):
    """Return what `run_layer` finds of our layer with `return_state`, by the reference.

    Without initial states in `arrays` they are the learned ones, and so is their
    gradient; the arguments are as for `run_layer`.

    Returns:
        The outputs, and the gradients of the trainable weights and of the arrays, two
        lists of NumPy arrays.
    """
    x, *states = inputs_and_states() if arrays is None else arrays
    learned = not states
    if learned:
        states = [
            np.repeat(ops.convert_to_numpy(state), len(x), axis=0)
            for state in (layer.initial_h, layer.initial_c)
        ]
    call = reference_call(layer, x, mask, *states)
    found = call.gradients(
        [loss_weights(one.shape, number) for number, one in enumerate(call.outputs)]
    )
    of_weights = [found.kernel, found.recurrent_kernel, found.bias]
    gradients = [one for one in of_weights if one is not None] + [found.x]
    of_states = [found.h0, found.c0]
    if learned:  # one vector stands for all rows, so their gradients add up
        sums = [gradient.sum(axis=0, keepdims=True) for gradient in of_states]
        return call.outputs, sums + gradients
    return call.outputs, gradients + of_states


def assert_all_close(actual, expected, dtype="float32", tolerance=None):
    """Compare tensors, nested at will, by the tolerance or by that of the dtype.

    It is relative to the largest element that is expected of a tensor.
    """
    pairs = zip(to_numpy(actual), to_numpy(expected), strict=True)
    for number, (a, e) in enumerate(pairs):
        atol = (tolerance or TOLERANCES[dtype]) * np.abs(e).max(initial=0.0)
        np.testing.assert_allclose(a, e, rtol=0, atol=atol, err_msg=f"tensor {number}")


@contextlib.contextmanager
def double_precision():
    """Let JAX compute in float64, which it turns into float32 unless told otherwise."""
    if BACKEND != "jax":
        yield
        return
    import jax

    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)
