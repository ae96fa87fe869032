"""The settings of the next-word experiment, without Keras."""

import re
from dataclasses import dataclass
from typing import ClassVar, Self

from experiments.common.experiment import Experiment
from experiments.common.options import check_source, option
from experiments.common.settings import (
    TrainingSettings,
    backend,
    fraction_option,
    learning_rate_option,
    size_option,
    warm_up_option,
)

NAMED_TEXTS = ("embedded", "imdb")

DESCRIPTION = """\
Train Embedding -> LSTM -> Dense(words) to predict the next word of a text, compare it
with n-grams on the same split, and write a report.

  python -m experiments.next_word                          train with the defaults
  python -m experiments.next_word --text book.txt          train on your own text
  python -m experiments.next_word --resume RUN             continue an interrupted run
  python -m experiments.next_word generate RUN "prompt"    generate text
  python -m experiments.next_word export RUN               write the model as ONNX
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

# A language model of reviews, for `imdb_sentiment --pretrained`.
REVIEWS = {
    "text": "imdb",
    "split": "stream",
    "held_out": 0.01,
    "max_vocab": 30_000,
    "embedding": 256,
    "units": 256,
    "tied": True,
    "epochs": 3,
    "batch_size": 64,
    "steps": 128,
    "learning_rate": 0.004,
    "warm_up": 0.05,
    "dropout": 0.0,
    "recurrent_dropout": 0.0,
    "sampled_softmax": 1024,
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
    "reviews": REVIEWS,
}


@dataclass(frozen=True, kw_only=True)
class Settings(TrainingSettings):
    """The options of a training run; `--help` explains them."""

    of_text: ClassVar[bool] = True

    text: str = option(
        "embedded",
        "embedded: the documentation that is part of every Python; imdb: the training "
        "reviews under $LSTM_KERAS_DATA, with labels or without; or a PATH: a UTF-8 "
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
    tokens: str | None = option(
        None,
        "tokenizer; text: lower-case words, numbers, punctuation, URLs; html: the same "
        "for HTML; text_cased: without lower-casing; whitespace: splits at white space "
        "(default: html for imdb, else text)",
        group="text",
        choices=("text", "html", "text_cased", "whitespace"),
    )
    backwards: bool = option(
        False,
        "read the text from its end, and predict the word before",
        group="text",
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
        "tuned: our best for WikiText-2; reviews: film reviews, for imdb_sentiment "
        "--pretrained",
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
    warm_up: float = warm_up_option()
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
    coordinator: str | None = option(
        None,
        "HOST:PORT on the machine of process 0, where the --processes that share every "
        "batch meet (JAX); all see the same --output, which process 0 writes",
        group="speed",
        compared=False,
    )
    processes: int | None = option(
        None,
        "number of processes of this run, one on each machine, which use all of its "
        "devices; all get the same options but for --process",
        group="speed",
        compared=False,
        least=2,
    )
    process: int | None = option(
        None,
        "which of the --processes this is, from 0 on",
        group="speed",
        compared=False,
        least=0,
    )

    def checked(self) -> Self:
        """Refuse texts that do not exist, prefixes of a stream, impossible processes.

        Raises:
            ValueError: The settings contradict each other.
            OSError: A text does not exist.
        """
        for text in (self.text, self.held_out_text):
            if text is not None:
                check_source(text, NAMED_TEXTS, "a text")
        if self.split == "stream" and self.examples == "prefixes":
            raise ValueError(
                "expected --examples passes for a stream, which has no prefixes; "
                "received prefixes"
            )
        if (self.coordinator, self.processes, self.process) != (None, None, None):
            self._check_processes()
        return super().checked()

    def _check_processes(self) -> None:
        if None in (self.coordinator, self.processes, self.process):
            raise ValueError(
                "expected --coordinator, --processes and --process together; received "
                f"{self.coordinator}, {self.processes} and {self.process}"
            )
        if backend() != "jax":
            raise ValueError(
                "expected several processes on JAX (KERAS_BACKEND=jax), whose runtime "
                f"connects them; received {backend()}"
            )
        if not re.fullmatch(r".+:\d+", self.coordinator):
            raise ValueError(
                f"expected HOST:PORT as --coordinator; received {self.coordinator!r}"
            )
        if self.process >= self.processes:
            raise ValueError(
                f"expected --process from 0 to {self.processes - 1}; received "
                f"{self.process}"
            )
        if self.batch_size % self.processes:
            raise ValueError(
                f"expected a --batch-size that {self.processes} processes can share "
                f"evenly; received {self.batch_size}"
            )


EXPERIMENT = Experiment(
    name="next_word",
    settings=Settings,
    description=DESCRIPTION,
    epilog=EPILOG,
    usage="%(prog)s [options]\n       %(prog)s generate RUN PROMPT [options]\n"
    "       %(prog)s export RUN [FOLDER]",
    recipes=RECIPES,
    commands={
        "generate": "experiments.next_word.generate:main",
        "export": "experiments.next_word.export:main",
    },
)
