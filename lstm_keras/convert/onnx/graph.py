"""An ONNX graph under construction, and the values in it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import onnx
from onnx import helper, numpy_helper

BOOL, FLOAT = onnx.TensorProto.BOOL, onnx.TensorProto.FLOAT
INT32, INT64 = onnx.TensorProto.INT32, onnx.TensorProto.INT64
OPSET = 20  # of 2023: the first whose Gelu is an operator
IR_VERSION = 9  # of the same release


@dataclass(frozen=True)
class Value:
    """A tensor of the graph.

    Attributes:
        name: Its name in the graph.
        spec: Its shape and dtype, as Keras knows them.
        mask: The mask that Keras would attach to it, `(batch, time)`, or None.
    """

    name: str
    spec: keras.KerasTensor
    mask: "Value | None" = None


@dataclass
class Graph:
    """The nodes and constants so far.

    An operator is a method: `graph.MatMul(x, kernel)` adds a node and returns the name
    of its output, or with `outputs=n` a list of names. Inputs are names, `Value`s,
    arrays and numbers, which become constants, or None for an optional input. The same
    operator on the same inputs is the same node.

    Names contain a "/", which no name of a Keras layer or input can.

    Attributes:
        path: The layer that is being translated, by its path in the model.
        id_limits: For each input of ids how many ids there are.
    """

    path: str = ""
    id_limits: dict[str, int] = field(default_factory=dict)
    _nodes: list[onnx.NodeProto] = field(default_factory=list)
    _constants: dict[str, onnx.TensorProto] = field(default_factory=dict)
    _known: dict[tuple, list[str]] = field(default_factory=dict)

    def __getattr__(self, operator: str) -> Any:
        """Return a function that adds a node of this operator."""
        if not operator[0].isupper():
            raise AttributeError(operator)
        return lambda *inputs, **options: self.add(operator, inputs, **options)

    def add(
        self,
        operator: str,
        inputs: Sequence,
        outputs: int | None = None,
        **attributes: Any,
    ) -> Any:
        """Add a node, and return the name of its output or of its `outputs`."""
        inputs = [self._name(one) for one in inputs]
        key = operator, *inputs, repr(sorted(attributes.items()))
        if key not in self._known:
            place = f"{self.path}/{operator}#{len(self._nodes)}"
            names = [f"{place}:{i}" for i in range(outputs or 1)]
            self._known[key] = names
            self._nodes.append(
                helper.make_node(operator, inputs, names, place, **attributes)
            )
        return self._known[key] if outputs else self._known[key][0]

    def float32(self, x: Value | Any) -> Any:
        """Return a tensor as float32, in which all exported layers compute."""
        return self.cast(x, "float32") if isinstance(x, Value) else x

    def cast(self, x: Value | Any, dtype: str) -> Any:
        """Return a tensor or a number as one of this dtype."""
        if not isinstance(x, Value):
            return np.asarray(x, dtype)
        return x if x.spec.dtype == dtype else self.Cast(x, to=_onnx_dtype(dtype))

    def _name(self, value):
        if value is None:
            return ""
        if isinstance(value, (str, Value)):
            return getattr(value, "name", value)
        array = np.asarray(value)  # a list of whole numbers becomes int64
        key = hashlib.sha256(array.tobytes()).hexdigest()
        name = f"/{array.dtype}{list(array.shape)}/{key}"
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(array, name)
        return name

    def model(
        self,
        inputs: Mapping[str, keras.KerasTensor],
        outputs: Mapping[str, Value],
        metadata: Mapping[str, str],
    ) -> onnx.ModelProto:
        """Return the finished model.

        Args:
            inputs: Shape and dtype of each input of the graph, by name.
            outputs: A value for each output of the graph, by name.
            metadata: Properties of the model.
        """
        copies = [
            helper.make_node("Identity", [value.name], [name])
            for name, value in outputs.items()
        ]
        graph = helper.make_graph(
            [*self._nodes, *copies],
            "lstm_keras",
            [_described(name, spec) for name, spec in inputs.items()],
            [_described(name, value.spec) for name, value in outputs.items()],
            [*self._constants.values()],
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="lstm_keras",
        )
        helper.set_model_props(model, dict(metadata))
        return model


def _onnx_dtype(dtype: str) -> int:
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def _described(name: str, spec: keras.KerasTensor) -> onnx.ValueInfoProto:
    """Return name, dtype and shape of an input or output, as ONNX states them."""
    sizes = _named_sizes(name, spec.shape)
    return helper.make_tensor_value_info(name, _onnx_dtype(spec.dtype), sizes)


def _named_sizes(tensor: str, shape: Sequence[int | None]) -> list[int | str]:
    """Return a shape in which sizes that Keras does not know have a name.

    But for the batch each has its own, since onnxruntime lets tensors whose sizes have
    equal names share memory.
    """
    return [
        (f"{tensor}_{axis}" if axis else "batch") if size is None else size
        for axis, size in enumerate(shape)
    ]
