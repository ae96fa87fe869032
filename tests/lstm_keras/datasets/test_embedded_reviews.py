"""The embedded reviews: well-formed, held out as documented, beyond a bag of words."""

import re

import numpy as np
import pytest

from lstm_keras.datasets.embedded_reviews import (
    GRAMMARS,
    SENTIMENT,
    SLOT,
    TEST,
    TRAIN,
    UNSEEN_SENTIMENT,
    generate_reviews,
)

SPLITS = ("train", "test")
NEW_IN_TEST = "title object given family place hero quest one when".split()
DEMONSTRATION = {
    "This movie was absolutely fantastic and I loved every moment.": True,
    "This movie was not fantastic and I did not love a single moment.": False,
    "This movie was absolutely not fantastic and I hated every moment.": False,
}


@pytest.fixture(scope="module")
def reviews():
    return {split: generate_reviews(split, 2000, seed=7) for split in SPLITS}


def words_of(texts):
    return {word for text in texts for word in re.findall(r"[\w'-]+", text.lower())}


def templates_of(split):
    """Every sentence and clause of the grammar: a string with a slot and with words.

    The noun phrases, such as "a {noun}" and "this {film}", are no clauses.
    """
    return {
        template
        for kind, table in GRAMMARS[split].items()
        if kind not in ("simple", "subject") and not isinstance(table, tuple)
        for template in table
        if SLOT.search(template) and re.search(r"\w", SLOT.sub("", template))
    }


@pytest.mark.parametrize("split", SPLITS)
def test_the_same_seed_gives_the_same_reviews(split):
    texts, labels = generate_reviews(split, 50, seed=3)
    again, labels_again = generate_reviews(split, 50, seed=3)
    assert texts == again
    np.testing.assert_array_equal(labels, labels_again)


@pytest.mark.parametrize("split", SPLITS)
def test_another_seed_gives_other_reviews(split):
    texts, other = (set(generate_reviews(split, 200, seed)[0]) for seed in (0, 1))
    assert len(texts & other) < 2


def test_a_smaller_size_gives_the_first_reviews(reviews):
    assert generate_reviews("train", 20, seed=7)[0] == reviews["train"][0][:20]


def test_labels_are_balanced_int32(reviews):
    for texts, labels in reviews.values():
        assert labels.dtype == np.int32
        assert labels.shape == (len(texts),)
        assert set(labels.tolist()) == {0, 1}
        assert labels.sum() == len(texts) // 2


def test_no_review_occurs_twice_or_in_both_splits(reviews):
    train, test = (reviews[split][0] for split in SPLITS)
    assert len({*train, *test}) == len(train) + len(test)


def test_reviews_are_short(reviews):
    for texts, _ in reviews.values():
        for text in texts:
            assert 20 <= len(text.split()) <= 60, text
            assert 2 <= len(re.findall(r"[.?](?= |$)", text)) <= 5, text


def test_reviews_are_well_formed(reviews):
    sentence = re.compile(r"[A-Z][^.?!]*[.?]")
    for texts, _ in reviews.values():
        for text in texts:
            assert not re.search(r"[{}|]|  | [,.;?]|,,|\.\.", text), text
            assert " ".join(sentence.findall(text)) == text, text


def test_articles_fit_the_next_word(reviews):
    # No word of the grammar starts with a silent h or with the sound of "you".
    for texts, _ in reviews.values():
        for text in texts:
            assert not re.search(r"\ba [aeiou]", text, re.IGNORECASE), text
            assert not re.search(r"\ban [^aeiou]", text, re.IGNORECASE), text


def test_no_adjective_stands_twice_in_a_review(reviews):
    adjectives = {word for side in SENTIMENT["adj"] for word in side}
    for texts, _ in reviews.values():
        for text in texts:
            found = [w for w in re.findall(r"\w+", text) if w in adjectives]
            assert len(found) == len(set(found)), text


def test_the_grammar_is_rich():
    assert len(templates_of("train")) >= 150
    assert len(templates_of("test")) >= 60
    for polarity in (0, 1):
        words = {word for kind in SENTIMENT.values() for word in kind[polarity]}
        assert len(words) >= 40


def test_negative_and_positive_words_are_apart():
    for negative, positive in (SENTIMENT | UNSEEN_SENTIMENT).values():
        assert not set(negative) & set(positive)
        assert len(negative) == len(positive)


@pytest.mark.parametrize(
    ("split", "tables"),
    [("train", SENTIMENT | TRAIN), ("test", UNSEEN_SENTIMENT | TEST)],
    ids=SPLITS,
)
def test_every_table_is_used(split, tables):
    used, waiting = set(), ["review"]
    while waiting:
        kind = waiting.pop()
        if kind not in used:
            used.add(kind)
            for choice in GRAMMARS[split][kind]:
                if isinstance(choice, str):
                    waiting += [inner for _, inner in SLOT.findall(choice)]
    assert set(tables) <= used


def test_templates_are_held_out():
    assert not templates_of("train") & templates_of("test")


@pytest.mark.parametrize("kind", NEW_IN_TEST)
def test_names_and_topics_are_held_out(kind):
    assert not set(GRAMMARS["train"][kind]) & set(GRAMMARS["test"][kind])


def test_test_reviews_have_words_that_training_lacks(reviews):
    train, test = (words_of(reviews[split][0]) for split in SPLITS)
    held_out = {word for kind in UNSEEN_SENTIMENT.values() for w in kind for word in w}
    assert held_out <= test - train
    assert {"helsinki", "astronomer", "bakery", "ingrid"} <= test - train


def test_every_known_sentiment_word_of_test_is_in_training(reviews):
    known = {word for kind in SENTIMENT.values() for side in kind for word in side}
    train, test = (words_of(reviews[split][0]) for split in SPLITS)
    assert known & test <= train


def test_a_review_with_an_unseen_word_has_a_known_one_too(reviews):
    known = {word for kind in SENTIMENT.values() for side in kind for word in side}
    unseen = {w for kind in UNSEEN_SENTIMENT.values() for side in kind for w in side}
    texts = [text for text in reviews["test"][0] if words_of([text]) & unseen]
    assert len(texts) > 100
    assert all(words_of([text]) & known for text in texts)


def test_every_word_of_the_demonstration_is_in_training(reviews):
    assert words_of(DEMONSTRATION) <= words_of(reviews["train"][0])


@pytest.mark.parametrize("ngrams", [(1, 1), (1, 2)], ids=["words", "pairs"])
def test_a_bag_of_words_stays_under_80_percent(ngrams):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(
        TfidfVectorizer(ngram_range=ngrams), LogisticRegression(max_iter=1000)
    )
    model.fit(*generate_reviews("train", 4000))
    assert 0.5 < model.score(*generate_reviews("test", 1000)) < 0.8


@pytest.mark.parametrize("split", ["", "Train", "validation", None])
def test_an_unknown_split_is_an_error(split):
    with pytest.raises(ValueError, match=r"expected split .*; received split="):
        generate_reviews(split, 10)


@pytest.mark.parametrize("size", [0, -1, 2.5, "10", None])
def test_a_size_that_is_not_a_positive_integer_is_an_error(size):
    with pytest.raises(ValueError, match=r"expected a size of at least 1; received"):
        generate_reviews("train", size)


@pytest.mark.slow
def test_an_lstm_passes_95_percent_on_held_out_templates():
    import keras

    from lstm_keras import LSTM
    from lstm_keras.preprocessing.vocabulary import Vocabulary, pad

    (train_texts, train_labels), (test_texts, test_labels) = (
        generate_reviews("train", 16_000),
        generate_reviews("test", 2_000),
    )
    vocabulary = Vocabulary.build(train_texts)
    train_ids, test_ids, demonstration_ids = (
        pad(vocabulary.encode_all(texts), 200)
        for texts in (train_texts, test_texts, DEMONSTRATION)
    )
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.layers.Embedding(len(vocabulary), 32),
            LSTM(64),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.005), "binary_crossentropy", ["accuracy"])
    model.fit(train_ids, train_labels, batch_size=64, epochs=6, verbose=0)
    assert model.evaluate(test_ids, test_labels, verbose=0)[1] > 0.95
    positive = model.predict(demonstration_ids, verbose=0)[:, 0] > 0.5
    assert positive.tolist() == list(DEMONSTRATION.values())
