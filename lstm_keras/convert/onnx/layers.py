"""How each kind of layer is expressed in ONNX: a function for each, in a table.

It takes the graph, the layer, and the arguments of the layer's call, with `Value`s for
tensors. It adds nodes, and returns the name of its output, or those of its outputs. If
it has an argument `mask`, that is the mask that Keras would give the layer.
"""

import functools
from typing import Any

import numpy as np
from keras import layers, ops

from lstm_keras.convert.onnx.graph import BOOL, FLOAT, INT32, Graph
from lstm_keras.convert.onnx.recurrent import LAYERS as RECURRENT
from lstm_keras.convert.onnx.recurrent import bidirectional, flipped, recurrent
from lstm_keras.convert.onnx.refusal import activation_name, check_layer, refuse
from lstm_keras.language_model.model import TiedEmbedding
from lstm_keras.pooling import InputOrder, MaskedMaxPooling1D

ACTIVATIONS = {
    "linear": lambda graph, x: x,
    "relu": lambda graph, x: graph.Relu(x),
    "relu6": lambda graph, x: graph.Clip(x, np.float32(0), np.float32(6)),
    "leaky_relu": lambda graph, x: graph.LeakyRelu(x, alpha=0.2),
    "elu": lambda graph, x: graph.Elu(x),
    "selu": lambda graph, x: graph.Selu(x),
    "gelu": lambda graph, x: graph.Gelu(x),
    "silu": lambda graph, x: graph.Mul(x, graph.Sigmoid(x)),
    "sigmoid": lambda graph, x: graph.Sigmoid(x),
    "hard_sigmoid": lambda graph, x: graph.HardSigmoid(x, alpha=1 / 6),
    "tanh": lambda graph, x: graph.Tanh(x),
    "softplus": lambda graph, x: graph.Softplus(x),
    "softsign": lambda graph, x: graph.Softsign(x),
    "exponential": lambda graph, x: graph.Exp(x),
    "softmax": lambda graph, x: graph.Softmax(x),
    "log_softmax": lambda graph, x: graph.LogSoftmax(x),
}


def activation(graph: Graph, layer: Any, x: Any) -> Any:
    """Apply the activation of a layer."""
    function = layer.activation
    name = activation_name(graph, layer, "activation", function, ACTIVATIONS)
    return ACTIVATIONS[name](graph, graph.float32(x))


def unchanged(graph: Graph, layer: Any, x: Any) -> Any:
    """Do what the layer does in inference: nothing."""
    return x.name


def embedding(graph: Graph, layer: Any, ids: Any) -> str:
    """Look vectors up."""
    limits = graph.id_limits
    limits[ids.name] = min(layer.input_dim, limits.get(ids.name, layer.input_dim))
    is_index = ids.spec.dtype in ("int32", "int64")
    indices = ids if is_index else graph.Cast(ids, to=INT32)
    return graph.Gather(ops.convert_to_numpy(layer.embeddings), indices)


def reversible_embedding(
    graph: Graph, layer: Any, x: Any, reverse: bool = False
) -> str:
    """Look vectors up, or compute logits."""
    if not reverse:
        return embedding(graph, layer, x)
    if layer.reverse_dtype not in (None, "float32"):
        refuse(graph, layer, f"which computes logits in {layer.reverse_dtype}")
    weights = layer.embeddings if layer.tie_weights else layer.reverse_embeddings
    kernel = ops.convert_to_numpy(weights)
    # Transposed in the graph, for one copy of the weights.
    kernel = graph.Transpose(kernel, perm=[1, 0]) if layer.tie_weights else kernel
    logits = graph.MatMul(graph.float32(x), kernel)
    if layer.logit_soft_cap is not None:
        cap = np.float32(layer.logit_soft_cap)
        logits = graph.Mul(graph.Tanh(graph.Div(logits, cap)), cap)
    return logits


def tied_embedding(graph: Graph, layer: Any, x: Any, reverse: bool = False) -> str:
    """Look vectors up, or compute logits with a bias."""
    outputs = reversible_embedding(graph, layer, x, reverse)
    bias = ops.convert_to_numpy(layer.bias)
    return graph.Add(outputs, bias) if reverse else outputs


def masking(graph: Graph, layer: Any, x: Any) -> str:
    """Put zeros at masked steps."""
    value = np.asarray(layer.mask_value, x.spec.dtype)
    differs = graph.Cast(graph.Not(graph.Equal(x, value)), to=INT32)
    counts = graph.Cast(graph.ReduceMax(differs, [-1], keepdims=1), to=BOOL)
    return graph.Where(counts, x, np.zeros((), x.spec.dtype))


def dense(graph: Graph, layer: Any, x: Any) -> str:
    """Multiply the last axis by the kernel."""
    outputs = graph.MatMul(graph.float32(x), ops.convert_to_numpy(layer.kernel))
    if layer.use_bias:
        outputs = graph.Add(outputs, ops.convert_to_numpy(layer.bias))
    return activation(graph, layer, outputs)


def time_distributed(graph: Graph, layer: Any, x: Any) -> str:
    """Apply a layer that acts on the last axis alone to all steps at once."""
    inner = layer.layer
    if type(inner) not in _OF_LAST_AXIS:
        known = ", ".join(one.__name__ for one in _OF_LAST_AXIS)
        why = f"which applies a {type(inner).__name__}, not one of {known}"
        refuse(graph, layer, why)
    check_layer(graph, inner)
    return LAYERS[type(inner)](graph, inner, x)


def layer_normalization(graph: Graph, layer: Any, x: Any) -> str:
    """Normalize the last axis."""
    rank = len(x.spec.shape)
    if [axis % rank for axis in np.atleast_1d(layer.axis)] != [rank - 1]:
        refuse(graph, layer, f"whose axis is {layer.axis}, not the last one")
    if layer.rms_scaling:
        refuse(graph, layer, "which has rms_scaling")
    size = x.spec.shape[-1]
    scale, bias = (
        default((size,), np.float32) if weight is None else ops.convert_to_numpy(weight)
        for weight, default in ((layer.gamma, np.ones), (layer.beta, np.zeros))
    )
    return graph.LayerNormalization(
        graph.float32(x), scale, bias, axis=-1, epsilon=layer.epsilon
    )


def global_max(graph: Graph, layer: Any, x: Any) -> str:
    """Return the greatest of all steps."""
    _check_channels(graph, layer)
    return graph.ReduceMax(graph.float32(x), [1], keepdims=int(layer.keepdims))


def global_average(graph: Graph, layer: Any, x: Any, mask: Any = None) -> str:
    """Return the mean of all steps, or of those that count."""
    _check_channels(graph, layer)
    keep = int(layer.keepdims)
    x = graph.float32(x)
    if mask is None:
        return graph.ReduceMean(x, [1], keepdims=keep)
    counts = graph.Unsqueeze(graph.Cast(mask, to=BOOL), [2])
    number = graph.Cast(counts, to=FLOAT)
    total = graph.ReduceSum(graph.Where(counts, x, np.float32(0)), [1], keepdims=keep)
    return graph.Div(total, graph.ReduceSum(number, [1], keepdims=keep))


def masked_max(graph: Graph, layer: Any, x: Any, mask: Any = None) -> str:
    """Return the greatest of the steps that count; zeros where there is none."""
    x = graph.float32(x)
    if mask is None:
        return graph.ReduceMax(x, [1], keepdims=0)
    counts = graph.Unsqueeze(graph.Cast(mask, to=BOOL), [2])
    lowest, zero = np.float32(-1e30), np.float32(0)
    found = graph.ReduceMax(graph.Where(counts, x, lowest), [1], keepdims=0)
    some = graph.ReduceMax(graph.Cast(counts, to=INT32), [1], keepdims=0)
    return graph.Where(graph.Cast(some, to=BOOL), found, zero)


def input_order(graph: Graph, layer: Any, x: Any) -> str:
    """Reverse the order of the steps."""
    return flipped(graph, x)


def _check_channels(graph, layer):
    if layer.data_format != "channels_last":
        refuse(graph, layer, f"whose data_format is {layer.data_format}")


def concatenate(graph: Graph, layer: Any, values: list) -> str:
    """Join tensors along an axis."""
    return graph.Concat(*values, axis=layer.axis)


def merge(operator: str) -> Any:
    """Return the function of a layer that combines tensors element by element."""

    def merged(graph: Graph, layer: Any, values: list) -> str:
        if len({(len(one.spec.shape), one.spec.dtype) for one in values}) > 1:
            refuse(graph, layer, "which combines tensors of different ranks or dtypes")
        if operator in ("Max", "Min", "Mul") and any(value.mask for value in values):
            refuse(graph, layer, "which has masks")
        return functools.reduce(lambda a, b: graph.add(operator, [a, b]), values)

    return merged


def average(graph: Graph, layer: Any, values: list) -> str:
    """Return the mean of tensors."""
    total = merge("Add")(graph, layer, values)
    return graph.Div(total, np.asarray(len(values), values[0].spec.dtype))


def reshape(graph: Graph, layer: Any, x: Any) -> str:
    """Change the shape of each example."""
    return graph.Reshape(x, [0, *layer.target_shape])


def flatten(graph: Graph, layer: Any, x: Any) -> str:
    """Make a vector of each example."""
    if layer.data_format != "channels_last" and len(x.spec.shape) > 2:
        refuse(graph, layer, f"whose data_format is {layer.data_format}")
    return graph.Flatten(x)


_DROPOUT = (
    layers.ActivityRegularization,
    layers.AlphaDropout,
    layers.Dropout,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.Identity,
    layers.SpatialDropout1D,
)
LAYERS: dict[type, Any] = {
    **dict.fromkeys(RECURRENT, recurrent),
    **dict.fromkeys(_DROPOUT, unchanged),
    layers.Activation: activation,
    layers.Add: merge("Add"),
    layers.Average: average,
    layers.Bidirectional: bidirectional,
    layers.Concatenate: concatenate,
    layers.Dense: dense,
    layers.Embedding: embedding,
    layers.Flatten: flatten,
    layers.GlobalAveragePooling1D: global_average,
    layers.GlobalMaxPooling1D: global_max,
    layers.LayerNormalization: layer_normalization,
    layers.Masking: masking,
    layers.Maximum: merge("Max"),
    layers.Minimum: merge("Min"),
    layers.Multiply: merge("Mul"),
    layers.Reshape: reshape,
    layers.ReversibleEmbedding: reversible_embedding,
    layers.Subtract: merge("Sub"),
    layers.TimeDistributed: time_distributed,
    InputOrder: input_order,
    MaskedMaxPooling1D: masked_max,
    TiedEmbedding: tied_embedding,
}
_OF_LAST_AXIS = (*_DROPOUT, layers.Activation, layers.Dense, layers.LayerNormalization)
