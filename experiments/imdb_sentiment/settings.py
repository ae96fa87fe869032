"""The settings of the sentiment experiment, without Keras."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from experiments.common.experiment import Experiment
from experiments.common.files import read_json
from experiments.common.options import check_source, flag_of, option
from experiments.common.settings import (
    TrainingSettings,
    fraction_option,
    learning_rate_option,
    seeds_option,
    size_option,
    warm_up_option,
)
from experiments.common.trained_run import check_run

POOLINGS = ("last", "mean", "max", "mean_max", "last_mean_max")
PRETRAINING = ("reviews",)  # recipes of next_word
# What averaged runs have in common: which reviews they read, and validate on.
READ = (
    "data",
    "limit",
    "labelled",
    "validation_split",
    "seed",
    "maxlen",
    "mask_padding",
)
NAMED_DATA = ("auto", "keras", "embedded")

DESCRIPTION = """\
Train Embedding -> LSTM -> Dense(1, sigmoid) on film reviews, compare it with
TF-IDF baselines on the same data, and write a report.

  python -m experiments.imdb_sentiment                     train with the defaults
  python -m experiments.imdb_sentiment --layer builtin     the same with Keras's LSTM
  python -m experiments.imdb_sentiment --resume RUN        continue an interrupted run
  python -m experiments.imdb_sentiment predict RUN "text"  use a trained model
  python -m experiments.imdb_sentiment export RUN          write it as ONNX
"""

EPILOG = """\
Everything goes to OUTPUT/imdb_sentiment/NAME: config.json, metrics.json, history.csv,
model.keras, vocabulary.json, figures/*.png and report.html. Ctrl-C or SIGTERM stops the
training after the current step and still writes the report; --resume continues it, also
after a kill or a power cut.
"""

# Of the real reviews, for masked models: batches are no longer than their reviews.
LONG = {
    "num_words": 30_000,
    "validation_split": 0.1,
    "maxlen": 400,
    "mask_padding": True,
    "schedule": "cosine",
    "warm_up": 0.1,
}

PRETRAINED = LONG | {
    "pretrain": "reviews",
    "pooling": "last_mean_max",
    "epochs": 3,
    "batch_size": 32,
    "learning_rate": 0.002,
    "depth_factor": 0.5,
    "word_dropout": 0.1,
    "embedding_dropout": 0.3,
    "dropout": 0.5,
}

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
    "supervised": LONG
    | {
        "embedding": 128,
        "units": 128,
        "bidirectional": True,
        "pooling": "mean_max",
        "epochs": 3,
        "learning_rate": 0.002,
        "word_dropout": 0.2,
        "embedding_dropout": 0.3,
        "dropout": 0.5,
    },
    "pretrained": PRETRAINED,
    "best": PRETRAINED
    | {
        "adversarial": 1.0,
        "virtual_adversarial": 1.0,
        "entropy": 1.0,
        "unlabelled": 32,
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
        "unknown word. On texts that are unlike its training reviews it is surer than "
        "it is right."
    )


def limit_option(default: int | None, group: str):
    """Declare the number of reviews to use."""
    help = "largest number of training reviews, and of test reviews"
    return option(default, help, group=group, least=10)


def maxlen_option(default: int, group: str):
    """Declare the length of the sequences."""
    help = "number of words that the model reads of a review, at its end"
    return option(default, help, group=group, least=1, most=1_000_000)


def weight_option(of: str):
    """Declare the weight of a loss in the sum of `objective.MixedObjective`."""
    return option(0.0, f"weight of the {of}", group="objective", least=0)


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
    labelled: int | None = option(
        None,
        "number of training reviews whose labels are used, validation included "
        "(default: all)",
        group="data",
        least=10,
    )
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
    pooling: str = option(
        "last",
        "what the classifier sees of the recurrent layer; last: its last state; mean, "
        "max: mean and maximum of its outputs over the words",
        group="model",
        choices=POOLINGS,
    )
    average: str | None = option(
        None,
        "comma-separated list of finished runs of one seed: instead of training, take "
        "the mean of their log odds",
        group="model",
    )
    pretrain: str | None = option(
        None,
        "recipe of experiments.next_word: first train language models of reviews by "
        "it, or go on with those that OUTPUT/next_word/RECIPE holds",
        group="pretraining",
        choices=PRETRAINING,
    )
    directions: str = option(
        "forwards",
        "reading directions of the language models of --pretrain",
        group="pretraining",
        choices=("forwards", "backwards", "both"),
    )
    pretrained: str | None = option(
        None,
        "run folder of a language model, of which embedding, recurrent layers and "
        "vocabulary are taken",
        group="pretraining",
    )
    pretrained_backwards: str | None = option(
        None,
        "the same of one that reads backwards (--backwards), instead or beside it",
        group="pretraining",
    )
    depth_factor: float = option(
        1.0,
        "learning rate of each pretrained layer, as a multiple of that of the next one",
        group="pretraining",
        above=0,
        most=1,
    )
    adversarial: float = weight_option(
        "log loss after the worst small change of the word vectors (Miyato et al. 2017)"
    )
    virtual_adversarial: float = weight_option(
        "divergence of the probability after that change, also on unlabelled reviews"
    )
    entropy: float = weight_option(
        "entropy of the probability, also on unlabelled reviews"
    )
    perturbation: float = option(
        0.3,
        "length of that change over a whole review, as a multiple of the length of a "
        "word vector",
        group="objective",
        above=0,
    )
    unlabelled: int = option(
        0,
        "reviews without labels in each training step, beside --batch-size with them; "
        "they are the IMDB training reviews under $LSTM_KERAS_DATA",
        group="objective",
        least=0,
    )
    mask_padding: bool = option(
        False, "mask the padding instead of reading it as a word", group="model"
    )
    recipe: str = option(
        "plain",
        "defaults of other options; plain: as listed here; tuned: our best for IMDB; "
        "embedded: for the embedded reviews; supervised: more words, both directions, "
        "pooling; pretrained: begins with a language model of reviews; best: the same "
        "with a mixed objective",
        group="training",
        choices=tuple(RECIPES),
    )
    epochs: int = option(3, "largest number of epochs", group="training", least=1)
    least_steps: int = option(
        0,
        "add epochs until the training has as many steps, for few labels",
        group="training",
        least=0,
    )
    batch_size: int = option(64, "reviews per step", group="training", least=1)
    learning_rate: float = learning_rate_option(0.001)
    schedule: str = option(
        "constant",
        "schedule of the learning rate over all epochs",
        group="training",
        choices=("constant", "cosine"),
    )
    warm_up: float = warm_up_option()
    word_dropout: float = fraction_option(0.0, "dropout rate of whole words")
    embedding_dropout: float = fraction_option(0.0, "dropout rate of the word vectors")
    recurrent_dropout: float = fraction_option(
        0.0, "dropout rate of the recurrent state"
    )
    dropout: float = fraction_option(0.0, "dropout rate of the last state")
    seeds: int = seeds_option(1, "training")

    def checked(self) -> Self:
        """Refuse data or language models that do not exist or do not fit."""
        check_source(self.data, NAMED_DATA, "--data")
        for flag, path in (
            ("--pretrained", self.pretrained),
            ("--pretrained-backwards", self.pretrained_backwards),
        ):
            if path is not None:
                check_language_model(flag, Path(path), self.layer)
        given = self.pretrain or self.pretrained or self.pretrained_backwards
        if self.bidirectional and given:
            raise ValueError(
                "expected a language model for each direction; received --bidirectional"
            )
        self._check_objective()
        self._check_members()
        return super().checked()

    @property
    def members(self) -> list[str]:
        """The runs of `average`; none without it."""
        paths = (self.average or "").split(",")
        return [path.strip() for path in paths if path.strip()]

    def _check_members(self) -> None:
        """Refuse runs that read other reviews, or validated on others."""
        if self.average is None:
            return
        if len({*self.members}) < max(1, len(self.members)) or self.seeds > 1:
            raise ValueError(
                "expected different runs in --average, without --seeds; received "
                f"{self.average!r}, --seeds {self.seeds}"
            )
        for path in self.members:
            self._check_member(path)

    def _check_member(self, path: str) -> None:
        check_run(path, EXPERIMENT.name)
        config = read_json(Path(path, "config.json"))
        config["seed"] = read_json(Path(path, "metrics.json"))["saved_seed"]
        for name in READ:
            own, other = getattr(self, name), config.get(name)
            if own != other:
                raise ValueError(
                    f"expected {flag_of(name)} {other}, as in {path}, with --average; "
                    f"received {own}"
                )

    @property
    def mixed(self) -> bool:
        """Whether there are losses beside the log loss."""
        return any((self.adversarial, self.virtual_adversarial, self.entropy))

    def _check_objective(self) -> None:
        """Refuse unlabelled reviews that no loss uses or no batch can hold."""
        if self.unlabelled and not (self.virtual_adversarial or self.entropy):
            raise ValueError(
                "expected --virtual-adversarial or --entropy with --unlabelled, since "
                "no other loss does without labels; received neither"
            )
        if self.unlabelled and self.data in ("keras", "embedded"):
            raise ValueError(
                "expected the IMDB reviews under $LSTM_KERAS_DATA as --data with "
                f"--unlabelled; received {self.data}"
            )
        if self.unlabelled and not self.mask_padding:
            raise ValueError(
                "expected --mask-padding with --unlabelled, whose batches have reviews "
                "of similar length; received none"
            )
        if self.mixed and self.data_parallel:
            raise ValueError(
                "expected --data-parallel without --adversarial, --virtual-adversarial "
                "and --entropy; received both"
            )


def check_language_model(flag: str, path: Path, layer: str) -> None:
    """Refuse a folder that is no language model of the direction and kind of layer."""
    check_run(path, "next_word")
    config = read_json(path / "config.json")
    backwards = "backwards" in flag
    if config.get("backwards", False) != backwards:
        raise ValueError(
            f"expected a language model with{'' if backwards else 'out'} --backwards "
            f"as {flag}; received {path}"
        )
    kinds = [
        "LSTM" if name in ("custom", "builtin") else name
        for name in (config["layer"], layer)
    ]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"expected --layer {config['layer']}, that of {path}; received {layer}"
        )


EXPERIMENT = Experiment(
    name="imdb_sentiment",
    settings=Settings,
    description=DESCRIPTION,
    epilog=EPILOG,
    usage="%(prog)s [options]\n       %(prog)s predict RUN TEXT [TEXT ...]\n"
    "       %(prog)s export RUN [FOLDER]",
    recipes=RECIPES,
    commands={
        "predict": "experiments.imdb_sentiment.predict:main",
        "export": "experiments.imdb_sentiment.export:main",
    },
)
