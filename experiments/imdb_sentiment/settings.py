"""The settings of the sentiment experiment, without Keras."""

from dataclasses import dataclass
from typing import Self

from experiments.common.experiment import Experiment
from experiments.common.options import check_source, option
from experiments.common.settings import (
    TrainingSettings,
    fraction_option,
    learning_rate_option,
    seeds_option,
    size_option,
)

NAMED_DATA = ("auto", "keras", "embedded")

DESCRIPTION = """\
Train Embedding -> LSTM -> Dense(1, sigmoid) on film reviews, compare it with
TF-IDF baselines on the same data, and write a report.

  python -m experiments.imdb_sentiment                     train with the defaults
  python -m experiments.imdb_sentiment --layer builtin     the same with Keras's LSTM
  python -m experiments.imdb_sentiment --resume RUN        continue an interrupted run
  python -m experiments.imdb_sentiment predict RUN "text"  use a trained model
"""

EPILOG = """\
Everything goes to OUTPUT/imdb_sentiment/NAME: config.json, metrics.json, history.csv,
model.keras, vocabulary.json, figures/*.png and report.html. Ctrl-C or SIGTERM stops the
training after the current step and still writes the report; --resume continues it, also
after a kill or a power cut.
"""

# `tuned`, and the length and epochs of `embedded`, were chosen on validation data:
# see experiments/RESULTS.md.
RECIPES = {
    "plain": {},
    "embedded": {"maxlen": 48, "epochs": 8, "learning_rate": 0.005},
    "tuned": {
        "mask_padding": True,
        "epochs": 8,
        "learning_rate": 0.002,
        "schedule": "cosine",
        "word_dropout": 0.2,
        "embedding_dropout": 0.3,
        "dropout": 0.3,
    },
}

# A smaller vocabulary lacks many words that a user will think of.
SMALL_VOCABULARY = 2000


def vocabulary_note(words: int) -> str:
    """Return what to tell the user of a model that knows so many words, or ""."""
    if words >= SMALL_VOCABULARY:
        return ""
    return (
        f"This model knows only {words:,} words, and reads every other as the same "
        "unknown word."
    )


def limit_option(default: int | None, group: str):
    """Declare the number of reviews to use."""
    help = "largest number of training reviews, and of test reviews"
    return option(default, help, group=group, least=10)


def maxlen_option(default: int, group: str):
    """Declare the length of the sequences."""
    help = "number of words that the model reads of a review, at its end"
    return option(default, help, group=group, least=1, most=1_000_000)


@dataclass(frozen=True, kw_only=True)
class Settings(TrainingSettings):
    """The options of a training run; `--help` explains them."""

    data: str = option(
        "auto",
        "auto: the real IMDB if it is under $LSTM_KERAS_DATA, cached or can be "
        "downloaded, else the embedded reviews; keras: keras.datasets.imdb; embedded: "
        "short generated reviews; or a PATH: aclImdb archive, its folder, or a CSV "
        "file of review,sentiment",
        group="data",
    )
    limit: int | None = limit_option(None, "data")
    num_words: int = option(
        5000,
        "size of the vocabulary: the most frequent words, special ids included",
        group="data",
        least=5,
    )
    maxlen: int = maxlen_option(200, "data")
    validation_split: float = option(
        0.2,
        "fraction of the training reviews to validate on",
        group="data",
        above=0,
        below=1,
    )
    embedding: int = size_option(32, "size of a word's vector")
    units: int = size_option(64, "size of the recurrent state")
    bidirectional: bool = option(False, "read in both directions", group="model")
    mask_padding: bool = option(
        False, "mask the padding instead of reading it as a word", group="model"
    )
    recipe: str = option(
        "plain",
        "defaults of other options; plain: as listed here; tuned: our best for IMDB; "
        "embedded: for the embedded reviews",
        group="training",
        choices=tuple(RECIPES),
    )
    epochs: int = option(3, "largest number of epochs", group="training", least=1)
    batch_size: int = option(64, "reviews per step", group="training", least=1)
    learning_rate: float = learning_rate_option(0.001)
    schedule: str = option(
        "constant",
        "schedule of the learning rate over all epochs",
        group="training",
        choices=("constant", "cosine"),
    )
    word_dropout: float = fraction_option(0.0, "dropout rate of whole words")
    embedding_dropout: float = fraction_option(0.0, "dropout rate of the word vectors")
    recurrent_dropout: float = fraction_option(
        0.0, "dropout rate of the recurrent state"
    )
    dropout: float = fraction_option(0.0, "dropout rate of the last state")
    seeds: int = seeds_option(1, "training")

    def checked(self) -> Self:
        """Refuse data that does not exist."""
        check_source(self.data, NAMED_DATA, "--data")
        return self


EXPERIMENT = Experiment(
    name="imdb_sentiment",
    settings=Settings,
    description=DESCRIPTION,
    epilog=EPILOG,
    usage="%(prog)s [options]\n       %(prog)s predict RUN TEXT [TEXT ...]",
    recipes=RECIPES,
    commands={"predict": "experiments.imdb_sentiment.predict:main"},
)
