"""One unit of an LSTM, step by step: the equations as numbers."""

import math

# Small weights of different sizes, so that the four parts can be told apart. The last
# axis packs i, f, g, o.
KERNEL = (0.8, 0.4, 1.2, 0.6)
RECURRENT_KERNEL = (0.5, 0.3, 0.7, 0.9)
BIAS = (0.0, 1.0, 0.0, 0.0)

QUANTITIES = ("i", "f", "g", "o", "c", "h")


def read_values(text: str) -> list[float]:
    """Return the inputs from the command line.

    Raises:
        ValueError: They are not numbers between commas.
    """
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if not values or not all(map(math.isfinite, values)):
        raise ValueError(
            f"expected --values as numbers between commas; received {text!r}"
        )
    return values


def one_unit(values: list[float]):
    """Return the trace of an `lstm_keras.LSTM` of one unit with the weights above."""
    import numpy as np

    import lstm_keras

    layer = lstm_keras.LSTM(1, name="unit")
    layer.build((1, len(values), 1))
    layer.set_weights(
        [np.array([KERNEL]), np.array([RECURRENT_KERNEL]), np.array(BIAS)]
    )
    inputs = np.reshape(values, (1, len(values), 1)).astype("float32")
    return lstm_keras.trace_gates(layer, inputs)[0]


def rows(trace, values: list[float]) -> list[dict]:
    """Return a row for each step: its number, the input, gates and states."""
    return [
        {
            "step": t + 1,
            "x": value,
            **{name: float(getattr(trace, name)[0, t, 0]) for name in QUANTITIES},
        }
        for t, value in enumerate(values)
    ]
