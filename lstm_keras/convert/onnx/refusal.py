"""What cannot be exported, and why: the layer and the reason."""

from collections.abc import Collection
from typing import Any, NoReturn

import keras

from lstm_keras.convert.onnx.graph import Graph


def refuse(graph: Graph, layer: Any, why: str) -> NoReturn:
    """Raise the ValueError for the layer that is being translated.

    Args:
        graph: It knows the layer's path.
        layer: The layer.
        why: A clause about the layer, such as "which is stateful".
    """
    raise ValueError(
        "expected a model that ONNX can express; received the layer "
        f"{graph.path} ({type(layer).__name__}), {why}"
    )


def check_layer(graph: Graph, layer: Any) -> None:
    """Refuse layers that compute in another dtype than float32."""
    if layer.compute_dtype != "float32":
        refuse(graph, layer, f"which computes in {layer.compute_dtype}, not float32")
    if getattr(layer, "quantization_mode", None):
        refuse(graph, layer, f"which is quantized to {layer.quantization_mode}")


def activation_name(
    graph: Graph, layer: Any, argument: str, function: Any, known: Collection[str]
) -> str:
    """Return the name of the activation function that is an argument of a layer.

    Raises:
        ValueError: It is not one of `known`.
    """
    name = getattr(function, "__name__", type(function).__name__)
    if getattr(keras.activations, name, None) is not function:
        refuse(graph, layer, f"whose {argument} is a function of its own, {name}")
    if name not in known:
        listed = ", ".join(known)
        refuse(graph, layer, f"whose {argument} is {name}, not one of {listed}")
    return name
