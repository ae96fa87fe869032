"""The settings of the next-word experiment, without Keras."""

from dataclasses import dataclass
from typing import Self

from experiments.common.experiment import Experiment
from experiments.common.options import check_source, option
from experiments.common.settings import (
    TrainingSettings,
    fraction_option,
    learning_rate_option,
    size_option,
)

NAMED_TEXTS = ("embedded", "imdb")

DESCRIPTION = """\
Train Embedding -> LSTM -> Dense(words) to predict the next word of a text, compare it
with n-grams on the same split, and write a report.

  python -m experiments.next_word                          train with the defaults
  python -m experiments.next_word --text book.txt          train on your own text
  python -m experiments.next_word --resume RUN             continue an interrupted run
  python -m experiments.next_word generate RUN "prompt"    generate text
"""

EPILOG = """\
Everything goes to OUTPUT/next_word/NAME: config.json, metrics.json, history.csv,
model.keras, vocabulary.json, figures/*.png and report.html. Ctrl-C or SIGTERM stops the
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

# How they were chosen: experiments/RESULTS.md.
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
        "embedded: the documentation that is part of every Python; imdb: the "
        "unlabelled reviews of the archive under $LSTM_KERAS_DATA; or a PATH: a UTF-8 "
        "file (lines of at most 4 MiB), a .gz, .bz2 or .xz of one, or a folder of them",
        group="text",
    )
    split: str = option(
        "lines",
        "lines: each line is a sentence of its own; paragraphs: each paragraph is; "
        "stream: continuous text, with the state carried from line to line",
        group="text",
        choices=("lines", "paragraphs", "stream"),
    )
    tokens: str = option(
        "text",
        "tokenizer; text: lower-case words, numbers, punctuation, URLs; text_cased: "
        "the same without lower-casing; whitespace: splits at white space",
        group="text",
        choices=("text", "text_cased", "whitespace"),
    )
    min_count: int = option(
        2,
        "smallest number of times that a word of the vocabulary occurs in the "
        "training text",
        group="text",
        least=1,
    )
    max_vocab: int | None = option(
        None,
        "largest size of the vocabulary, with the 4 special ids (default: unlimited)",
        group="text",
        least=5,
    )
    limit: int | None = option(
        None, "number of words to read (default: all)", group="text", least=2
    )
    held_out: float = fraction_option(
        0.1, "fraction of the sentences, or of a stream's end, to evaluate on", "text"
    )
    held_out_text: str | None = option(
        None, "PATH of another text to evaluate on, instead of --held-out", group="text"
    )
    embedding: int = size_option(100, "size of a word's vector")
    units: int = size_option(150, "size of the recurrent state")
    tied: bool = option(
        False,
        "share the weights of embedding and logits; the last recurrent layer then has "
        "the embedding's size",
        group="model",
    )
    recipe: str = option(
        "plain",
        "defaults of other options; plain: as listed here; by_heart: memorise a small "
        "text; wikitext: a stream, with the sizes of PyTorch's word_language_model; "
        "tuned: our best for WikiText-2",
        group="training",
        choices=tuple(RECIPES),
    )
    examples: str = option(
        "passes",
        "passes: one pass over a sentence gives the losses of all its prefixes; "
        "prefixes: every prefix is an example of its own, as in the usual tutorial, "
        "for comparison",
        group="training",
        choices=("passes", "prefixes"),
    )
    epochs: int = option(40, "largest number of epochs", group="training", least=1)
    batch_size: int = option(
        20,
        "number of sentences, prefixes or parallel streams per step",
        group="training",
        least=1,
    )
    steps: int = option(
        35,
        "length of truncated backpropagation through time in a stream",
        group="training",
        least=1,
    )
    learning_rate: float = learning_rate_option(0.005)
    schedule: str = option(
        "cosine",
        "schedule of the learning rate; plateau: divide it by 4 after each epoch "
        "without a lower held-out perplexity",
        group="training",
        choices=("constant", "cosine", "plateau"),
    )
    clip: float = option(
        1.0, "largest global norm of the gradients", group="training", above=0
    )
    dropout: float = fraction_option(
        0.5, "dropout rate between the layers, one mask per sequence"
    )
    recurrent_dropout: float = fraction_option(
        0.3, "dropout rate of the recurrent state, one mask per sequence"
    )
    weight_decay: float = fraction_option(0.0, "decoupled weight decay, as in AdamW")
    sampled_softmax: int | None = option(
        None,
        "number of words of a sampled softmax in training, half of them the most "
        "frequent (default: all words); evaluation uses all words in any case",
        group="training",
        least=2,
    )

    def checked(self) -> Self:
        """Refuse texts that do not exist, and prefixes of a stream."""
        for text in (self.text, self.held_out_text):
            if text is not None:
                check_source(text, NAMED_TEXTS, "a text")
        if self.split == "stream" and self.examples == "prefixes":
            raise ValueError(
                "expected --examples passes for a stream, which has no prefixes; "
                "received prefixes"
            )
        return self


EXPERIMENT = Experiment(
    name="next_word",
    settings=Settings,
    description=DESCRIPTION,
    epilog=EPILOG,
    usage="%(prog)s [options]\n       %(prog)s generate RUN PROMPT [options]",
    recipes=RECIPES,
    commands={"generate": "experiments.next_word.generate:main"},
)
