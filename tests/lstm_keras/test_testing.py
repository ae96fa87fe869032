"""`check_cell` passes a right cell; those broken on purpose fail with their message."""

import keras
import numpy as np
import pytest
from keras import ops

from lstm_keras.testing import check_cell

registered = keras.saving.register_keras_serializable(package="tests")


@registered
class Summing(keras.Layer):
    """c_t = c_{t-1} + x_t W, h_t = tanh(c_t)"""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = self.output_size = units
        self.state_size = [units, units]

    def build(self, input_shape):
        self.kernel = self.add_weight((input_shape[-1], self.units), name="kernel")

    def call(self, inputs, states, training=False):
        c = states[1] + self.read(inputs)
        h = ops.tanh(c)
        return h, [h, c]

    def read(self, inputs):
        return inputs @ self.kernel

    def get_config(self):
        return super().get_config() | {"units": self.units}


def step(x, states, weights):
    c = states[1] + x @ weights[0]
    return [np.tanh(c), c]


@registered
class WrongValue(Summing):
    def read(self, inputs):
        return 1.01 * super().read(inputs)


@registered
class WrongGradient(Summing):
    def read(self, inputs):
        return ops.stop_gradient(super().read(inputs))


@registered
class ReadsMaskedRows(Summing):
    def read(self, inputs):
        return super().read(inputs - ops.mean(inputs, axis=0))


def step_that_reads_all_rows(x, states, weights):
    return step(x - x.mean(axis=0), states, weights)


@registered
class WrongConfig(Summing):
    def __init__(self, units, **kwargs):
        super().__init__(units + 1, **kwargs)


class Unregistered(Summing):
    pass


@registered
class NotSaved(Summing):
    def save_own_variables(self, store):
        pass

    def load_own_variables(self, store):
        self.kernel.assign(0 * self.kernel)


def check(cell, by=step):
    check_cell(cell(2), by, features=2, engine="loop")


def test_a_right_cell_passes():
    check(Summing)


@pytest.mark.parametrize(
    ("cell", "by", "message"),
    [
        (WrongValue, step, r"values \(engine='loop', no mask\): array 0 differs"),
        (WrongGradient, step, r"gradients \(engine='loop'\): array 0 differs"),
        (ReadsMaskedRows, step_that_reads_all_rows, r"values \(.*, with a mask\)"),
        (WrongConfig, step, r"expected from_config\(\) to restore .*'units': 4"),
        (Unregistered, step, "decorate Unregistered with .*register_keras_serial"),
        (NotSaved, step, r"values \(saved and opened again\)"),
    ],
)
def test_a_broken_cell_fails_with_a_message_of_its_fault(cell, by, message):
    with pytest.raises(AssertionError, match=message):
        check(cell, by)
