"""An LSTM for Keras, written from its equations."""

from lstm_keras.cell import LSTMCell
from lstm_keras.layer import LSTM
from lstm_keras.runs import load_run

__all__ = ["LSTM", "LSTMCell", "load_run"]
