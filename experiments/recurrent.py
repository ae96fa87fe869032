"""Which recurrent layer an experiment runs: ours, or one of Keras's."""

LAYERS = ("custom", "builtin", "gru", "simple_rnn")


def recurrent_layer(layer: str) -> type:
    """Return the class of a `--layer`."""
    import keras

    import lstm_keras

    return {
        "custom": lstm_keras.LSTM,
        "builtin": keras.layers.LSTM,
        "gru": keras.layers.GRU,
        "simple_rnn": keras.layers.SimpleRNN,
    }[layer]


def engine(layer: str) -> dict:
    """Return which layer computed the numbers, and on which path."""
    if layer == "custom":
        return {
            "layer": "lstm_keras.LSTM",
            "path": "loop over lstm_keras.LSTMCell in keras.layers.RNN",
        }
    return {
        "layer": f"keras.layers.{recurrent_layer(layer).__name__}",
        "path": "chosen by Keras",
    }
