"""What the gates do: one unit by hand, gradients through time, a sentence."""
