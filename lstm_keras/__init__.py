"""An LSTM for Keras, written from its equations, and instruments to see inside it."""

import importlib
from types import ModuleType

from lstm_keras import variants as variants  # registers its cells with Keras
from lstm_keras.cell import LSTMCell
from lstm_keras.convert import (
    export_onnx,
    from_torch,
    to_builtin,
    to_custom,
    to_torch,
)
from lstm_keras.engines import engine_scope
from lstm_keras.interpret import (
    attribute,
    decompose_phrases,
    gradient_flow,
    stream_gates,
    trace_gates,
)
from lstm_keras.layer import LSTM, RNN
from lstm_keras.runs import load_run

# setup.cfg reads it from here.
__version__ = "0.1.0"

__all__ = [
    "LSTM",
    "RNN",
    "LSTMCell",
    "attribute",
    "decompose_phrases",
    "engine_scope",
    "export_onnx",
    "from_torch",
    "gradient_flow",
    "load_run",
    "stream_gates",
    "to_builtin",
    "to_custom",
    "to_torch",
    "trace_gates",
]

# Imported at their first use: matplotlib and scikit-learn load slowly.
_ON_DEMAND = (
    "datasets",
    "evaluation",
    "language_model",
    "plots",
    "preprocessing",
    "testing",
)


def __getattr__(name: str) -> ModuleType:
    """Import `lstm_keras.plots` and its like at their first use."""
    if name in _ON_DEMAND:
        return importlib.import_module(f"lstm_keras.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
