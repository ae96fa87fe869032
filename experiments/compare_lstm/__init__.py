"""Equality and costs of `lstm_keras.LSTM` and `keras.layers.LSTM`."""
