"""How each of `keras.ops` that may stand in a model is expressed in ONNX.

They are those of which Keras makes masks, arithmetic and indexing; for the functions
see `layers`.
"""

from typing import Any

import keras
import numpy as np

from lstm_keras.convert.onnx.graph import BOOL, INT32, Graph
from lstm_keras.convert.onnx.refusal import refuse


def _binary(operator, *also):
    """Return the function of an operation on tensors or numbers.

    It computes in the dtype that Keras makes of theirs and those in `also`.
    """

    def combined(graph, operation, *pair):
        specs = [getattr(one, "spec", one) for one in pair]
        kinds = [getattr(one, "dtype", type(one)) for one in specs]
        dtype = keras.backend.result_type(*kinds, *also)
        return graph.add(operator, [graph.cast(one, dtype) for one in pair])

    return combined


def _not_equal(graph, operation, a, b):
    return graph.Not(_binary("Equal")(graph, operation, a, b))


def _any(graph, operation, x):
    if operation.axis is None:
        refuse(graph, operation, "which has no axis")
    numbers = graph.ReduceMax(
        graph.Cast(x, to=INT32), [*operation.axis], keepdims=int(operation.keepdims)
    )
    return graph.Cast(numbers, to=BOOL)


def _squeeze(graph, operation, x):
    return graph.Squeeze(x, [*np.atleast_1d(operation.axis)])


def _expand_dims(graph, operation, x):
    return graph.Unsqueeze(x, [*np.atleast_1d(operation.axis)])


def _concatenate(graph, operation, values):
    return graph.Concat(*values, axis=operation.axis)


def _filled(number):
    """Return the function of `zeros_like` or `ones_like`."""

    def filled(graph, operation, x):
        dtype = operation.dtype or x.spec.dtype
        return graph.Expand(np.asarray(number, dtype), graph.Shape(x))

    return filled


def _get_item(graph: Graph, operation: Any, x: Any, key: Any) -> Any:
    """Select by whole numbers and slices."""
    keys = [*key] if isinstance(key, list | tuple) else [key]
    # From the last axis, since a number removes its axis.
    for axis, one in reversed([*enumerate(keys)]):
        if isinstance(one, int):
            x = graph.Gather(x, np.int64(one), axis=axis)
        elif isinstance(one, slice):
            forward = (one.step or 1) > 0
            start = one.start if one.start is not None else 0 if forward else -1
            farthest = 2**62 if forward else -(2**62)
            stop = farthest if one.stop is None else one.stop
            x = graph.Slice(x, [start], [stop], [axis], [one.step or 1])
        else:
            refuse(graph, operation, f"which selects by {one!r}")
    return x


OPERATIONS: dict[str, Any] = {
    "Add": _binary("Add"),
    "Any": _any,
    "Concatenate": _concatenate,
    "Divide": _binary("Div", float),
    "Equal": _binary("Equal"),
    "ExpandDims": _expand_dims,
    "GetItem": _get_item,
    "LogicalAnd": _binary("And"),
    "LogicalOr": _binary("Or"),
    "Multiply": _binary("Mul"),
    "NotEqual": _not_equal,
    "OnesLike": _filled(1),
    "Squeeze": _squeeze,
    "Subtract": _binary("Sub"),
    "ZerosLike": _filled(0),
}
"""The function of each operation, by the name of its class."""
