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
# Of the 100 words that weigh most in a linear model of the IMDB reviews (TF-IDF, 5,000
# words) all but alright, basically, bit, couldn, mildly, mst3k, noir, today, unless and
# wonder.
WEIGHTIEST = """
    also amazing annoying avoid awful bad badly beautiful best boring brilliant
    definitely disappointing disappointment dull enjoyable enjoyed entertaining
    excellent fails fantastic favorite forgettable fun funniest gem great highly
    hilarious horrible incredible instead it job just lacks lame laughable liked looks
    lousy love loved mediocre mess minutes no not nothing obnoxious oh outstanding
    pathetic perfect perfectly pointless poor poorly predictable rare recommended
    redeeming refreshing ridiculous save script simple solid still stupid subtle superb
    supposed surprised surprisingly tedious terrible tries unconvincing unfortunately
    unfunny uninteresting waste weak well wonderful wonderfully wooden worse worst
"""


@pytest.fixture(scope="module")
def reviews():
    return {split: generate_reviews(split, 2000, seed=7) for split in SPLITS}


@pytest.fixture(params=SPLITS)
def texts(request, reviews):
    return reviews[request.param][0]


def words_of(texts):
    return {word for text in texts for word in re.findall(r"[\w'-]+", text.lower())}


def phrases(sentiment):
    return {phrase for kind in sentiment.values() for side in kind for phrase in side}


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
def test_the_seed_decides(split):
    texts, labels = generate_reviews(split, 200, seed=3)
    again, labels_again = generate_reviews(split, 200, seed=3)
    assert texts == again
    np.testing.assert_array_equal(labels, labels_again)
    assert generate_reviews(split, 20, seed=3)[0] == texts[:20]
    # But for some short ones, the reviews of another seed are others.
    assert len({*texts} & {*generate_reviews(split, 200, seed=4)[0]}) < 20


def test_labels_are_balanced_and_no_review_occurs_twice_or_in_both_splits(reviews):
    for _, labels in reviews.values():
        assert labels.dtype == np.int32
        assert np.bincount(labels).tolist() == [1000, 1000]
    assert len({text for texts, _ in reviews.values() for text in texts}) == 4000


def test_reviews_are_short_and_a_fifth_of_them_are_remarks(texts):
    lengths = np.array([len(text.split()) for text in texts])
    assert lengths.max() <= 60
    assert 0.15 < np.mean(lengths < 12) < 0.25


def test_reviews_are_well_formed(texts):
    adjectives = {word for side in SENTIMENT["adj"] for word in side}
    for text in texts:
        assert re.fullmatch(r"([A-Z][^.?!]*[.?]( (?=.)|$)){1,6}", text), text
        assert not re.search(r"[{}|]|  | [,.;?]|,,|\.\.|(of|in|about) it's", text), text
        # One adjective has the sound of "you", and no word a silent h.
        assert not re.search(r"(?i)\ba (?!unique)[aeiou]|\ban ([^aeiou]|unique)", text)
        found = [word for word in re.findall(r"\w+", text) if word in adjectives]
        assert len(found) == len(set(found)), text


def test_half_of_the_denials_are_contracted(texts):
    denials = re.findall(r"was not|wasn't", " ".join(texts))
    assert 0.35 < denials.count("wasn't") / len(denials) < 0.65


def test_the_grammar_is_rich():
    assert len(templates_of("train")) > 200
    assert len(templates_of("test")) > 70
    assert len(phrases(SENTIMENT)) > 250


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
            choices = GRAMMARS[split][kind]
            if isinstance(choices, tuple):
                choices = [*choices[0], *choices[1]]
            waiting += [
                inner for choice in choices for _, inner in SLOT.findall(choice)
            ]
    assert set(tables) <= used


def test_templates_names_and_topics_are_held_out():
    assert not templates_of("train") & templates_of("test")
    for kind in "title object given family place hero quest one when".split():
        assert not set(GRAMMARS["train"][kind]) & set(GRAMMARS["test"][kind])


def test_only_test_reviews_have_the_held_out_words(reviews):
    train, test = (words_of(reviews[split][0]) for split in SPLITS)
    assert phrases(UNSEEN_SENTIMENT) <= test - train
    assert {"helsinki", "astronomer", "bakery", "ingrid"} <= test - train
    assert words_of(phrases(SENTIMENT)) & test <= train


def test_a_review_with_an_unseen_word_has_a_known_one_too(reviews):
    unseen = phrases(UNSEEN_SENTIMENT)
    texts = [text for text in reviews["test"][0] if words_of([text]) & unseen]
    assert len(texts) > 100
    known = re.compile(rf"(?i)\b({'|'.join(phrases(SENTIMENT))})\b")
    assert all(known.search(text) for text in texts)


def test_training_has_the_words_that_tell_most_about_real_reviews(reviews):
    assert {*WEIGHTIEST.split()} <= words_of(reviews["train"][0])


@pytest.mark.parametrize(
    ("ngrams", "most"), [((1, 1), 0.65), ((1, 2), 0.75)], ids=["words", "pairs"]
)
def test_a_bag_of_words_does_not_suffice(ngrams, most):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(
        TfidfVectorizer(ngram_range=ngrams), LogisticRegression(max_iter=1000)
    )
    model.fit(*generate_reviews("train", 4000))
    assert 0.5 < model.score(*generate_reviews("test", 1000)) < most


@pytest.mark.parametrize(
    ("split", "size", "message"),
    [
        *((split, 10, "expected split .*; received split=") for split in ("", "Train")),
        *(("train", size, "expected a size of at least 1") for size in (0, -1, 2.5)),
    ],
)
def test_bad_arguments_are_errors(split, size, message):
    with pytest.raises(ValueError, match=message):
        generate_reviews(split, size)
