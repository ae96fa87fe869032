"""Metrics of a binary classifier, two baselines, and the worst mistakes.

scikit-learn computes the metrics. Labels are 0 (negative) or 1 (positive), and a
probability is that of the positive class, as a sigmoid output predicts it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

# A probability above this is a positive prediction, as in keras.metrics.BinaryAccuracy.
THRESHOLD = 0.5

# The clipping of keras.losses.BinaryCrossentropy, so that the log loss agrees with it,
# and a saturated wrong answer costs the same in float32 as in float64.
LOG_LOSS_EPSILON = 1e-7

CALIBRATION_BINS = 10


@dataclass(frozen=True)
class ClassificationResult:
    """The metrics of a classifier on one set of examples.

    Attributes:
        name: the classifier's name in reports.
        size: number of examples.
        accuracy: fraction of correct predictions.
        accuracy_interval: its 95% bootstrap interval.
        precision: fraction of the positive predictions that are correct; 0 if none.
        recall: fraction of the positive examples that are found; 0 if none.
        f1: harmonic mean of precision and recall; 0 if both are.
        roc_auc: area under the ROC curve; None if all examples have one label.
        log_loss: mean negative log-likelihood in nats.
        brier: mean squared difference of probability and label.
        confusion: counts [[TN, FP], [FN, TP]]: rows true, columns predicted.
        calibration: one entry per bin, see `calibration_bins`.
    """

    name: str
    size: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    precision: float
    recall: float
    f1: float
    roc_auc: float | None
    log_loss: float
    brier: float
    confusion: list[list[int]]
    calibration: list[dict[str, float | int | None]]

    def to_dict(self) -> dict:
        """Return the result as plain Python values that JSON can hold."""
        return asdict(self) | {"accuracy_interval": list(self.accuracy_interval)}


@dataclass(frozen=True)
class Mistake:
    """A misclassified example.

    Attributes:
        index: its position among the examples.
        text: the text, unchanged.
        label: the true label, 0 or 1.
        probability: the predicted probability of label 1.
    """

    index: int
    text: str
    label: int
    probability: float


def check_predictions(
    labels: ArrayLike, probabilities: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and probabilities as checked arrays of shape (n,).

    Args:
        labels: 0 or 1, shape (n,) or (n, 1), any number type.
        probabilities: of label 1, shape (n,) or (n, 1), as `Model.predict` gives them.

    Returns:
        The labels as int64 and the probabilities as float64.

    Raises:
        ValueError: for another shape, no example, different lengths, a label other
            than 0 and 1, or a probability that is not a number within [0, 1].
    """
    labels = _check_labels(labels)
    probabilities = _as_vector(probabilities, "probabilities").astype(np.float64)
    if len(labels) != len(probabilities):
        raise ValueError(
            "expected as many probabilities as labels; "
            f"received {len(probabilities)} probabilities and {len(labels)} labels"
        )
    # Written so that NaN, which compares as false, is found as well.
    bad = probabilities[~((probabilities >= 0) & (probabilities <= 1))]
    if len(bad):
        raise ValueError(
            "expected probabilities within [0, 1]; "
            f"received {len(bad)} others, the first {bad[0]}"
        )
    return labels, probabilities


def evaluate_classification(
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    name: str,
    resamples: int = 2000,
    seed: int = 0,
) -> ClassificationResult:
    """Compute every metric of one classifier at the threshold 0.5.

    Args:
        labels: true labels 0 or 1, shape (n,) or (n, 1).
        probabilities: predicted probabilities of label 1, shape (n,) or (n, 1).
        name: the classifier's name.
        resamples: bootstrap resamples of the accuracy interval, at least 1.
        seed: seed of the resampling.

    Raises:
        ValueError: for invalid arrays (see `check_predictions`), or `resamples` < 1.
    """
    from sklearn import metrics  # here, so that `import lstm_keras` need not load it

    labels, probabilities = check_predictions(labels, probabilities)
    predictions = probabilities > THRESHOLD
    accuracy = float(metrics.accuracy_score(labels, predictions))
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        labels, predictions, average="binary", zero_division=0
    )
    clipped = np.clip(probabilities, LOG_LOSS_EPSILON, 1 - LOG_LOSS_EPSILON)
    both_classes = labels.min() != labels.max()
    return ClassificationResult(
        name=name,
        size=len(labels),
        accuracy=accuracy,
        accuracy_interval=_bootstrap_interval(accuracy, len(labels), resamples, seed),
        precision=float(precision),
        recall=float(recall),
        f1=float(f1),
        roc_auc=(
            float(metrics.roc_auc_score(labels, probabilities))
            if both_classes
            else None
        ),
        log_loss=float(metrics.log_loss(labels, clipped, labels=[0, 1])),
        brier=float(metrics.brier_score_loss(labels, probabilities, pos_label=1)),
        confusion=metrics.confusion_matrix(labels, predictions, labels=[0, 1]).tolist(),
        calibration=calibration_bins(labels, probabilities),
    )


def calibration_bins(
    labels: ArrayLike, probabilities: ArrayLike
) -> list[dict[str, float | int | None]]:
    """Compare predicted probability and observed frequency in ten equal-width bins.

    The reliability diagram of DeGroot and Fienberg (1983), with the bins of
    `sklearn.calibration.calibration_curve`, which omits empty bins and the counts.

    Returns:
        For each bin, from low to high: "predicted", the mean probability; "observed",
        the fraction of label 1; "count". The first two are None in an empty bin.

    Raises:
        ValueError: for invalid arrays (see `check_predictions`).
    """
    labels, probabilities = check_predictions(labels, probabilities)
    inner_edges = np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1]
    bins = np.searchsorted(inner_edges, probabilities)
    counts = np.bincount(bins, minlength=CALIBRATION_BINS)
    predicted = np.bincount(bins, weights=probabilities, minlength=CALIBRATION_BINS)
    observed = np.bincount(bins, weights=labels, minlength=CALIBRATION_BINS)
    return [
        {
            "predicted": float(p / count) if count else None,
            "observed": float(o / count) if count else None,
            "count": int(count),
        }
        for p, o, count in zip(predicted, observed, counts, strict=True)
    ]


def majority_baseline(
    train_labels: ArrayLike, test_labels: ArrayLike
) -> ClassificationResult:
    """Evaluate a constant prediction: the fraction of label 1 in the training labels.

    Its accuracy is that of always predicting the majority class (label 0 at a tie).

    Raises:
        ValueError: for labels that are empty, not of shape (n,) or (n, 1), or not 0/1.
    """
    share = _check_labels(train_labels).mean()
    test_labels = _check_labels(test_labels)
    return evaluate_classification(
        test_labels, np.full(len(test_labels), share), name="Majority class"
    )


def tfidf_classifier(
    texts: Sequence[str],
    labels: ArrayLike,
    *,
    max_features: int | None = 5000,
    ngram_range: tuple[int, int] = (1, 1),
    c: float = 3.0,
) -> "Pipeline":
    """Train logistic regression on TF-IDF weights of words or n-grams.

    The term frequency enters as 1 + log(tf); the solver is L-BFGS, which is
    deterministic. On a held-out fifth of the IMDB training reviews, `c=3` was best for
    the 5,000 most frequent words and `c=10` for all 1-2 grams
    (`max_features=None, ngram_range=(1, 2)`).

    Args:
        texts: the texts to learn from.
        labels: their labels, 0 and 1, both present.
        max_features: number of most frequent terms to use; None for all.
        ngram_range: shortest and longest n-gram, in words.
        c: inverse strength of the L2 penalty, the `C` of scikit-learn.

    Returns:
        A fitted pipeline: `predict_proba(texts)[:, 1]` are probabilities of label 1.

    Raises:
        ValueError: for different numbers of texts and labels, labels other than 0 and
            1 or of one class only, or texts without any word.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    labels = _check_labels(labels)
    _check_texts(texts, labels)
    if labels.min() == labels.max():
        raise ValueError(
            "expected training labels of both classes; "
            f"received {len(labels)} labels {labels[0]}"
        )
    model = make_pipeline(
        TfidfVectorizer(
            max_features=max_features, ngram_range=ngram_range, sublinear_tf=True
        ),
        LogisticRegression(C=c, max_iter=1000),
    )
    return model.fit(texts, labels)


def confident_mistakes(
    texts: Sequence[str],
    labels: ArrayLike,
    probabilities: ArrayLike,
    count: int = 10,
) -> list[Mistake]:
    """Return at most `count` wrong predictions, the most confident first.

    Equally confident ones stay in the order of the examples.

    Raises:
        ValueError: for invalid arrays (see `check_predictions`), different numbers of
            texts and labels, or a negative `count`.
    """
    labels, probabilities = check_predictions(labels, probabilities)
    _check_texts(texts, labels)
    if count < 0:
        raise ValueError(f"expected count >= 0; received count={count}")
    wrong = np.flatnonzero((probabilities > THRESHOLD) != labels)
    confidence = np.abs(probabilities[wrong] - THRESHOLD)
    worst = wrong[np.argsort(-confidence, kind="stable")[:count]]
    return [
        Mistake(int(i), texts[i], int(labels[i]), float(probabilities[i]))
        for i in worst
    ]


def _bootstrap_interval(
    accuracy: float, size: int, resamples: int, seed: int
) -> tuple[float, float]:
    """Return the percentile bootstrap (Efron and Tibshirani, 1993, chapter 13).

    Drawing `size` examples with replacement and counting the correct ones is drawing
    from Binomial(size, accuracy), so no resampling is needed.
    """
    if resamples < 1:
        raise ValueError(f"expected resamples >= 1; received resamples={resamples}")
    draws = np.random.default_rng(seed).binomial(size, accuracy, resamples) / size
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(low), float(high)


def _check_labels(labels: ArrayLike) -> np.ndarray:
    labels = _as_vector(labels, "labels")
    bad = labels[~np.isin(labels, (0, 1))]
    if len(bad):
        raise ValueError(
            f"expected labels 0 or 1; received {len(bad)} others, the first {bad[0]}"
        )
    return labels.astype(np.int64)


def _check_texts(texts: Sequence[str], labels: np.ndarray) -> None:
    if isinstance(texts, str) or len(texts) != len(labels):
        received = "one string" if isinstance(texts, str) else f"{len(texts)} texts"
        raise ValueError(
            f"expected a sequence of {len(labels)} texts, one per label; "
            f"received {received}"
        )


def _as_vector(values: ArrayLike, name: str) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(
            f"expected {name} of shape (n,) or (n, 1) with n >= 1; "
            f"received shape {values.shape}"
        )
    return values
