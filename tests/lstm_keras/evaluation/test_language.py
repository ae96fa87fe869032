"""Metrics of a language model, counted by hand and by plain loops."""

import json
import math

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from lstm_keras.evaluation.classification import calibration_bins
from lstm_keras.evaluation.language import (
    TokenScores,
    accuracy_by_position,
    evaluate_language_model,
    loss_by_frequency,
    nearest_neighbours,
    top_calibration,
)
from lstm_keras.preprocessing.vocabulary import END, FIRST_WORD, OOV, PADDING, START

# Three lines; the places 1 2 3 | 1 | 1 2 3.
TARGETS = [4, 5, END, END, OOV, 4, END]
RANKS = [0, 4, 0, 9, 5, 0, 1]
PROBABILITIES = [0.5, 0.125, 0.5, 0.0625, 0.125, 0.25, 0.25]


def scores_of(targets, ranks=None, probabilities=None, top=None):
    size = len(targets)
    return TokenScores(
        targets=np.int32(targets),
        log_probability=np.log(np.float32(probabilities or [0.5] * size)),
        rank=np.int32([0] * size if ranks is None else ranks),
        top_probability=np.float32([0.5] * size if top is None else top),
    )


@pytest.fixture
def scores():
    return scores_of(TARGETS, RANKS, PROBABILITIES)


@pytest.fixture
def many():
    """Segments of the lengths 1 to 60, in any order."""
    rng = np.random.default_rng(3)
    lengths = rng.permutation(np.arange(1, 61))
    targets = np.concatenate(
        [[*rng.integers(OOV, 40, length - 1), END] for length in lengths]
    )
    return scores_of(targets, rng.integers(0, 8, len(targets)))


def places(targets):
    """By a plain loop."""
    place = 0
    for target in targets:
        place += 1
        yield place
        if target == END:
            place = 0


def test_results_match_the_count_by_hand(scores):
    result = evaluate_language_model(scores, name="model")
    # Of a half, an eighth, a half, a sixteenth, an eighth and two quarters: in bits
    # 1 + 3 + 1 + 4 + 3 + 2 + 2 = 16.
    assert (result.name, result.tokens) == ("model", 7)
    assert result.bits_per_word == pytest.approx(16 / 7)
    assert result.loss == pytest.approx(16 / 7 * math.log(2))
    assert result.perplexity == pytest.approx(2 ** (16 / 7))
    assert result.accuracy == pytest.approx(3 / 7)
    assert result.top5_accuracy == pytest.approx(5 / 7)
    assert result.oov_rate == pytest.approx(1 / 7)
    # The second word of the first line (wrong) and of the last one (right).
    assert result.prefix_accuracy == pytest.approx(1 / 2)


@pytest.mark.parametrize(
    ("targets", "ranks", "accuracy"),
    [
        # Out-of-vocabulary counts as a word with a prefix and as a prefix.
        ([OOV, OOV, 4, END], [1, 0, 0, 1], 1),
        ([4, END, 5, END, END], None, None),  # no word has a prefix
    ],
)
def test_prefixes_are_of_words(targets, ranks, accuracy):
    scores = scores_of(targets, ranks)
    assert evaluate_language_model(scores, name="").prefix_accuracy == accuracy


def test_loss_of_a_long_text_is_summed_in_double_precision_and_may_be_infinite():
    scores = scores_of(np.full(500_000, 4), probabilities=[0.9] * 500_000)
    expected = -float(np.float32(np.log(np.float32(0.9))))
    loss = evaluate_language_model(scores, name="").loss
    assert loss == pytest.approx(expected, rel=1e-9)
    with np.errstate(over="ignore"):
        scores = TokenScores(*np.float32([[4], [-1e4], [7], [1]]))
        assert evaluate_language_model(scores, name="").perplexity == math.inf


def test_everything_that_is_returned_goes_into_json(scores):
    result = evaluate_language_model(scores, name="model")
    for plain in (
        result.to_dict(),
        accuracy_by_position(scores, least=1),
        loss_by_frequency(scores, np.arange(9)),
        top_calibration(scores),
        nearest_neighbours(np.eye(6), ["a", "b"], ["a"]),
    ):
        assert json.loads(json.dumps(plain, allow_nan=False)) == plain


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rank": np.int32([0])}, r"one shape \(n,\).*'rank': \(1,\)"),
        ({name: np.ones((2, 1)) for name in vars(scores_of([4]))}, r"\(2, 1\)"),
        ({name: np.ones(0) for name in vars(scores_of([4]))}, "n >= 1"),
        ({"targets": np.int32([4, START])}, "targets.*from 2.*received 1 to 4"),
        ({"targets": np.int32([4, PADDING])}, "targets.*received 0 to 4"),
        ({"log_probability": np.float32([-1, 0.1])}, "log_probability.*received -1"),
        ({"log_probability": np.float32([-1, -np.inf])}, "finite.*received -inf"),
        ({"log_probability": np.float32([-1, np.nan])}, "finite.*received nan"),
        ({"rank": np.int32([0, -1])}, "rank.*from 0"),
        ({"top_probability": np.float32([0.5, 1.5])}, "top_probability.*to 1.5"),
    ],
)
def test_impossible_scores_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        TokenScores(**(vars(scores_of([4, END])) | changed))


def test_accuracy_of_each_position_matches_the_count_by_hand(scores):
    rows = accuracy_by_position(scores, least=1)
    # Place 1: ranks 0, 9, 5; place 2: 4, 0; place 3: 0, 1.
    expected = [(1, 1, 3, 1 / 3, 1 / 3), (2, 2, 2, 1 / 2, 1), (3, 3, 2, 1 / 2, 1)]
    assert [tuple(row.values()) for row in rows] == expected
    assert list(rows[0]) == ["first", "last", "tokens", "accuracy", "top5_accuracy"]
    (row,) = accuracy_by_position(scores)  # too few tokens for more groups
    assert (row["first"], row["last"], row["tokens"]) == (1, 3, 7)


def test_positions_are_grouped_without_gaps_and_with_enough_tokens(many):
    rows = accuracy_by_position(many, least=40)
    place = np.array(list(places(many.targets)))
    assert [row["first"] for row in rows] == [
        1,
        *(row["last"] + 1 for row in rows[:-1]),
    ]
    assert rows[-1]["last"] == place.max()
    assert all(row["tokens"] >= 40 for row in rows)
    for row in rows:
        ranks = many.rank[(row["first"] <= place) & (place <= row["last"])]
        assert row["tokens"] == len(ranks)
        assert row["accuracy"] == pytest.approx((ranks == 0).mean())
        assert row["top5_accuracy"] == pytest.approx((ranks < 5).mean())


def test_groups_widen_with_the_position(many):
    rows = accuracy_by_position(many, least=1)
    assert [row["last"] for row in rows[:8]] == [1, 2, 3, 4, 5, 7, 9, 11]
    scores = scores_of(np.tile([4] * 499 + [END], 3))
    assert len(accuracy_by_position(scores, least=1)) < 30


def test_losses_are_those_of_the_decades_of_training_counts():
    counts = [0, 0, 700, 800, 0, 1, 2, 9, 10, 99, 1000]
    scores = scores_of(
        [4, 5, 6, 7, 8, 9, 10, END, END, OOV],
        probabilities=[2.0**-bits for bits in range(1, 11)],
    )
    rows = loss_by_frequency(scores, np.array(counts))
    bits = {row["frequency"]: row["loss"] / math.log(2) for row in rows}
    assert bits == pytest.approx(
        {"0": 1, "1": 2, "2–9": 3.5, "10–99": 5.5, "1,000–9,999": 7}
        | {"END": 8.5, "OOV": 10}
    )
    assert [row["tokens"] for row in rows] == [1, 1, 2, 2, 1, 2, 1]


def test_calibration_is_of_the_most_probable_token():
    ranks, top = [0, 3, 0, 1], [0.95, 0.95, 0.35, 0.05]
    assert top_calibration(
        scores_of([4, 5, 4, END], ranks, top=top)
    ) == calibration_bins([1, 0, 1, 0], np.float32(top))


def test_neighbours_are_those_that_scikit_learn_finds_without_the_word_itself():
    words = [f"w{i}" for i in range(30)]
    vectors = np.random.default_rng(0).normal(size=(FIRST_WORD + 30, 5))
    similarity = cosine_similarity(vectors[FIRST_WORD:])
    rows = nearest_neighbours(vectors, words, ["w7", "w0"], count=4)
    assert [row["word"] for row in rows] == ["w7", "w0"]
    for row, chosen in zip(rows, (7, 0), strict=True):
        others = np.delete(np.arange(30), chosen)
        best = sorted(others, key=lambda i: -similarity[chosen, i])[:4]
        near = row["neighbours"]
        assert [n["word"] for n in near] == [words[i] for i in best]
        np.testing.assert_allclose(
            [n["cosine"] for n in near], similarity[chosen, best]
        )


def test_small_vocabulary_has_fewer_neighbours_and_a_zero_vector_none_alike():
    vectors = np.zeros((FIRST_WORD + 3, 2))
    vectors[FIRST_WORD:] = [[1, 0], [0, 0], [-2, 0]]
    (row,) = nearest_neighbours(vectors, ["a", "b", "c"], ["a"])
    assert row["neighbours"] == [
        {"word": "b", "cosine": 0},
        {"word": "c", "cosine": -1},
    ]


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (accuracy_by_position, {"least": 0}, "received least=0"),
        (loss_by_frequency, {"counts": [1] * 5}, r"more than 5; received shape \(5,\)"),
        (loss_by_frequency, {"counts": [[1] * 9]}, r"received shape \(1, 9\)"),
        (loss_by_frequency, {"counts": [1] * 8 + [-1]}, "minimum -1"),
    ],
)
def test_arguments_that_do_not_fit_the_scores_are_refused(
    scores, function, arguments, message
):
    with pytest.raises(ValueError, match=message):
        function(scores, **arguments)


@pytest.mark.parametrize(
    ("vectors", "chosen", "count", "message"),
    [
        (np.eye(6), ["c"], 8, r"words of the vocabulary; received \['c'\]"),
        (np.eye(5), ["a"], 8, r"shape \(6, size\); received shape \(5, 5\)"),
        (np.ones(6), ["a"], 8, r"received shape \(6,\)"),
        (np.eye(6), ["a"], 0, "received count=0"),
    ],
)
def test_neighbours_of_unfit_arrays_are_refused(vectors, chosen, count, message):
    with pytest.raises(ValueError, match=message):
        nearest_neighbours(vectors, ["a", "b"], chosen, count)
