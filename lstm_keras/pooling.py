"""Layers that make one vector of a recurrent layer's outputs, to classify texts."""

from typing import Any

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="lstm_keras")
class InputOrder(layers.Layer):
    """Puts outputs of a layer with `go_backwards` into the order of its inputs.

    The mask remains as it is, since Keras does not reverse it together with the
    outputs: after this layer they fit again.

    Input and output: `(batch, time, …)`.
    """

    def __init__(self, **about: Any):
        super().__init__(**about)
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        """Return the steps in reverse order."""
        return ops.flip(inputs, axis=1)


@keras.saving.register_keras_serializable(package="lstm_keras")
class MaskedMaxPooling1D(layers.Layer):
    """The maximum over the unmasked steps, which Keras's layer takes over all steps.

    Input: `(batch, time, features)`. Output: `(batch, features)`; 0 for a row without
    an unmasked step, of which `keras.layers.GlobalAveragePooling1D` gives NaN.
    """

    def __init__(self, **about: Any):
        super().__init__(**about)
        self.supports_masking = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Return the maxima; `mask` is bool `(batch, time)`, False at padding."""
        if mask is None:
            return ops.max(inputs, axis=1)
        mask = ops.cast(mask, "bool")[:, :, None]
        lowest = ops.cast(-1e30 if inputs.dtype != "float16" else -6e4, inputs.dtype)
        found = ops.max(ops.where(mask, inputs, lowest), axis=1)
        return ops.where(ops.any(mask, axis=1), found, ops.zeros_like(found))

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """Return None: the steps are gone."""

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Return `(batch, features)`."""
        return (input_shape[0], input_shape[2])
