"""The cells that are compared, and their sizes."""

import bisect
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import keras

from experiments.ablation.settings import REFERENCE
from lstm_keras import LSTMCell, variants


@dataclass(frozen=True)
class Cell:
    """A cell that is compared.

    Attributes:
        title: Its name in the report.
        make: Takes the number of units, and returns it.
        multiple: Of what the units are a multiple.
    """

    title: str
    make: Callable[[int], keras.Layer]
    multiple: int = 1


def projected(units: int) -> keras.Layer:
    """Return a cell whose hidden state is half as large as its cell state."""
    return variants.ProjectedLSTMCell(units, projection=math.ceil(units / 2))


def slstm(units: int) -> keras.Layer:
    """Return an sLSTM with four heads, as in its authors' smaller models."""
    return variants.SLSTMCell(units, heads=4)


CELLS = {
    REFERENCE: Cell("LSTM", LSTMCell),
    "peephole": Cell("peepholes", variants.PeepholeLSTMCell),
    "coupled": Cell("coupled gates (i = 1 − f)", variants.CoupledLSTMCell),
    "full_gate_recurrence": Cell(
        "full gate recurrence", variants.FullGateRecurrenceLSTMCell
    ),
    "layer_norm": Cell("layer normalisation", variants.LayerNormLSTMCell),
    "projected": Cell("projected hidden state", projected),
    "zoneout": Cell("zoneout", variants.ZoneoutLSTMCell),
    "slstm": Cell("sLSTM, 4 heads", slstm, multiple=4),
    "no_input_gate": Cell("no input gate", variants.NoInputGateLSTMCell),
    "no_forget_gate": Cell("no forget gate", variants.NoForgetGateLSTMCell),
    "no_output_gate": Cell("no output gate", variants.NoOutputGateLSTMCell),
    "no_input_activation": Cell(
        "no input activation", variants.NoInputActivationLSTMCell
    ),
    "no_output_activation": Cell(
        "no output activation", variants.NoOutputActivationLSTMCell
    ),
    "gru": Cell("GRU", keras.layers.GRUCell),
    "simple_rnn": Cell("SimpleRNN", keras.layers.SimpleRNNCell),
}


@functools.lru_cache(None)
def parameters(cell: str, units: int, features: int, outputs: int) -> int:
    """Return the number of parameters of a cell and the layer of outputs after it.

    Args:
        cell: One of `CELLS`.
        units: Its units.
        features: Size of its inputs.
        outputs: Size of the output layer.
    """
    made = CELLS[cell].make(units)
    made.build((None, features))
    state = made.output_size
    return made.count_params() + (state + 1) * outputs


def equal_units(cell: str, lstm_units: int, features: int, outputs: int) -> int:
    """Return the units with which a model is nearest in size to one with an LSTM.

    For the arguments see `parameters`.
    """
    wanted = parameters(REFERENCE, lstm_units, features, outputs)
    step = CELLS[cell].multiple

    def more(number: int) -> int:
        return parameters(cell, number * step, features, outputs) - wanted

    # A cell with one kernel has less than four times the units of one with four.
    enough = bisect.bisect_left(range(4 * lstm_units + 1), 0, lo=1, key=more)
    near = range(max(enough - 1, 1), enough + 1)
    return step * min(near, key=lambda number: abs(more(number)))


def set_forget_bias(cell: keras.Layer, value: float) -> float | None:
    """Set the bias of a built cell's forget gate, and return it; None without one."""
    parts = getattr(cell, "parts", "")
    if "f" not in parts:
        return None
    bias = keras.ops.convert_to_numpy(cell.bias).copy()
    first = parts.index("f") * cell.units
    bias[first : first + cell.units] = value
    cell.bias.assign(bias)
    return value
