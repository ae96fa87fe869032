"""What do the gates do? One unit by hand, gradients through time, a sentence."""
