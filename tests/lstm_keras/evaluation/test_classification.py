"""Metrics against hand calculation and scikit-learn; baselines on tiny texts."""

import json
import math

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from lstm_keras.evaluation.classification import (
    calibration_bins,
    check_predictions,
    confident_mistakes,
    evaluate_classification,
    majority_baseline,
    tfidf_classifier,
)

# Predictions 0 1 | 0 1 1 1 at the threshold 0.5, so TN=1, FP=1, FN=1, TP=3.
LABELS = [0, 0, 1, 1, 1, 1]
PROBABILITIES = [0.1, 0.8, 0.4, 0.6, 0.9, 0.7]


def evaluate(labels=LABELS, probabilities=PROBABILITIES, **options):
    return evaluate_classification(labels, probabilities, name="model", **options)


@pytest.fixture
def many():
    """Labels drawn with the very probabilities that are predicted."""
    rng = np.random.default_rng(7)
    probabilities = rng.random(5000)
    return (rng.random(5000) < probabilities).astype(int), probabilities


def test_metrics_match_the_hand_calculation_and_their_definitions():
    result = evaluate()
    assert (result.name, result.size) == ("model", 6)
    assert result.confusion == [[1, 1], [1, 3]]
    assert result.accuracy == pytest.approx(4 / 6)
    ratios = (result.precision, result.recall, result.f1)
    assert ratios == pytest.approx((3 / 4, 3 / 4, 3 / 4))
    # 0.1 lies below all 4 positives, 0.8 below only 0.9: 5 of 8 pairs.
    assert result.roc_auc == pytest.approx(5 / 8)
    of_truth = np.array([0.9, 0.2, 0.4, 0.6, 0.9, 0.7])
    assert result.log_loss == pytest.approx(-np.log(of_truth).mean())
    assert result.brier == pytest.approx(((1 - of_truth) ** 2).mean())
    column = np.array(PROBABILITIES)[:, None]
    assert evaluate(probabilities=column) == result


def test_probability_of_one_half_is_negative_as_in_keras_and_ratios_are_then_zero():
    result = evaluate([0, 1], [0.5, 0.5])
    assert result.confusion == [[1, 0], [1, 0]]
    assert (result.precision, result.recall, result.f1) == (0, 0, 0)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_certain_wrong_answer_costs_the_same_finite_loss_in_every_type(dtype):
    result = evaluate([1, 0], np.array([0, 0], dtype))
    # Probabilities are clipped at 1e-7, as in keras.losses.BinaryCrossentropy.
    expected = (-math.log(1e-7) - math.log(1 - 1e-7)) / 2
    assert result.log_loss == pytest.approx(expected)
    assert result.brier == 0.5


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_alone_has_no_roc_auc_but_every_other_metric(label):
    result = evaluate([label] * 3, [0.2, 0.3, 0.9])
    assert result.roc_auc is None
    assert np.sum(result.confusion) == 3
    assert result.accuracy == pytest.approx(1 / 3 if label else 2 / 3)
    distances = np.abs(label - np.array([0.2, 0.3, 0.9]))
    assert result.brier == pytest.approx((distances**2).mean())
    assert result.log_loss == pytest.approx(-np.log(1 - distances).mean())


def test_interval_agrees_with_resampling_the_examples(many):
    labels, probabilities = (a[:300] for a in many)
    right = (probabilities > 0.5) == labels
    rng = np.random.default_rng(1)
    resampled = rng.choice(right, (5000, 300)).mean(axis=1)
    expected = np.percentile(resampled, [2.5, 97.5])
    interval = evaluate(labels, probabilities, resamples=5000).accuracy_interval
    np.testing.assert_allclose(interval, expected, atol=2.5 / 300)
    assert evaluate([1], [0.9]).accuracy_interval == (1, 1)


def test_seed_alone_decides_the_interval(many):
    interval = evaluate(*many, resamples=50, seed=3).accuracy_interval
    assert evaluate(*many, resamples=50, seed=3).accuracy_interval == interval
    assert evaluate(*many, resamples=50, seed=4).accuracy_interval != interval


def test_calibration_agrees_with_scikit_learn(many):
    labels, probabilities = many
    probabilities[:11] = np.linspace(0, 1, 11)  # the edges of the bins
    bins = calibration_bins(labels, probabilities)
    observed, predicted = calibration_curve(labels, probabilities, n_bins=10)
    np.testing.assert_allclose([b["observed"] for b in bins], observed)
    np.testing.assert_allclose([b["predicted"] for b in bins], predicted)
    assert sum(b["count"] for b in bins) == len(labels)


def test_calibration_keeps_empty_bins_and_both_ends():
    bins = calibration_bins([0, 1, 1], [0.0, 1.0, 0.92])
    assert len(bins) == 10
    assert bins[0] == {"predicted": 0.0, "observed": 0.0, "count": 1}
    assert bins[5] == {"predicted": None, "observed": None, "count": 0}
    assert bins[9] == {"predicted": pytest.approx(0.96), "observed": 1.0, "count": 2}


@pytest.mark.parametrize("labels", [LABELS, [1] * 6])
def test_dictionary_survives_strict_json(labels):
    dictionary = evaluate(
        np.array(labels, "int32"), np.float32(PROBABILITIES)
    ).to_dict()
    assert json.loads(json.dumps(dictionary, allow_nan=False)) == dictionary


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([], [], r"labels of shape \(n,\)"),
        ([0, 1], [], r"probabilities of shape \(n,\)"),
        ([0, 1], [[0.1, 0.9], [0.2, 0.8]], r"received shape \(2, 2\)"),
        ([[0, 1]], [0.1, 0.2], r"received shape \(1, 2\)"),
        (0, 0.5, r"received shape \(\)"),
        ([0, 1], [0.5], "received 1 probabilities and 2 labels"),
        ([0, 2], [0.5, 0.5], "labels 0 or 1; received 1 others, the first 2"),
        ([-1, 1], [0.5, 0.5], "the first -1"),
        ([0.5, 1], [0.5, 0.5], "the first 0.5"),
        ([0, math.nan], [0.5, 0.5], "the first nan"),
        ([0, 1], [0.5, math.nan], "the first nan"),
        ([0, 1], [0.5, math.inf], "the first inf"),
        ([0, 1], [-0.1, 1.1], "received 2 others, the first -0.1"),
    ],
)
def test_bad_predictions_are_refused(labels, probabilities, message):
    with pytest.raises(ValueError, match=message):
        check_predictions(labels, probabilities)


def test_other_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="received resamples=0"):
        evaluate(resamples=0)
    with pytest.raises(ValueError, match="labels of shape"):
        majority_baseline([], [0, 1])
    with pytest.raises(ValueError, match=r"sequence of 2 texts.*received 1 texts"):
        confident_mistakes(["good"], [1, 0], [0.9, 0.1])
    with pytest.raises(ValueError, match="received count=-1"):
        confident_mistakes(["good"], [1], [0.1], count=-1)


def test_majority_baseline_learns_from_the_training_labels_alone():
    result = majority_baseline([1, 1, 1, 0], [0, 0, 0, 1])
    assert result.name == "Majority class"
    assert result.confusion == [[0, 3], [0, 1]]
    assert result.accuracy == 0.25
    assert result.roc_auc == 0.5
    # It predicts the training share, 3/4, for every example.
    assert result.log_loss == pytest.approx(
        -(3 * math.log(1 / 4) + math.log(3 / 4)) / 4
    )
    # At a tie it names 0.
    assert majority_baseline([0, 1], [0, 0, 1]).confusion == [[2, 0], [1, 0]]


GOOD = ["a great film", "great acting, great joy", "we loved this great story"]
BAD = ["a terrible film", "terrible acting, no joy", "we hated this terrible story"]


def test_tfidf_classifier_solves_separable_texts():
    train = (GOOD + BAD, [1, 1, 1, 0, 0, 0])
    model = tfidf_classifier(*train)
    assert model.predict(["great cast", "terrible cast"]).tolist() == [1, 0]
    # great acting joy we loved this story film terrible no hated; "a" is too short.
    assert len(model[0].vocabulary_) == 11
    model = tfidf_classifier(*train, max_features=2)
    assert {*model[0].vocabulary_} == {"great", "terrible"}
    assert model.predict(train[0]).tolist() == train[1]


def test_tfidf_classifier_needs_pairs_of_words_to_see_their_order():
    # Both kinds hold the same words equally often: only their order differs.
    texts = ["not good but bad", "not bad but good"] * 4
    labels = [0, 1] * 4
    words = tfidf_classifier(texts, labels).predict_proba(texts)[:, 1]
    np.testing.assert_allclose(words, 0.5, rtol=1e-6)
    pairs = tfidf_classifier(texts, labels, ngram_range=(1, 2))
    assert pairs.predict(texts).tolist() == labels
    assert len(pairs[0].vocabulary_) == 10


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ((GOOD, [1, 0]), "sequence of 2 texts.*received 3 texts"),
        (("film", [1, 0, 1, 0]), "received one string"),
        ((GOOD, [1, 1, 1]), "both classes; received 3 labels 1"),
        ((GOOD, [1, 2, 0]), "labels 0 or 1"),
        ((["", "!"], [0, 1]), "empty vocabulary"),
    ],
)
def test_texts_that_cannot_be_learned_from_are_refused(train, message):
    with pytest.raises(ValueError, match=message):
        tfidf_classifier(*train)


def test_mistakes_come_most_confident_first_with_their_texts_intact():
    texts = ["right", "a <br /> film\n“né” 🎬", "nearly", "right too", "sure\tly"]
    mistakes = confident_mistakes(
        texts, [1, 0, 1, 0, 1], np.float32([[0.9], [0.75], [0.4375], [0.1], [0.125]])
    )
    assert [m.index for m in mistakes] == [4, 1, 2]
    assert [m.text for m in mistakes] == [texts[4], texts[1], texts[2]]
    assert [m.label for m in mistakes] == [1, 0, 1]
    assert [m.probability for m in mistakes] == [0.125, 0.75, 0.4375]


def test_equally_confident_mistakes_keep_their_order_and_count_limits_them():
    texts = ["first", "second", "third"]
    mistakes = confident_mistakes(texts, [1, 0, 1], [0.25, 0.75, 0.25], count=2)
    assert [m.text for m in mistakes] == ["first", "second"]
    assert confident_mistakes(texts, [1, 0, 1], [0.25, 0.75, 0.25], count=0) == []
    assert confident_mistakes(texts[:2], [1, 0], [0.9, 0.1]) == []
