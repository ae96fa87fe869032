"""The settings of the sentiment experiment, without Keras."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from experiments.common.experiment import Experiment
from experiments.common.options import option
from experiments.common.settings import MOST_SEEDS, MOST_UNITS, TrainingSettings

NAMED_DATA = ("auto", "keras", "embedded")

DESCRIPTION = """\
Train Embedding -> LSTM -> Dense(1, sigmoid) on film reviews, compare it with two
baselines on the same data, and write a report.

  python -m experiments.imdb_sentiment                     train with the defaults
  python -m experiments.imdb_sentiment --layer builtin     the same with Keras's LSTM
  python -m experiments.imdb_sentiment --resume RUN        continue an interrupted run
  python -m experiments.imdb_sentiment predict RUN "text"  use a trained model
"""

EPILOG = """\
Everything goes to OUTPUT/imdb_sentiment/NAME: config.json, metrics.json, history.csv,
model.keras, vocabulary.json, figures/*.png and report.html. Ctrl-C or SIGTERM ends the
training after the current step and still writes the report; --resume continues it, also
after a kill or a power cut.
"""

# `tuned` was chosen on validation data alone; experiments/RESULTS.md tells how.
RECIPES = {
    "plain": {},
    "embedded": {"epochs": 6, "learning_rate": 0.005},
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


@dataclass(frozen=True, kw_only=True)
class Settings(TrainingSettings):
    """The options of a training run; `--help` explains them."""

    data: str = option(
        "auto",
        "auto: the real IMDB if it is under $LSTM_KERAS_DATA, cached or can be "
        "downloaded, else the embedded reviews; keras: keras.datasets.imdb; embedded: "
        "short made-up reviews; or a PATH: aclImdb archive, its folder, or a CSV file "
        "of review,sentiment",
        group="data",
    )
    limit: int | None = option(
        None,
        "number of training reviews to use, and of test reviews",
        group="data",
        least=10,
    )
    num_words: int = option(
        5000, "ids of the embedding: the most frequent words", group="data", least=5
    )
    maxlen: int = option(
        200,
        "words read of each review, counted from its end",
        group="data",
        least=1,
        most=1_000_000,
    )
    validation_split: float = option(
        0.2,
        "share of the training reviews to validate on",
        group="data",
        above=0,
        below=1,
    )
    embedding: int = option(
        32, "size of a word's vector", group="model", least=1, most=MOST_UNITS
    )
    units: int = option(
        64, "size of the recurrent state", group="model", least=1, most=MOST_UNITS
    )
    layers: int = option(
        1, "number of stacked recurrent layers", group="model", least=1, most=100
    )
    bidirectional: bool = option(False, "read in both directions", group="model")
    mask_padding: bool = option(
        False, "skip the padding instead of reading it as a word", group="model"
    )
    recipe: str = option(
        "plain",
        "defaults for the options below and --mask-padding; tuned: our best for IMDB; "
        "embedded: for the embedded reviews",
        group="training",
        choices=tuple(RECIPES),
    )
    epochs: int = option(3, "largest number of epochs", group="training", least=1)
    batch_size: int = option(64, "reviews per step", group="training", least=1)
    learning_rate: float = option(
        0.001, "learning rate of Adam", group="training", above=0, most=10
    )
    schedule: str = option(
        "constant",
        "schedule of the learning rate over all epochs",
        group="training",
        choices=("constant", "cosine"),
    )
    word_dropout: float = option(
        0.0, "share of the words to blank out", group="training", least=0, below=1
    )
    embedding_dropout: float = option(
        0.0,
        "share of the word vectors' entries to drop",
        group="training",
        least=0,
        below=1,
    )
    recurrent_dropout: float = option(
        0.0,
        "share of the recurrent state to drop at every step",
        group="training",
        least=0,
        below=1,
    )
    dropout: float = option(
        0.0, "share of the last state to drop", group="training", least=0, below=1
    )
    patience: int | None = option(
        None,
        "stop early after this number of epochs without a lower validation loss "
        "(default: never); the weights of the best epoch are kept in any case",
        group="training",
        least=1,
    )
    seeds: int = option(
        1,
        "number of training runs, with the seeds from --seed on, whose mean and "
        "standard deviation are reported",
        group="training",
        least=1,
        most=MOST_SEEDS,
        compared=False,
    )
    baselines: bool = option(
        True, "train the TF-IDF baselines, too", group="output", compared=False
    )

    def checked(self) -> Self:
        """Refuse data that is not there."""
        check_data(self.data)
        return self


def check_data(data: str) -> None:
    """Refuse a `--data` that is not there, before anything is loaded.

    Raises:
        FileNotFoundError: It is neither a name nor an existing path.
    """
    if data not in NAMED_DATA and not Path(data).exists():
        raise FileNotFoundError(
            f"expected --data as one of {NAMED_DATA} or an existing path; "
            f"received {data!r}"
        )


EXPERIMENT = Experiment(
    name="imdb_sentiment",
    settings=Settings,
    description=DESCRIPTION,
    epilog=EPILOG,
    usage="%(prog)s [options]\n       %(prog)s predict RUN TEXT [TEXT ...]",
    recipes=RECIPES,
    commands={"predict": "experiments.imdb_sentiment.predict:main"},
)
