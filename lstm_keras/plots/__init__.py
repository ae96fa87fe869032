"""Every figure of the reports: functions that take arrays and return a Figure.

They do not use pyplot, so they need no display and have no global state. Save a figure
by `figure.savefig(path)`.
"""

from lstm_keras.plots.classification import (
    plot_accuracies,
    plot_calibration,
    plot_confusion_matrix,
    plot_learning_curves,
    plot_length_accuracy,
    plot_roc,
)
from lstm_keras.plots.comparison import (
    plot_by_setting,
    plot_differences,
    plot_equality,
    plot_paired_curves,
    plot_paired_differences,
)
from lstm_keras.plots.inside import (
    plot_attribution,
    plot_gates,
    plot_gradient_flow,
    plot_negation,
    plot_prefix_predictions,
    plot_steps,
)
from lstm_keras.plots.language import (
    plot_frequency_loss,
    plot_perplexity,
    plot_position_accuracy,
    plot_top_calibration,
)
from lstm_keras.plots.memory import plot_error_by_lag, plot_longest_lag
from lstm_keras.plots.speed import plot_growth, plot_step_times

__all__ = [
    "plot_accuracies",
    "plot_attribution",
    "plot_by_setting",
    "plot_calibration",
    "plot_confusion_matrix",
    "plot_differences",
    "plot_equality",
    "plot_error_by_lag",
    "plot_frequency_loss",
    "plot_gates",
    "plot_gradient_flow",
    "plot_growth",
    "plot_learning_curves",
    "plot_length_accuracy",
    "plot_longest_lag",
    "plot_negation",
    "plot_paired_curves",
    "plot_paired_differences",
    "plot_perplexity",
    "plot_position_accuracy",
    "plot_prefix_predictions",
    "plot_roc",
    "plot_step_times",
    "plot_steps",
    "plot_top_calibration",
]
