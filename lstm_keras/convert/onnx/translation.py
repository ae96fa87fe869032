"""Translate a Keras model into an ONNX graph."""

import inspect
from collections.abc import Mapping

import keras
from keras import layers

from lstm_keras.convert.onnx import keras_graph
from lstm_keras.convert.onnx.graph import Graph, Value
from lstm_keras.convert.onnx.layers import LAYERS
from lstm_keras.convert.onnx.operations import OPERATIONS
from lstm_keras.convert.onnx.refusal import check_layer, refuse


def translated(
    model: keras.Model, inputs: Mapping[str, keras.KerasTensor]
) -> tuple[Graph, list[Value]]:
    """Return a graph that computes what a Sequential or functional model does.

    Args:
        model: The model.
        inputs: Shape and dtype of each of its inputs, by name.

    Returns:
        The graph, and the values in it that are the outputs.

    Raises:
        ValueError: ONNX cannot express it; the message names the layer.
    """
    graph = Graph()
    values = [Value(name, spec) for name, spec in inputs.items()]
    return graph, _Translator(graph).model(model, values)


class _Translator:
    """Adds what a model does to a graph, one layer after the other."""

    def __init__(self, graph):
        self.graph = graph
        self._path: list[str] = []

    def model(self, model, inputs):
        """Add a model, and return its outputs."""
        graph = keras_graph.functional(model, "/".join(self._path))
        return keras_graph.walk(graph, inputs, self._call)

    def _call(self, operation, *args, **kwargs):
        """Add an operation, and return its outputs."""
        self._path.append(operation.name)
        self.graph.path = "/".join(self._path)
        try:
            if kwargs.pop("training", None):
                refuse(self.graph, operation, "which is called with training=True")
            if isinstance(operation, keras.Model):
                return self._nested(operation, *args, **kwargs)
            if isinstance(operation, keras.Layer):
                return self._layer(operation, args, kwargs)
            return self._operation(operation, args, kwargs)
        finally:
            self._path.pop()

    def _nested(self, model, inputs, mask=None):
        inputs = keras.tree.flatten(inputs)
        masks = keras.tree.flatten(mask) if mask is not None else []
        masks += [None] * (len(inputs) - len(masks))
        return self.model(
            model,
            [
                Value(one.name, one.spec, mask or one.mask)
                for one, mask in zip(inputs, masks, strict=True)
            ],
        )

    def _layer(self, layer, args, kwargs):
        function = LAYERS.get(type(layer))
        if function is None:
            known = ", ".join(sorted(one.__name__ for one in LAYERS))
            refuse(self.graph, layer, f"which is none of {known}")
        check_layer(self.graph, layer)
        given = kwargs.pop("mask", None)
        tensors = [one for one in (*args, *kwargs.values()) if _values(one)]
        first = tensors[0]
        attached = keras.tree.map_structure(lambda one: one.mask, first)
        # Keras takes the attached mask, but not if there are other tensors.
        masks = _values(given) or (_values(attached) if len(tensors) == 1 else [])
        takes_mask = "mask" in inspect.signature(function).parameters
        mask = {"mask": masks[0]} if masks and takes_mask else {}
        names = function(self.graph, layer, *args, **kwargs, **mask)
        specs = layer.compute_output_spec(*_specs(args), **_specs(kwargs))
        before = given if _values(given) else attached
        return _outputs(names, specs, self._masks(layer, first, before, kwargs))

    def _operation(self, operation, args, kwargs):
        function = OPERATIONS.get(type(operation).__name__)
        if function is None:
            known = ", ".join(OPERATIONS)
            refuse(self.graph, operation, f"which is none of {known}")
        names = function(self.graph, operation, *args, **kwargs)
        specs = operation.compute_output_spec(*_specs(args), **_specs(kwargs))
        return _outputs(names, specs, [])

    def _masks(self, layer, inputs, masks, kwargs):
        """Return the masks that Keras would attach to a layer's outputs."""
        compute_mask = layer.compute_mask
        if isinstance(layer, layers.ReversibleEmbedding):  # whose call attaches it
            if kwargs.get("reverse"):
                return []
            compute_mask = super(layers.ReversibleEmbedding, layer).compute_mask
        makes_mask = isinstance(layer, layers.Embedding | layers.Masking)
        if not layer.supports_masking or not (makes_mask or _values(masks)):
            return []
        # What it does with Keras's symbols is done with the values.
        symbols = _Symbols()
        found = compute_mask(symbols.of(inputs), symbols.of(masks))
        return [
            None if one is None else self._computed(one, symbols)
            for one in keras.tree.flatten(found)
        ]

    def _computed(self, symbol, symbols):
        """Return the value of a symbol."""
        known = {id(one): value for one, value in symbols.pairs}
        if id(symbol) in known:
            return known[id(symbol)]
        graph = keras.Function([one for one, _ in symbols.pairs], symbol)
        return keras_graph.walk(graph, [*known.values()], self._call)[0]


class _Symbols:
    """Keras's symbolic tensors that stand for values."""

    def __init__(self):
        self._by_name: dict[str, tuple] = {}

    @property
    def pairs(self):
        return [*self._by_name.values()]

    def of(self, nested):
        """Return symbols in the place of values."""
        return keras.tree.map_structure(self._symbol, nested)

    def _symbol(self, value):
        if value is None:
            return None
        if value.name not in self._by_name:
            # A name of its own leaves alone Keras's counters, which name others.
            symbol = keras.Input(
                batch_shape=value.spec.shape,
                dtype=value.spec.dtype,
                name=f"symbol_{len(self._by_name)}",
            )
            self._by_name[value.name] = symbol, value
        return self._by_name[value.name][0]


def _values(nested) -> list[Value]:
    return [one for one in keras.tree.flatten(nested) if isinstance(one, Value)]


def _specs(nested):
    return keras.tree.map_structure(
        lambda one: one.spec if isinstance(one, Value) else one, nested
    )


def _outputs(names, specs, masks):
    """Return the outputs of an operation as values."""
    names, specs = keras.tree.flatten(names), keras.tree.flatten(specs)
    masks = [*masks, *[None] * (len(names) - len(masks))]
    return [
        Value(getattr(name, "name", name), spec, mask)
        for name, spec, mask in zip(names, specs, masks, strict=True)
    ]
