"""Experiments with the LSTM layer; run them as `python -m experiments.NAME`."""
