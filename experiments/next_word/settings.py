"""The settings of the next-word experiment, without Keras."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from experiments.common.experiment import Experiment
from experiments.common.options import option
from experiments.common.settings import MOST_UNITS, TrainingSettings

NAMED_TEXTS = ("embedded", "imdb")

DESCRIPTION = """\
Train Embedding -> LSTM -> Dense(words) to predict the next word of a text, compare it
with n-grams on the same split, and write a report.

  python -m experiments.next_word                          train with the defaults
  python -m experiments.next_word --text book.txt          learn a text of yours
  python -m experiments.next_word --resume RUN             continue an interrupted run
  python -m experiments.next_word generate RUN "prompt"    let a trained model write
"""

EPILOG = """\
Everything goes to OUTPUT/next_word/NAME: config.json, metrics.json, history.csv,
model.keras, vocabulary.json, figures/*.png and report.html. Ctrl-C or SIGTERM ends the
training after the current step and still writes the report; --resume continues it, also
after a kill or a power cut.
"""

# The sizes of PyTorch's word_language_model, on its text.
WIKITEXT = {
    "split": "stream",
    "tokens": "whitespace",
    "min_count": 1,
    "embedding": 200,
    "units": 200,
    "layers": 2,
    "tied": True,
    "epochs": 6,
    "weight_decay": 0.2,
    "dropout": 0.2,
    "recurrent_dropout": 0.0,
    "sampled_softmax": 4000,
    "jit": True,
}

# experiments/RESULTS.md tells how these were chosen.
RECIPES = {
    "plain": {},
    "by_heart": {
        "held_out": 0.0,
        "min_count": 1,
        "epochs": 40,
        "batch_size": 32,
        "learning_rate": 0.03,
        "dropout": 0.0,
        "recurrent_dropout": 0.0,
        "engine": "loop",  # in so few steps compiling another costs more than it saves
    },
    "wikitext": WIKITEXT,
    "tuned": WIKITEXT
    | {
        "embedding": 256,
        "units": 256,
        "epochs": 12,
        "weight_decay": 0.25,
        "dropout": 0.4,
    },
}


@dataclass(frozen=True, kw_only=True)
class Settings(TrainingSettings):
    """The options of a training run; `--help` explains them."""

    text: str = option(
        "embedded",
        "embedded: the documentation that comes with every Python; imdb: the "
        "unlabelled reviews of the archive under $LSTM_KERAS_DATA; or a PATH: a UTF-8 "
        "file (lines of at most 4 MiB), a .gz, .bz2 or .xz of one, or a folder of them",
        group="text",
    )
    split: str = option(
        "lines",
        "lines: each line is a sentence of its own; paragraphs: each paragraph is; "
        "stream: continuous text, the state carried from line to line",
        group="text",
        choices=("lines", "paragraphs", "stream"),
    )
    tokens: str = option(
        "text",
        "text: lower-case words, numbers, punctuation, URLs; text_cased: the same "
        "without lower-casing; whitespace: what white space separates",
        group="text",
        choices=("text", "text_cased", "whitespace"),
    )
    min_count: int = option(
        2,
        "words that occur less often in the training text are out of vocabulary",
        group="text",
        least=1,
    )
    max_vocab: int | None = option(
        None,
        "largest number of ids, the 4 special ones included",
        group="text",
        least=5,
    )
    limit: int | None = option(
        None, "number of words of the text to read", group="text", least=2
    )
    held_out: float = option(
        0.1,
        "share of the sentences, or of the end of a stream, to evaluate on",
        group="text",
        least=0,
        below=1,
    )
    held_out_text: str | None = option(
        None, "a PATH to evaluate on instead", group="text"
    )
    embedding: int = option(
        100, "size of a word's vector", group="model", least=1, most=MOST_UNITS
    )
    units: int = option(
        150, "size of the recurrent state", group="model", least=1, most=MOST_UNITS
    )
    layers: int = option(
        1, "number of stacked recurrent layers", group="model", least=1, most=100
    )
    tied: bool = option(
        False,
        "share the weights of embedding and logits; the last layer then has the "
        "embedding's size",
        group="model",
    )
    recipe: str = option(
        "plain",
        "defaults for other options; by_heart: a small text, all of it learned; "
        "wikitext: a stream, with the sizes of PyTorch's word_language_model; tuned: "
        "our best for WikiText-2",
        group="training",
        choices=tuple(RECIPES),
    )
    examples: str = option(
        "passes",
        "how sentences are learned; passes: one pass gives the losses of all prefixes; "
        "prefixes: each prefix is an example of its own, as in the usual tutorial, for "
        "comparison",
        group="training",
        choices=("passes", "prefixes"),
    )
    epochs: int = option(40, "largest number of epochs", group="training", least=1)
    batch_size: int = option(
        20,
        "sentences, prefixes or parallel streams per step",
        group="training",
        least=1,
    )
    steps: int = option(
        35,
        "length of truncated backpropagation through time in a stream",
        group="training",
        least=1,
    )
    learning_rate: float = option(
        0.005, "initial learning rate of Adam", group="training", above=0, most=10
    )
    schedule: str = option(
        "cosine",
        "schedule of the learning rate; plateau: divide it by 4 after each epoch "
        "without a lower held-out perplexity",
        group="training",
        choices=("constant", "cosine", "plateau"),
    )
    clip: float = option(
        1.0, "bound on the gradient's global norm", group="training", above=0
    )
    dropout: float = option(
        0.5,
        "share of the units to drop between the layers, by one mask per sequence",
        group="training",
        least=0,
        below=1,
    )
    recurrent_dropout: float = option(
        0.3,
        "share of the recurrent state to drop, by one mask per sequence",
        group="training",
        least=0,
        below=1,
    )
    weight_decay: float = option(
        0.0,
        "decoupled weight decay, as in AdamW",
        group="training",
        least=0,
        below=1,
    )
    sampled_softmax: int | None = option(
        None,
        "train with a softmax over this number of words, half of them the most "
        "frequent, half sampled; evaluation is over all words in any case",
        group="training",
        least=2,
    )
    patience: int | None = option(
        None,
        "stop early after this number of epochs without a lower held-out perplexity "
        "(default: never); the weights of the best epoch are kept in any case",
        group="training",
        least=1,
    )
    baselines: bool = option(
        True, "fit the n-grams, too", group="output", compared=False
    )

    def checked(self) -> Self:
        """Refuse texts that are not there, and prefixes of a stream."""
        for text in (self.text, self.held_out_text):
            if text is not None:
                check_text(text)
        if self.split == "stream" and self.examples == "prefixes":
            raise ValueError(
                "expected --examples passes for a stream, which has no prefixes; "
                "received prefixes"
            )
        return self


def check_text(text: str) -> None:
    """Refuse a text that is not there, before anything is loaded.

    Raises:
        FileNotFoundError: It is neither a name nor an existing path.
    """
    if text not in NAMED_TEXTS and not (text and Path(text).exists()):
        raise FileNotFoundError(
            f"expected a text as one of {NAMED_TEXTS} or an existing path; "
            f"received {text!r}"
        )


EXPERIMENT = Experiment(
    name="next_word",
    settings=Settings,
    description=DESCRIPTION,
    epilog=EPILOG,
    usage="%(prog)s [options]\n       %(prog)s generate RUN PROMPT [options]",
    recipes=RECIPES,
    commands={"generate": "experiments.next_word.generate:main"},
)
