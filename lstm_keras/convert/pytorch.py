"""Convert the weights of `torch.nn.LSTM` to Keras and back."""

import re
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from lstm_keras.layer import LSTM, RNN

_KEY = re.compile(
    r"(?P<kind>weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)"
    r"(?:_l(?P<number>\d+)(?P<reverse>_reverse)?)?"
)
_DIRECTIONS = ("", "_reverse")
_OTHERS = {3: "GRU", 1: "RNN"}  # torch.nn's other recurrent layers, by parts of z


def from_torch(module: Any, prefix: str = "") -> keras.Sequential:
    """Create a model that computes what a `torch.nn.LSTM` or `LSTMCell` computes.

    Torch packs the four parts of `z` in the order of `LSTMCell`, `i, f, g, o`, but with
    the kernels transposed, and with two biases, which are added.

    Args:
        module: The torch module or its `state_dict()`, of tensors or of NumPy arrays;
            for these torch need not be installed.
        prefix: The prefix of the LSTM's keys in the state dict of a larger module, for
            instance `"lstm."`; other keys are ignored.

    Returns:
        A built model with a layer for each layer of the torch module, an
        `lstm_keras.LSTM` or a `keras.layers.Bidirectional` of one; for a
        `torch.nn.LSTMCell` one LSTM, which applies it to every step. It maps
        `(batch, time, features)` to `(batch, time, units)`, or to
        `(batch, time, 2 * units)` with two directions, as the torch module does in
        evaluation with `batch_first=True`. With `proj_size` the layers are
        `lstm_keras.RNN` around a `ProjectedLSTMCell`, and `units` is that size here.
        (`batch_first=False` changes only the order of the axes, `(time, batch, ...)`,
        not the weights.)

    Raises:
        ValueError: It is not the state dict of a `torch.nn.LSTM` or `LSTMCell`: keys
            are missing or unknown, or a shape is wrong, as a GRU's is.
    """
    state_dict = _state_dict(module)
    suffixes, use_bias = _check_keys(state_dict, prefix)
    arrays = {
        key.removeprefix(prefix): _array(value)
        for key, value in state_dict.items()
        if key.startswith(prefix)
    }
    units, projection, features = _check_shapes(arrays, suffixes, prefix)
    model = keras.Sequential([keras.Input((None, features))])
    for number, directions in enumerate(suffixes):
        name = f"lstm_l{number}"
        layer: RNN
        if projection is None:
            layer = LSTM(units, return_sequences=True, use_bias=use_bias, name=name)
        else:
            cell = _projected_cell()(units, projection, use_bias=use_bias)
            layer = RNN(cell, return_sequences=True, name=name)
        if len(directions) == 2:
            layer = keras.layers.Bidirectional(layer, name=f"bidirectional_l{number}")
        model.add(layer)
        for one, suffix in zip(_directions(layer), directions, strict=True):
            one.set_weights(_keras_weights(arrays, suffix))
    return model


def to_torch(layer: keras.Layer) -> dict:
    """Return the weights of an LSTM as a state dict of `torch.nn.LSTM`.

    Load them into a module of the same size, for instance
    `torch.nn.LSTM(features, units, num_layers, bias=use_bias, batch_first=True,
    bidirectional=True).load_state_dict(...)`. The bias goes to `bias_ih`, and `bias_hh`
    is zero. Only weights are converted, not dropout, masks, `stateful` and the choice
    of outputs: torch always returns every `h` and the last `h` and `c`, and cannot
    return every `c` (`return_cell_states`).

    Args:
        layer: A built LSTM, ours or Keras's, or a recurrent layer around a
            `ProjectedLSTMCell`; a `keras.layers.Bidirectional` of one; or
            a `keras.Sequential` of such layers, one for each layer of the torch module.

    Returns:
        A state dict of torch tensors on the CPU.

    Raises:
        ValueError: It is not such a layer, not built, or not supported by
            `torch.nn.LSTM`: activations other than tanh and sigmoid, `go_backwards`, a
            `merge_mode` other than "concat", `learn_initial_state`, or layers or
            directions that differ in `units`, `use_bias` or number of directions.
        ImportError: torch is not installed.
    """
    if not isinstance(layer, keras.Layer):
        raise ValueError(f"expected a Keras layer; received {type(layer).__name__}")
    layers = layer.layers if isinstance(layer, keras.Sequential) else [layer]
    if not layers:
        raise ValueError(f"expected a model with layers; received {layer.name!r}")
    for one in layers:
        _check_layer(one)
    _check_equal_options(layers)
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            "to_torch needs torch, which is not installed: pip install torch"
        ) from error
    return {
        # `tensor` copies, so that the layer and the module share no memory.
        f"{kind}_l{number}{direction}": torch.tensor(array)
        for number, one in enumerate(layers)
        for lstm, direction in zip(_directions(one), _DIRECTIONS, strict=False)
        for kind, array in _torch_arrays(lstm).items()
    }


def _state_dict(module):
    state_dict = module.state_dict() if hasattr(module, "state_dict") else module
    if not (
        isinstance(state_dict, Mapping)
        and all(isinstance(key, str) for key in state_dict)
    ):
        raise ValueError(
            "expected a torch module or its state dict, arrays by name, which "
            f"state_dict() returns; received {type(module).__name__}"
        )
    return state_dict


def _check_keys(state_dict, prefix):
    """Return each layer's suffixes, one per direction, and whether there is a bias."""
    keys = {key.removeprefix(prefix) for key in state_dict if key.startswith(prefix)}
    found = [match for match in map(_KEY.fullmatch, keys) if match]
    projected = any(match["kind"] == "weight_hr" for match in found)
    use_bias = any(match["kind"].startswith("bias") for match in found)
    kinds = ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if use_bias else ()))
    kinds += ("weight_hr",) if projected else ()
    directions = _DIRECTIONS if any(m["reverse"] for m in found) else _DIRECTIONS[:1]
    count = len({match["number"] for match in found}) or 1
    suffixes = [[f"_l{number}{d}" for d in directions] for number in range(count)]
    if found and all(match["number"] is None for match in found):
        suffixes = [[""]]  # of an LSTMCell
    expected = {
        f"{kind}{suffix}" for layer in suffixes for suffix in layer for kind in kinds
    }
    if keys != expected:
        ends = re.compile(r"(.*)weight_ih(_l0)?")
        prefixes = [match[1] for match in map(ends.fullmatch, state_dict) if match]
        raise ValueError(
            "expected the keys of a torch.nn.LSTM or LSTMCell after the prefix "
            f"{prefix!r}; received a state dict without {_some(expected - keys)} and "
            f"with {_some(keys - expected)} (its recurrent layers have the prefixes "
            f"{prefixes})"
        )
    return suffixes, use_bias


def _some(keys):
    shown = sorted(keys)[:4]
    return f"{shown} and {len(keys) - 4} more" if len(keys) > 4 else f"{shown}"


def _array(value):
    # NumPy has no bfloat16, so a tensor is converted before it becomes an array.
    if hasattr(value, "detach"):
        value = value.detach().cpu().double().numpy()
    return np.asarray(value, dtype="float64")


def _check_shapes(arrays, suffixes, prefix):
    """Return the units, the size of the projection or None, and the features."""
    names = [f"{kind}{suffixes[0][0]}" for kind in ("weight_ih", "weight_hh")]
    first = [arrays[name] for name in names]
    if any(array.ndim != 2 for array in first):
        raise ValueError(
            f"expected {prefix}{names[0]} and {prefix}{names[1]} to have two "
            f"dimensions; received shapes {[array.shape for array in first]}"
        )
    features, hidden = (array.shape[1] for array in first)
    units = hidden
    projected = arrays.get(f"weight_hr{suffixes[0][0]}")
    if projected is not None:
        units = first[1].shape[0] // 4
    for parts, name in _OTHERS.items():
        if all(array.shape[0] == parts * units for array in first):
            raise ValueError(
                f"expected an LSTM, whose {prefix}{names[1]} is (4 * units, units); "
                f"received one of shape {first[1].shape} = ({parts} * units, units), "
                f"which is that of a torch.nn.{name}"
            )
    for number, directions in enumerate(suffixes):
        inputs = features if number == 0 else len(directions) * hidden
        columns = {"weight_ih": (inputs,), "weight_hh": (hidden,)}
        for suffix in directions:
            _check_shapes_of(arrays, suffix, units, columns, prefix)
            key = f"weight_hr{suffix}"
            if key in arrays and arrays[key].shape != (hidden, units):
                raise ValueError(
                    f"expected {prefix}{key} to be of shape {(hidden, units)} = "
                    f"(proj_size, units); received {arrays[key].shape}"
                )
    return units, None if projected is None else hidden, features


def _check_shapes_of(arrays, suffix, units, columns, prefix):
    for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        key, shape = f"{kind}{suffix}", (4 * units, *columns.get(kind, ()))
        if key in arrays and arrays[key].shape != shape:
            raise ValueError(
                f"expected {prefix}{key} to be of shape {shape} = (4 * units, …), with "
                f"units from weight_hh of the first layer; received {arrays[key].shape}"
            )


def _keras_weights(arrays, suffix):
    weights = [arrays[f"weight_ih{suffix}"].T, arrays[f"weight_hh{suffix}"].T]
    if f"bias_ih{suffix}" in arrays:
        weights.append(arrays[f"bias_ih{suffix}"] + arrays[f"bias_hh{suffix}"])
    if f"weight_hr{suffix}" in arrays:
        weights.append(arrays[f"weight_hr{suffix}"].T)
    return weights


def _projected_cell():
    # Not at the top: only those who use variants load them.
    from lstm_keras.variants import ProjectedLSTMCell

    return ProjectedLSTMCell


def _is_projected(layer):
    return isinstance(layer, keras.layers.RNN) and (
        type(layer.cell) is _projected_cell()
    )


def _directions(layer):
    """Return the LSTM, or the two of a `Bidirectional`."""
    if isinstance(layer, keras.layers.Bidirectional):
        return [layer.forward_layer, layer.backward_layer]
    return [layer]


def _check_layer(layer):
    """Check that torch supports a layer."""
    forward, *backward = _directions(layer)
    for lstm in (forward, *backward):
        # A subclass may compute anything.
        if type(lstm) not in (LSTM, keras.layers.LSTM) and not _is_projected(lstm):
            raise ValueError(
                "expected an LSTM, a Bidirectional of one or a Sequential of these; "
                f"received {lstm.name!r}, a {type(lstm).__name__}"
            )
        if not lstm.built:
            raise ValueError(f"expected a built layer; received {lstm.name!r}")
        if getattr(lstm, "learn_initial_state", False):
            raise ValueError(
                "expected learn_initial_state=False, since a torch.nn.LSTM has no "
                f"weights for it; received {lstm.name!r} with True. Convert a layer "
                "without it that has the weights layer.cell.get_weights(), and pass "
                "layer.initial_h and layer.initial_c as hx in each call of torch's "
                "module"
            )
        activations = [lstm.cell.activation, lstm.cell.recurrent_activation]
        if activations != [keras.activations.tanh, keras.activations.sigmoid]:
            raise ValueError(
                "expected activation 'tanh' and recurrent_activation 'sigmoid', the "
                f"only ones in torch; received {activations} in {lstm.name!r}"
            )
    if forward.go_backwards:
        raise ValueError(
            "expected an LSTM that goes forwards, or forwards first; received "
            f"{forward.name!r} with go_backwards=True"
        )
    if backward and layer.merge_mode != "concat":
        raise ValueError(
            "expected merge_mode 'concat', the only one in torch; received "
            f"{layer.merge_mode!r} in {layer.name!r}"
        )


def _check_equal_options(layers):
    """Check that all layers and directions have the same options."""
    options = [
        (
            lstm.name,
            {
                "units": lstm.cell.units,
                "use_bias": lstm.cell.use_bias,
                "proj_size": getattr(lstm.cell, "projection", 0),
                "directions": len(_directions(layer)),
            },
        )
        for layer in layers
        for lstm in _directions(layer)
    ]
    if any(option != options[0][1] for _, option in options):
        raise ValueError(
            "expected equal units, use_bias, projection and number of directions in "
            f"all layers, as in a torch.nn.LSTM; received {options}"
        )


def _torch_arrays(lstm):
    kernel, recurrent_kernel, *others = (
        # As float32, since torch can't read bfloat16 from NumPy.
        weight if weight.dtype == "float64" else weight.astype("float32")
        for weight in lstm.get_weights()
    )
    arrays = {"weight_ih": kernel.T, "weight_hh": recurrent_kernel.T}
    if lstm.cell.use_bias:
        bias = others.pop(0)
        arrays |= {"bias_ih": bias, "bias_hh": np.zeros_like(bias)}
    if others:
        arrays["weight_hr"] = others[0].T
    return arrays
