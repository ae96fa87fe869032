"""A page on which a trained model is tried: on this machine, or a folder of files."""
