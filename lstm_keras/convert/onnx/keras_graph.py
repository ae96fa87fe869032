"""Walk through a Keras model, whose private attributes are used here alone."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras


def functional(model: Any, path: str = "") -> keras.Model:
    """Return the layers of a Sequential or functional model as a functional model.

    Raises:
        ValueError: It is of another kind, or its class computes something else.
    """
    graph = None
    if isinstance(model, keras.Model) and getattr(model, "inputs", None):
        graph = keras.Model(model.inputs, model.outputs, name=model.name)
    if graph is None or type(model).call not in (
        type(graph).call,
        keras.Sequential.call,
    ):
        name = path or getattr(model, "name", None)
        raise ValueError(
            "expected a Sequential or functional model that is built; received "
            f"{type(model).__name__}{f' {name!r}' if name else ''}"
        )
    return graph


def walk(graph: keras.Function, inputs: Sequence, call: Callable) -> list:
    """Call `call(operation, *args, **kwargs)` for each operation, in order.

    Args:
        graph: A functional model, or another graph of operations.
        inputs: What stands for each input.
        call: Takes an operation, a layer or one of `keras.ops`, with the arguments that
            it has in the graph, masks included, but with what stands for a tensor in
            its place. Returns what stands for each of its outputs.

    Returns:
        What stands for each output.
    """
    return keras.tree.flatten(graph._run_through_graph(list(inputs), call_fn=call))


def input_names(graph: keras.Model) -> list[str]:
    """Return the names of a functional model's inputs, those of their layers."""
    names = {
        id(layer.output): layer.name
        for layer in graph.layers
        if isinstance(layer, keras.layers.InputLayer)
    }
    return [names[id(one)] for one in graph.inputs]


def output_names(model: keras.Model) -> list[str]:
    """Return a name for each of a model's outputs: its key, or that of its layer."""
    outputs = getattr(model, "output", None)  # a Sequential model may have none
    if isinstance(outputs, dict):
        return sorted(outputs)
    return list(functional(model).output_names)


def distinct(names: Iterable[str]) -> list[str]:
    """Return the names, with numbers behind those that have occurred before."""
    found: dict[str, None] = {}
    for name in names:
        new, number = name, 1
        while new in found:
            new, number = f"{name}_{number}", number + 1
        found[new] = None
    return list(found)
