"""Exchange the LSTM layers of a model between Keras's class and ours."""

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

# What Keras raises for objects that it can't copy; OSError for a lambda without source.
_NO_COPY = (NotImplementedError, OSError, TypeError, ValueError)


def to_custom(model: keras.Layer) -> keras.Layer:
    """Return a copy of a model in which Keras's LSTM layers and cells are ours.

    Everything else is preserved: structure, names, weights and outputs; what is
    trainable; the states of stateful layers; the random states of dropout, so that
    training drops the same units. The copy is compiled like the model, with a new
    optimizer, or a warning says why it is not.

    The copy is created from the configuration, as Keras loads a model from a file, but
    the classes of layers and functions that are arguments of layers, lambdas included,
    are taken from the model itself: no code is loaded, so Keras's safe mode stays on.
    Your own initializers and other objects must be registered with Keras, or be in a
    `keras.saving.custom_object_scope` around the call. So must a function that is the
    `output_shape` of a Lambda layer, which cannot be a lambda.

    Args:
        model: A model, or a single layer or cell; built or not. It is not changed. Its
            layers that are ours already are copied.

    Returns:
        A new model (or layer, or cell).

    Raises:
        ValueError: It contains no LSTM; an LSTM is of a subclass, which may compute
            anything; or the configuration does not describe the whole model, as when a
            class creates its LSTM itself, two models inside it share a layer, or Keras
            can't serialize what a lambda refers to.
    """
    return _exchanged(model, _TO_CUSTOM)


def to_builtin(model: keras.Layer) -> keras.Layer:
    """Return a copy of a model in which our LSTM layers and cells are Keras's.

    It is the inverse of `to_custom`. The argument `engine`, which Keras's layer lacks
    and no result depends on, is dropped.

    Args:
        model: A model, or a single layer or cell; built or not. It is not changed. Its
            layers that are Keras's already are copied.

    Returns:
        A new model (or layer, or cell).

    Raises:
        ValueError: As in `to_custom`; or a layer uses `learn_initial_state` or
            `return_cell_states`, which Keras's does not have.
    """
    return _exchanged(model, _TO_BUILTIN)


def _exchanged(model, classes):
    """Return a copy in which layers of the keys of `classes` are of the values."""
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
    """Return path and layer of the model and all layers in it, cells included.

    Each comes once. Paths may repeat: only models ensure distinct names.
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
    custom_classes = {
        keras.saving.get_registered_name(cls): cls
        for _, cls in _classes(layers)
        if not _is_from_keras(cls)
    }
    try:
        # Not the serialized model, which would include how it is compiled.
        config = {
            **_naming(type(model)),
            "config": keras.saving.serialize_keras_object(model.get_config()),
            "build_config": model.get_build_config(),
        }
        rewriter = _ConfigRewriter(layers, classes)
        config = rewriter.rewritten(config)
        # Not in a custom_object_scope, which would hide those around it.
        return keras.saving.deserialize_keras_object(
            config, custom_objects=custom_classes | rewriter.functions
        )
    except _NO_COPY as error:
        raise ValueError(
            "expected a model that can be rebuilt from its configuration; received "
            f"{model.name!r}; Keras says: {_reason(error)}"
        ) from error


def _is_from_keras(class_or_function):
    module = getattr(class_or_function, "__module__", None) or ""
    return module.split(".")[0] == "keras"


def _reason(error):
    # Keras may print a whole configuration before the reason.
    return textwrap.shorten(str(error).rpartition("Exception encountered: ")[2], 300)


def _naming(layer_class):
    """Return the entries that name a class in a configuration."""
    builtin = layer_class in _TO_CUSTOM
    return {
        "module": "keras.layers" if builtin else layer_class.__module__,
        "class_name": layer_class.__name__,
        "registered_name": (
            None if builtin else keras.saving.get_registered_name(layer_class)
        ),
    }


class _ConfigRewriter:
    """Turns the configuration of the old model into that of the new one.

    Attributes:
        functions: The functions, except Keras's own, that are arguments of layers, by
            their names in the new configuration. Keras would look them up by their own
            names, and recreate lambdas without their globals.
    """

    def __init__(self, layers, classes):
        self.functions = {}
        counts = collections.Counter(path for path, _ in layers)
        self._layers = {path: layer for path, layer in layers if counts[path] == 1}
        self._classes = classes

    def rewritten(self, config, path=""):
        """Return a copy with the classes exchanged at any depth.

        Args:
            config: A result of `keras.saving.serialize_keras_object`, or a part of one.
            path: The path of the layer that it configures.
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
            if _is_custom_function(value, layer, written):
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
                config["config"].pop("engine", None)  # only our layer has it
                return


def _is_custom_function(value, layer, written):
    """Whether a layer's argument, serialized as `written`, is a user's function."""
    return (
        callable(value)
        and not isinstance(value, type)
        and not hasattr(value, "get_config")
        and not _is_from_keras(value)
        # Not a method with the name of an argument.
        and getattr(value, "__self__", None) is not layer
        # A function that has the name of one of Keras's is serialized as its name.
        and (isinstance(written, dict) or written == getattr(value, "__name__", None))
    )


def _check_layers(model, layers, copied_layers, classes):
    copied = _classes(copied_layers)
    left = [(path, cls) for path, cls in copied if cls in classes]
    if left:
        raise ValueError(
            "expected a configuration that holds every LSTM; received "
            f"{model.name!r}, in which a class creates it itself: {_listed(left)}"
        )
    expected = [(path, classes.get(cls, cls)) for path, cls in _classes(layers)]
    # Not the paths, since layers created by others may get new names.
    if [cls for _, cls in copied] != [cls for _, cls in expected]:
        raise ValueError(
            "expected a configuration that describes every layer, and none that two "
            f"models inside the model share; received {model.name!r}, rebuilt with "
            f"{_listed(one for one in copied if one not in expected)} in place of "
            f"{_listed(one for one in expected if one not in copied)}"
        )


def _check_weights(model, copy):
    count, copied_count = len(model.weights), len(copy.weights)
    if copied_count != count:
        raise ValueError(
            "expected a configuration that says how to build the model; received "
            f"{model.name!r} with {count} weights, rebuilt with {copied_count}"
        )


def _check_dtypes(layers, copied_layers):
    for (path, old), (_, new) in zip(layers, copied_layers, strict=True):
        if new.compute_dtype != old.compute_dtype:
            raise ValueError(
                "expected a dtype policy that holds wherever a layer is built (a "
                f"DTypePolicyMap uses paths); received {path}, which computes in "
                f"{old.compute_dtype}, rebuilt to compute in {new.compute_dtype}"
            )


def _copy_own_state(old, new):
    """Copy a layer's own state, besides its configuration.

    The saving methods cover more than weights: a vocabulary, or what Normalization
    derives from its weights.
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
            new.use_cudnn = old.use_cudnn  # Keras's get_config omits it
        states = [keras.tree.flatten(layer.states or []) for layer in (old, new)]
        for old_state, new_state in zip(*states, strict=True):
            new_state.assign(_array(old_state))
    # This also sets the layers inside, which are copied later.
    if new.trainable != old.trainable:
        new.trainable = old.trainable


def _copy_variables(model, copy):
    """Copy the weights, whether each is trainable, and the random states."""
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
    # On JAX two variables would share an array, which `fit` deletes at its end.
    return ops.convert_to_numpy(variable)


def _compile_like(old, new):
    """Compile with the same settings, unless Keras can't copy an object in them."""
    try:
        config = old.get_compile_config()
        if config:
            new.compile_from_config(config)
    except _NO_COPY as error:
        warnings.warn(
            f"the copy of {old.name!r} is not compiled: {_reason(error)}", stacklevel=4
        )
