"""Metrics, baselines and intervals for classifiers and language models."""

from lstm_keras.evaluation.classification import (
    ClassificationResult,
    Mistake,
    calibration_bins,
    check_predictions,
    confident_mistakes,
    evaluate_classification,
    majority_baseline,
    tfidf_classifier,
)
from lstm_keras.evaluation.intervals import (
    bootstrap_interval,
    holm,
    paired_difference,
    paired_p_value,
    spread,
    t_interval,
)
from lstm_keras.evaluation.language import (
    LanguageModelResult,
    TokenScores,
    accuracy_by_position,
    evaluate_language_model,
    loss_by_frequency,
    nearest_neighbours,
    top_calibration,
)
from lstm_keras.evaluation.ngrams import KneserNeyTrigram, UnigramModel

__all__ = [
    "ClassificationResult",
    "KneserNeyTrigram",
    "LanguageModelResult",
    "Mistake",
    "TokenScores",
    "UnigramModel",
    "accuracy_by_position",
    "bootstrap_interval",
    "calibration_bins",
    "check_predictions",
    "confident_mistakes",
    "evaluate_classification",
    "evaluate_language_model",
    "holm",
    "loss_by_frequency",
    "majority_baseline",
    "nearest_neighbours",
    "paired_difference",
    "paired_p_value",
    "spread",
    "t_interval",
    "tfidf_classifier",
    "top_calibration",
]
