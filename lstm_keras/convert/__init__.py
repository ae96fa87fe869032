"""Exchange layers and weights with Keras and PyTorch, and models by ONNX."""

from lstm_keras.convert.builtin import to_builtin, to_custom
from lstm_keras.convert.onnx import export_onnx
from lstm_keras.convert.pytorch import from_torch, to_torch

__all__ = ["export_onnx", "from_torch", "to_builtin", "to_custom", "to_torch"]
