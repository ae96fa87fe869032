"""Linear models beside the LSTM, and test reviews without the order of their words."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from experiments.common.terminal import stage
from experiments.imdb_sentiment.settings import Settings
from experiments.imdb_sentiment.train import (
    Trained,
    batches_of,
    examples,
    probabilities,
)
from lstm_keras.datasets import Reviews, Split
from lstm_keras.evaluation import (
    ClassificationResult,
    evaluate_classification,
    tfidf_classifier,
)
from lstm_keras.preprocessing import shuffle_sentences


def shuffled(reviews: Reviews) -> Split:
    """Return the test reviews with the words of each sentence shuffled.

    Those of `keras.datasets.imdb` are without signs, so the whole text is shuffled.
    """
    with stage("Shuffling the words of each sentence of the test reviews"):
        rng = np.random.default_rng(0)
        texts = [shuffle_sentences(text, rng) for text in reviews.test.texts]
        ids = reviews.vocabulary.encode_all(texts)
    return dataclasses.replace(reviews.test, texts=texts, ids=ids)


def evaluate_shuffled(
    settings: Settings, trained: Sequence[Trained], test: Split, input_dim: int
) -> list[ClassificationResult]:
    """Evaluate each model on the shuffled test reviews."""
    texts = examples(test, input_dim)
    batches = batches_of(settings, texts, np.arange(len(texts.ids)))
    return [
        evaluate_classification(
            test.labels, probabilities(one.model, batches), name=one.test.name
        )
        for one in trained
    ]


def evaluate_linear(
    settings: Settings, reviews: Reviews, shuffled: Split
) -> Iterator[tuple[ClassificationResult, ...]]:
    """Yield each linear model's results: on the test reviews, and on shuffled ones.

    One that reads the end of a review, as the network does, has only the first.
    """
    train, test = reviews.train, reviews.test
    words, maxlen = settings.num_words, settings.maxlen
    whole = (train.texts, test.texts, shuffled.texts)
    end = [
        [reviews.vocabulary.decode(ids[-maxlen:]) for ids in split.ids]
        for split in (train, test)
    ]
    bigrams = {"max_features": None, "ngram_range": (1, 2), "c": 10.0}
    for kind, (train_texts, *texts), options in (
        (f"{words} words", whole, {"max_features": words}),
        (f"{words} words, last {maxlen} only", end, {"max_features": words}),
        ("all 1-2 grams", whole, bigrams),
    ):
        with stage(f"TF-IDF baseline, {kind}"):
            model = tfidf_classifier(train_texts, train.labels, **options)
            results = tuple(
                evaluate_classification(
                    test.labels,
                    model.predict_proba(read)[:, 1],
                    name=f"TF-IDF + logistic regression, {kind}",
                )
                for read in texts
            )
        yield results
