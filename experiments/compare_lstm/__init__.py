"""Is `lstm_keras.LSTM` the same as Keras's layer, and what does it cost?"""
