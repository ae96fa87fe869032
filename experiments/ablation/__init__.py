"""What each gate of an LSTM is worth: variants of equal size on three tasks."""
