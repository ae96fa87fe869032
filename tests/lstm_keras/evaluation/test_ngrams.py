"""N-gram models against the textbook formula, in exact fractions and plain loops."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_keras.evaluation import ngrams
from lstm_keras.evaluation.ngrams import MAX_VOCABULARY, KneserNeyTrigram, UnigramModel
from lstm_keras.preprocessing.vocabulary import END, OOV, PADDING, START

SIZE = 9
TEXTS = st.lists(st.integers(OOV, SIZE - 1), min_size=1, max_size=60).map(np.int32)
MODELS = (UnigramModel, KneserNeyTrigram)


def histories(ids, stream):
    """The words before each token, `START` first."""
    before = (START,)
    for token in ids:
        yield before
        before = (*before, token)
        if token == END and not stream:
            before = (START,)


class Textbook:
    """Chen and Goodman (1999), equation 19, word for word."""

    def __init__(self, ids, size, stream):
        self.predictable = [i for i in range(size) if i not in (PADDING, START)]
        grams = [(*h, w) for h, w in zip(histories(ids, stream), ids, strict=True)]
        triples = Counter(gram[-3:] for gram in grams if len(gram) >= 3)
        pairs = Counter(gram for gram in grams if len(gram) == 2)
        pairs.update(triple[1:] for triple in triples)
        words = Counter(pair[1:] for pair in pairs)
        self.counts = {1: words, 2: pairs, 3: triples}
        self.discounts = {n: self.discount(self.counts[n]) for n in self.counts}

    @staticmethod
    def discount(counts):
        n1 = sum(count == 1 for count in counts.values())
        n2 = sum(count == 2 for count in counts.values())
        return Fraction(n1, n1 + 2 * n2) if n1 and n2 else Fraction(1, 2)

    def probability(self, word, history):
        """Of a word after a history of at most two words."""
        length = len(history) + 1
        counts, discount = self.counts[length], self.discounts[length]
        after = {gram[-1]: c for gram, c in counts.items() if gram[:-1] == history}
        shorter = (
            self.probability(word, history[1:])
            if history
            else Fraction(1, len(self.predictable))
        )
        if not after:
            return shorter
        total = sum(after.values())
        return (
            max(after.get(word, 0) - discount, 0) / total
            + discount * len(after) / total * shorter
        )


def assert_scores_are_those_of_the_textbook(train, text, size, stream):
    scores = KneserNeyTrigram.fit(train, size, stream=stream).score(text, stream=stream)
    textbook = Textbook(train.tolist(), size, stream)
    true, ranks, highest = [], [], []
    for history, word in zip(histories(text.tolist(), stream), text, strict=True):
        row = {w: textbook.probability(w, history[-2:]) for w in textbook.predictable}
        true.append(float(row[word]))
        ranks.append(sum(other > row[word] for other in row.values()))
        highest.append(float(max(row.values())))
    np.testing.assert_array_equal(scores.targets, text)
    np.testing.assert_allclose(np.exp(scores.log_probability), true, 1e-5)
    np.testing.assert_array_equal(scores.rank, ranks)
    np.testing.assert_allclose(scores.top_probability, highest, 1e-6)
    return textbook


@given(TEXTS, TEXTS, st.booleans())
def test_scores_of_any_text_are_those_of_the_textbook(train, text, stream):
    assert_scores_are_those_of_the_textbook(train, text, SIZE, stream)


@pytest.mark.parametrize("stream", [False, True])
def test_scores_are_those_of_the_textbook_where_every_discount_is_estimated(stream):
    rng = np.random.default_rng(0)
    train, text = (np.minimum(rng.zipf(1.5, n) + OOV - 1, 29) for n in (800, 100))
    textbook = assert_scores_are_those_of_the_textbook(train, text, 30, stream)
    assert Fraction(1, 2) not in textbook.discounts.values()


def test_the_highest_ids_of_the_largest_vocabulary_do_not_overflow():
    renamed = {6: MAX_VOCABULARY - 3, 7: MAX_VOCABULARY - 2, 8: MAX_VOCABULARY - 1}
    train, text = [8, 7, 8, 4, 8, 7, 8, END], [8, 7, 8, 8, 7, 4, 6]
    textbook = Textbook(train, SIZE, stream=True)
    textbook.predictable = range(OOV, MAX_VOCABULARY)
    true = [
        float(textbook.probability(word, history[-2:]))
        for word, history in zip(text, histories(text, True), strict=True)
    ]
    train, text = (np.int32([renamed.get(i, i) for i in t]) for t in (train, text))
    model = KneserNeyTrigram.fit(train, MAX_VOCABULARY, stream=True)
    scores = model.score(text, stream=True)
    np.testing.assert_allclose(np.exp(scores.log_probability), true, 1e-5)


def test_one_token_is_enough_and_its_probability_is_the_one_counted_by_hand():
    # 4 predictable ids; every discount is 1/2: 1/2 + 1/2 (1/2 + 1/2 * 1/4).
    model = KneserNeyTrigram.fit(np.int32([4]), 6, stream=True)
    scores = model.score(np.int32([4]), stream=True)
    assert np.exp(scores.log_probability) == pytest.approx([0.8125])
    assert scores.rank.tolist() == [0]


def test_unigrams_are_counts_raised_by_one():
    train = np.int32([4, 5, 4, END, 4, OOV, END])  # of the ids 2 to 6
    scores = UnigramModel.fit(train, 7, stream=False).score(
        np.int32([4, END, 5, OOV, 6]), stream=False
    )
    np.testing.assert_allclose(
        np.exp(scores.log_probability), np.array([4, 3, 2, 2, 1]) / 12, 1e-6
    )
    assert scores.rank.tolist() == [0, 1, 2, 2, 4]
    np.testing.assert_allclose(scores.top_probability, [4 / 12] * 5, 1e-6)


def test_text_scored_in_parts_has_the_scores_of_the_whole(monkeypatch):
    text = np.random.default_rng(1).integers(OOV, SIZE, 100)
    model = KneserNeyTrigram.fit(text[:70], SIZE, stream=False)
    whole = model.score(text, stream=False)
    monkeypatch.setattr(ngrams, "SCORED_AT_ONCE", 7)
    parts = model.score(text, stream=False)
    for name, values in vars(whole).items():
        np.testing.assert_array_equal(getattr(parts, name), values)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([], r"expected a text \(tokens,\)"),
        ([[4, 5]], r"received int64 \(1, 2\)"),
        ([4.0], "whole numbers; received float64"),
        ([4, PADDING], "ids from 2 to 8; received 0 to 4"),
        ([START, 4], "received 1 to 4"),
        ([SIZE], "received 9 to 9"),
    ],
)
def test_text_that_cannot_be_counted_or_scored_is_refused(kind, ids, message):
    with pytest.raises(ValueError, match=message):
        kind.fit(np.array(ids), SIZE, stream=True)
    model = kind.fit(np.int32([4, END]), SIZE, stream=True)
    with pytest.raises(ValueError, match=message):
        model.score(np.array(ids), stream=True)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("size", [3, 5.0, MAX_VOCABULARY + 1])
def test_vocabulary_size_out_of_range_is_refused(kind, size):
    with pytest.raises(ValueError, match=r"expected .*; received"):
        kind.fit(np.int32([OOV]), size, stream=True)
