"""See inside a model: its gates, its gradients, which words decided."""

from lstm_keras.interpret.attribution import (
    METHODS,
    Attribution,
    attribute,
    decompose_phrases,
)
from lstm_keras.interpret.decomposition import (
    decompose_states,
)
from lstm_keras.interpret.gradients import (
    LayerFlow,
    gradient_flow,
)
from lstm_keras.interpret.trace import (
    LayerTrace,
    stream_gates,
    trace_gates,
)

__all__ = [
    "METHODS",
    "Attribution",
    "LayerFlow",
    "LayerTrace",
    "attribute",
    "decompose_phrases",
    "decompose_states",
    "gradient_flow",
    "stream_gates",
    "trace_gates",
]
