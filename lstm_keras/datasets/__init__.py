"""Load reviews and texts: real ones, your own, and embedded ones without any file."""

from lstm_keras.datasets.corpora import Corpus, load_text
from lstm_keras.datasets.embedded_reviews import generate_reviews
from lstm_keras.datasets.reviews import (
    Reviews,
    Split,
    load_embedded,
    load_imdb,
    load_reviews,
    load_training_texts,
)

__all__ = [
    "Corpus",
    "Reviews",
    "Split",
    "generate_reviews",
    "load_embedded",
    "load_imdb",
    "load_reviews",
    "load_text",
    "load_training_texts",
]
