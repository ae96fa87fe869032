"""An LSTM for Keras, written from its equations, and instruments to see inside it."""

from lstm_keras.attribution import attribute, decompose_phrases
from lstm_keras.cell import LSTMCell
from lstm_keras.engines import engine_scope
from lstm_keras.exchange import to_builtin, to_custom
from lstm_keras.gradients import gradient_flow
from lstm_keras.layer import LSTM
from lstm_keras.runs import load_run
from lstm_keras.torch_weights import from_torch, to_torch
from lstm_keras.trace import stream_gates, trace_gates

# The one place that says so: setup.cfg reads it from here.
__version__ = "0.1.0"

__all__ = [
    "LSTM",
    "LSTMCell",
    "attribute",
    "decompose_phrases",
    "engine_scope",
    "from_torch",
    "gradient_flow",
    "load_run",
    "stream_gates",
    "to_builtin",
    "to_custom",
    "to_torch",
    "trace_gates",
]
