"""Exchange the LSTM layers of a model: Keras's own for ours, ours for Keras's."""

import collections
import tempfile
import textwrap
import warnings

import keras
from keras import ops

from lstm_keras.cell import LSTMCell
from lstm_keras.layer import LSTM, NOT_IN_KERAS

_TO_CUSTOM = {keras.layers.LSTM: LSTM, keras.layers.LSTMCell: LSTMCell}
_TO_BUILTIN = {ours: builtin for builtin, ours in _TO_CUSTOM.items()}

# What Keras raises of an object that it can't copy; OSError: a lambda without source.
_NO_COPY = (NotImplementedError, OSError, TypeError, ValueError)


def to_custom(model: keras.Layer) -> keras.Layer:
    """Return a copy of a model in which Keras's LSTM layers and cells are ours.

    Everything else is as it was: structure, names, weights and outputs; what is
    trainable; the states of stateful layers; the random states of dropout, so that
    training drops what the given model would drop. The copy is compiled as the given
    model is, with a new optimizer, or a warning says why it is not.

    The copy is made from the configuration, as Keras makes a model from a file. But the
    classes of layers, and functions that are arguments of layers, are taken from the
    model itself, lambdas too: no code is loaded, so Keras's safe mode stays on.
    Initializers and other objects of your own must be registered with Keras, or known
    by a `keras.saving.custom_object_scope` around the call. So must the function that
    is an `output_shape` of a Lambda layer; a lambda as such is an error.

    Args:
        model: A model, or a single layer or cell; built or not. It is not changed.
            Layers of it that are ours already stay so.

    Returns:
        A new model (or layer, or cell).

    Raises:
        ValueError: There is no LSTM in it; an LSTM is of a subclass, which may compute
            anything; or the configuration does not describe the whole model, as when a
            class makes its LSTM itself, two models inside of it share a layer, or Keras
            can't write down what a lambda refers to.
    """
    return _exchanged(model, _TO_CUSTOM)


def to_builtin(model: keras.Layer) -> keras.Layer:
    """Return a copy of a model in which our LSTM layers and cells are Keras's.

    As `to_custom`, the other way. The argument `engine`, which Keras's layer doesn't
    have and no result depends on, is dropped.

    Args:
        model: A model, or a single layer or cell; built or not. It is not changed.
            Layers of it that are Keras's already stay so.

    Returns:
        A new model (or layer, or cell).

    Raises:
        ValueError: As in `to_custom`; or a layer uses `learn_initial_state` or
            `return_cell_states`, which Keras's does not have.
    """
    return _exchanged(model, _TO_BUILTIN)


def _exchanged(model, classes):
    """Return a copy with the values of `classes` in place of its keys."""
    if not isinstance(model, keras.Layer):
        raise ValueError(
            f"expected a Keras model or layer; received {type(model).__name__}"
        )
    layers = _layers(model)
    _check_lstms(model, layers, classes)
    _check_options(layers, classes)
    copy = _rebuilt(model, layers, classes)
    copied_layers = _layers(copy)
    _check_layers(model, layers, copied_layers, classes)
    _check_weights(model, copy)
    _check_dtypes(layers, copied_layers)
    pairs = list(zip(layers, copied_layers, strict=True))
    for (_, old), (_, new) in pairs:
        _copy_own_state(old, new)
    _copy_variables(model, copy)
    for (_, old), (_, new) in pairs:
        if isinstance(old, keras.Model) and old.compiled:
            _compile_like(old, new)
    return copy


def _layers(model):
    """Return path and layer of the model and all layers inside of it, cells included.

    Each comes once. Only models make sure that the names inside of them differ.
    """
    found = []
    seen = set()

    def visit(layer, path):
        if id(layer) not in seen:
            seen.add(id(layer))
            found.append((path, layer))
            for child in _children(layer):
                visit(child, f"{path}/{child.name}")

    visit(model, model.name)
    return found


def _children(layer):
    if isinstance(layer, keras.Sequential):
        return layer.layers
    values = keras.tree.flatten(list(vars(layer).values()))
    return [value for value in values if isinstance(value, keras.Layer)]


def _classes(layers):
    return [(path, type(layer)) for path, layer in layers]


def _listed(paths_and_classes):
    listed = (f"{path} ({cls.__name__})" for path, cls in paths_and_classes)
    return ", ".join(listed) or "nothing"


def _check_lstms(model, layers, classes):
    lstm_classes = (*_TO_CUSTOM, *_TO_BUILTIN)
    if not any(isinstance(layer, lstm_classes) for _, layer in layers):
        raise ValueError(
            f"expected a model with an LSTM; received {model.name!r} with the layers "
            f"{_listed(_classes(layers))}"
        )
    subclasses = [
        (path, cls)
        for path, cls in _classes(layers)
        if issubclass(cls, tuple(classes)) and cls not in classes
    ]
    if subclasses:
        raise ValueError(
            "expected every LSTM to be of the exchanged class itself; received "
            f"subclasses, which may compute anything: {_listed(subclasses)}"
        )


def _check_options(layers, classes):
    used = [
        f"{path} ({option}=True)"
        for path, layer in layers
        if type(layer) is LSTM and LSTM in classes
        for option in sorted({*NOT_IN_KERAS} - {"engine"})
        if getattr(layer, option)
    ]
    if used:
        raise ValueError(
            "expected only options that keras.layers.LSTM has, too; received "
            f"{', '.join(used)}"
        )


def _rebuilt(model, layers, classes):
    """Return the exchanged model, with initial weights."""
    masking = [
        (path, layer)
        for path, layer in layers
        if isinstance(layer, keras.layers.Lambda) and layer.mask is not None
    ]
    if masking:
        raise ValueError(
            "expected no Lambda layer with an argument mask, which Keras writes into "
            "the configuration but does not read; received "
            f"{_listed(_classes(masking))}"
        )
    classes_of_ones_own = {
        keras.saving.get_registered_name(cls): cls
        for _, cls in _classes(layers)
        if not _is_from_keras(cls)
    }
    try:
        # Not the serialized model, which would hold how it is compiled, too.
        config = {
            **_naming(type(model)),
            "config": keras.saving.serialize_keras_object(model.get_config()),
            "build_config": model.get_build_config(),
        }
        rewriting = _Rewriting(layers, classes)
        config = rewriting.rewritten(config)
        # Not in a custom_object_scope, which would hide those around it.
        return keras.saving.deserialize_keras_object(
            config, custom_objects=classes_of_ones_own | rewriting.functions
        )
    except _NO_COPY as error:
        raise ValueError(
            "expected a model that can be rebuilt from its configuration; received "
            f"{model.name!r}, of which Keras says: {_reason(error)}"
        ) from error


def _is_from_keras(class_or_function):
    module = getattr(class_or_function, "__module__", None) or ""
    return module.split(".")[0] == "keras"


def _reason(error):
    # Keras may put a whole configuration before the reason.
    return textwrap.shorten(str(error).rpartition("Exception encountered: ")[2], 300)


def _naming(layer_class):
    """How a configuration names a class."""
    builtin = layer_class in _TO_CUSTOM
    return {
        "module": "keras.layers" if builtin else layer_class.__module__,
        "class_name": layer_class.__name__,
        "registered_name": (
            None if builtin else keras.saving.get_registered_name(layer_class)
        ),
    }


class _Rewriting:
    """Makes the configuration of the new model from that of the old one.

    Attributes:
        functions: The functions, all but Keras's own, that layers have as arguments, by
            the names that the new configuration has for them. Keras would look for them
            by their own names, and make lambdas anew without their globals.
    """

    def __init__(self, layers, classes):
        self.functions = {}
        counts = collections.Counter(path for path, _ in layers)
        self._layers = {path: layer for path, layer in layers if counts[path] == 1}
        self._classes = classes

    def rewritten(self, config, path=""):
        """Return a copy with the classes exchanged at any depth.

        Args:
            config: What `keras.saving.serialize_keras_object` gives, or a part.
            path: The path of the layer whose configuration this is part of.
        """
        if isinstance(config, list | tuple):
            return type(config)(self.rewritten(part, path) for part in config)
        if not isinstance(config, dict):
            return config
        is_object = "class_name" in config and isinstance(config.get("config"), dict)
        has_name = is_object and "name" in config["config"]
        if has_name:
            name = config["config"]["name"]
            path = f"{path}/{name}" if path else name
        config = {key: self.rewritten(part, path) for key, part in config.items()}
        if has_name:
            self._name_functions(config["config"], path)
        if is_object:
            config.pop("compile_config", None)  # see _compile_like
            self._exchange(config)
        return config

    def _name_functions(self, arguments, path):
        layer = self._layers.get(path)
        for argument, written in arguments.items():
            value = getattr(layer, argument, None)
            if _is_function_of_ones_own(value, layer, written):
                name = f"{path}>{argument}"
                self.functions[name] = value
                arguments[argument] = {
                    "module": "builtins",
                    "class_name": "function",
                    "config": name,
                    "registered_name": name,
                }

    def _exchange(self, config):
        for old, new in self._classes.items():
            if _naming(old).items() <= config.items():
                config.update(_naming(new))
                config["config"].pop("engine", None)  # only ours has it
                return


def _is_function_of_ones_own(value, layer, written):
    """Whether an argument of a layer, written so, is a function and not Keras's."""
    return (
        callable(value)
        and not isinstance(value, type)
        and not hasattr(value, "get_config")
        and not _is_from_keras(value)
        # Nor a method that has the name of an argument.
        and getattr(value, "__self__", None) is not layer
        # Of a function that is named as one of Keras's there is no more than the name.
        and (isinstance(written, dict) or written == getattr(value, "__name__", None))
    )


def _check_layers(model, layers, copied_layers, classes):
    copied = _classes(copied_layers)
    left = [(path, cls) for path, cls in copied if cls in classes]
    if left:
        raise ValueError(
            "expected a configuration that holds every LSTM; received "
            f"{model.name!r}, in which a class makes it itself: {_listed(left)}"
        )
    expected = [(path, classes.get(cls, cls)) for path, cls in _classes(layers)]
    # Not the paths, since layers that others make may get new names.
    if [cls for _, cls in copied] != [cls for _, cls in expected]:
        raise ValueError(
            "expected a configuration that describes every layer, and none that two "
            f"models inside of the model share; received {model.name!r}, rebuilt with "
            f"{_listed(one for one in copied if one not in expected)} in place of "
            f"{_listed(one for one in expected if one not in copied)}"
        )


def _check_weights(model, copy):
    count, copied_count = len(model.weights), len(copy.weights)
    if copied_count != count:
        raise ValueError(
            "expected a configuration that tells how to build the model; received "
            f"{model.name!r} with {count} weights, rebuilt with {copied_count}"
        )


def _check_dtypes(layers, copied_layers):
    for (path, old), (_, new) in zip(layers, copied_layers, strict=True):
        if new.compute_dtype != old.compute_dtype:
            raise ValueError(
                "expected a dtype policy that holds wherever a layer is built (a "
                f"DTypePolicyMap goes by paths); received {path}, which computes in "
                f"{old.compute_dtype}, rebuilt to compute in {new.compute_dtype}"
            )


def _copy_own_state(old, new):
    """Copy what a layer has itself, besides its configuration.

    The saving methods know of more than weights: a vocabulary, or what Normalization
    makes of its weights.
    """
    store = {}
    old.save_own_variables(store)
    new.load_own_variables({key: _array(value) for key, value in store.items()})
    if hasattr(old, "save_assets"):
        with tempfile.TemporaryDirectory() as folder:
            old.save_assets(folder)
            new.load_assets(folder)
    if isinstance(old, keras.layers.RNN):
        if hasattr(old, "use_cudnn"):
            new.use_cudnn = old.use_cudnn  # left out by get_config of Keras's layers
        states = [keras.tree.flatten(layer.states or []) for layer in (old, new)]
        for old_state, new_state in zip(*states, strict=True):
            new_state.assign(_array(old_state))
    # This sets the layers inside as well, and their turn comes later.
    if new.trainable != old.trainable:
        new.trainable = old.trainable


def _copy_variables(model, copy):
    """Copy the weights as they are, which are trainable, and the random states."""
    copy.set_weights(model.get_weights())
    for old, new in zip(model.weights, copy.weights, strict=True):
        if new.trainable != old.trainable:
            new.trainable = old.trainable
    random_states = [
        [v for v in layer.variables if v.name == "seed_generator_state"]
        for layer in (model, copy)
    ]
    for old, new in zip(*random_states, strict=True):
        new.assign(_array(old))


def _array(variable):
    # On JAX two variables would have one array, which `fit` deletes when it is done.
    return ops.convert_to_numpy(variable)


def _compile_like(old, new):
    """Compile with the same settings, which may hold objects that Keras can't copy."""
    try:
        config = old.get_compile_config()
        if config:
            new.compile_from_config(config)
    except _NO_COPY as error:
        warnings.warn(
            f"the copy of {old.name!r} is not compiled: {_reason(error)}", stacklevel=4
        )
