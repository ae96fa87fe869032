"""The settings of the benchmark, without Keras."""

import dataclasses
import importlib.util
from dataclasses import dataclass
from typing import Self

from experiments.common import options
from experiments.common.experiment import Experiment
from experiments.common.options import option
from experiments.common.settings import OutputSettings
from experiments.speed.shapes import (
    DEFAULT,
    QUICK,
    memory_option,
    read_shapes,
    rounds_option,
    shape_option,
)

BACKENDS = ("tensorflow", "jax", "torch")
MEASURES = ("layers", "variants", "peers", "text", "prefixes", "generation", "export")
SOURCES = ("auto", "embedded")

QUICK_ROUNDS = 5
QUICK_SECONDS = 100  # leaves time to load Keras, and for the report
GROWTH_ROUNDS = 7

DESCRIPTION = """\
Time the parts of the package, and write a report:

  layers      training and prediction of a small model with every engine of each
              installed backend, one process per backend, beside Keras's layer and, on
              torch, plain torch.nn.LSTM
  variants    every cell of lstm_keras.variants in lstm_keras.RNN, beside
              keras.layers.RNN around the same cell, at two shapes
  peers       training and prediction of our layer, in turn with Keras's, with plain
              torch.nn.LSTM, and with its own exported file in onnxruntime
  text        review texts to padded word ids, with each tokenizer and with those of
              scikit-learn and Keras, in wall-clock and processor time; start-up time of
              a script and of import lstm_keras
  prefixes    memorising a small text to the same accuracy: one pass per sentence
              against the usual tutorial's expansion into prefixes
  generation  a new token after prompts of several lengths
  export      a prediction by an exported ONNX file, beside Keras
"""

EPILOG = """\
Everything goes to OUTPUT/speed/NAME: config.json, metrics.json and report.html, and for
the layers results.csv and figures/*.png. Ctrl-C or SIGTERM ends the benchmark: the
report has what was measured until then, and says what is missing.
"""


@dataclass(frozen=True, kw_only=True)
class Settings(OutputSettings):
    """The options of the benchmark; `--help` explains them."""

    measure: str = option(
        "layers",
        "what to time",
        group="what to measure",
        choices=MEASURES,
    )
    shape: str = shape_option(DEFAULT, "layers")
    backends: str | None = option(
        None,
        "comma-separated list from tensorflow,jax,torch (default: all that are "
        "installed); growth is measured on the first",
        group="layers",
    )
    rounds: int = rounds_option(20, "layers")
    memory: bool = memory_option("layers")
    growth: bool = option(
        True,
        "time the first backend while B, T and H double one at a time, in at most "
        f"{GROWTH_ROUNDS} rounds",
        group="layers",
    )
    quick: bool = option(
        False,
        f"about 2 minutes: at most {QUICK_ROUNDS} rounds and --seconds "
        f"{QUICK_SECONDS}, three shapes unless --shape is given, no memory, no growth",
        group="layers",
    )
    seconds: float | None = option(
        None,
        "time to measure in: what does not fit is left out, which the report says "
        "(default: unlimited)",
        group="layers",
        above=0,
    )
    flush_denormal: bool = option(
        False,
        "let torch treat denormal numbers, which vanishing gradients become and which "
        "are slow on a CPU, as zero",
        group="layers",
    )
    data: str = option(
        "auto",
        "auto, embedded, or the path of an IMDB archive, folder or CSV file",
        group="text",
    )
    reviews: int = option(
        50_000,
        "number of texts; fewer reviews are repeated",
        group="text",
        least=1,
    )
    maxlen: int = option(200, "length after padding", group="text", least=1)
    text: str = option(
        "auto",
        "PATH of a text with a sentence per line; auto: next_word/faq.txt under "
        "$LSTM_KERAS_DATA if it exists, else the beginning of the embedded text",
        group="prefixes",
    )
    accuracy: float = option(
        0.955,
        "top-1 accuracy on the prefixes at which training ends, or the best that any "
        "model can reach, if that is lower",
        group="prefixes",
        above=0,
        most=1,
    )
    epochs: int = option(100, "largest number of epochs", group="prefixes", least=2)
    seeds: int = option(3, "number of training runs", group="prefixes", least=1)

    def name_prefix(self) -> str:
        """Return the measure."""
        return self.measure

    def checked(self) -> Self:
        """Refuse what is invalid or of another measure, and apply `--quick`."""
        for field in dataclasses.fields(self):
            of = field.metadata["group"]
            given = getattr(self, field.name) != field.default
            if given and of in MEASURES and of != self.measure:
                raise ValueError(
                    f"expected {options.flag_of(field.name)} with --measure {of}; "
                    f"received --measure {self.measure}"
                )
        read_shapes(self.shape)
        read_backends(self.backends)
        if self.measure == "text":
            options.check_source(self.data, SOURCES, "--data")
        if self.measure == "prefixes":
            options.check_source(self.text, SOURCES, "--text")
        if not self.quick:
            return self
        return dataclasses.replace(
            self,
            shape=QUICK if self.shape == DEFAULT else self.shape,
            rounds=min(self.rounds, QUICK_ROUNDS),
            seconds=min(self.seconds or QUICK_SECONDS, QUICK_SECONDS),
            growth=False,
            memory=False,
        )


def read_backends(text: str | None) -> tuple[str, ...]:
    """Read a comma-separated list of backends; without it return the installed ones.

    Raises:
        ValueError: A name is not one of `BACKENDS`.
    """
    if text is None:
        return tuple(name for name in BACKENDS if importlib.util.find_spec(name))
    return options.names(text, BACKENDS, "--backends")


EXPERIMENT = Experiment(
    name="speed", settings=Settings, description=DESCRIPTION, epilog=EPILOG
)
