"""Exchange LSTM layers and weights with Keras and with PyTorch."""

from lstm_keras.convert.builtin import to_builtin, to_custom
from lstm_keras.convert.pytorch import from_torch, to_torch

__all__ = ["from_torch", "to_builtin", "to_custom", "to_torch"]
