"""Every figure of the reports: each function takes arrays and returns a Figure.

The figures are made without pyplot: no display is needed and no global state is kept.
Save one with `figure.savefig(path)`.
"""

from lstm_keras.plots.classification import (
    plot_calibration,
    plot_confusion_matrix,
    plot_learning_curves,
    plot_length_accuracy,
    plot_roc,
)
from lstm_keras.plots.language import (
    plot_frequency_loss,
    plot_perplexity,
    plot_position_accuracy,
    plot_top_calibration,
)
from lstm_keras.plots.speed import plot_growth

__all__ = [
    "plot_calibration",
    "plot_confusion_matrix",
    "plot_frequency_loss",
    "plot_growth",
    "plot_learning_curves",
    "plot_length_accuracy",
    "plot_perplexity",
    "plot_position_accuracy",
    "plot_roc",
    "plot_top_calibration",
]
