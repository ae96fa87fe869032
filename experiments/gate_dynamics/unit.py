"""One unit of an LSTM, step by step: the equations as numbers."""

import numpy as np

import lstm_keras
from experiments.gate_dynamics.metrics import UnitStep
from lstm_keras.interpret import LayerTrace

# Different weights for each gate, packed along the last axis as i, f, g, o.
KERNEL = (0.8, 0.4, 1.2, 0.6)
RECURRENT_KERNEL = (0.5, 0.3, 0.7, 0.9)
BIAS = (0.0, 1.0, 0.0, 0.0)

QUANTITIES = ("i", "f", "g", "o", "c", "h")


def one_unit(values: list[float]) -> LayerTrace:
    """Return the trace of an LSTM of one unit with the weights above."""
    layer = lstm_keras.LSTM(1, name="unit")
    layer.build((1, len(values), 1))
    layer.set_weights(
        [np.array([KERNEL]), np.array([RECURRENT_KERNEL]), np.array(BIAS)]
    )
    inputs = np.reshape(values, (1, len(values), 1)).astype("float32")
    return lstm_keras.trace_gates(layer, inputs)[0]


def steps(trace: LayerTrace, values: list[float]) -> list[UnitStep]:
    """Return the numbers of each step."""
    return [
        UnitStep(
            step=t + 1,
            x=value,
            **{name: float(getattr(trace, name)[0, t, 0]) for name in QUANTITIES},
        )
        for t, value in enumerate(values)
    ]
