"""Errors of training runs."""


class DivergedError(ValueError):
    """The loss of a training run became NaN or infinite."""
