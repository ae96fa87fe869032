"""The settings of the benchmark, without Keras."""

import dataclasses
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from experiments.common import options
from experiments.common.experiment import Experiment
from experiments.common.options import option
from experiments.common.settings import OutputSettings
from experiments.speed.shapes import DEFAULT, QUICK, read_shapes

BACKENDS = ("tensorflow", "jax", "torch")

QUICK_ROUNDS = 5
GROWTH_ROUNDS = 7

DESCRIPTION = """\
Time the parts of the package, and write a report:

  layers      training and prediction of a small model with every engine that each
              installed backend has, in one process per backend, beside Keras's layer
              and, on torch, plain torch.nn.LSTM
  text        review texts to padded word ids, with each tokenizer and with those of
              scikit-learn and Keras, in wall-clock time and in processor time, which
              other programs do not stretch; start-up of a script and of our import
  prefixes    learning a small text by heart: one pass per sentence against the usual
              tutorial's expansion into prefixes, to the same accuracy; both learn every
              token from the first to the end of the sentence
  generation  a new token after prompts of several lengths
"""

EPILOG = """\
Everything goes to OUTPUT/speed/NAME: config.json, metrics.json and report.html, and for
the layers results.csv and figures/*.png.
"""


@dataclass(frozen=True, kw_only=True)
class Settings(OutputSettings):
    """The options of the benchmark; `--help` explains them."""

    measure: str = option(
        "layers",
        "what to time",
        group="what",
        choices=("layers", "text", "prefixes", "generation"),
    )
    shape: str = option(
        DEFAULT,
        "B,T,D,H: batch size, steps, features, units; B,T,D,H,masked: with shorter "
        "sequences, padded on the left; several shapes are separated by spaces or "
        "semicolons",
        group="layers",
    )
    backends: str | None = option(
        None,
        "comma-separated list from tensorflow,jax,torch (default: all that are "
        "installed); growth is measured on the first",
        group="layers",
    )
    rounds: int = option(
        20, "number of times each step is timed at each shape", group="layers", least=1
    )
    memory: bool = option(
        True, "measure the memory of every engine at the first shape", group="layers"
    )
    growth: bool = option(
        True,
        "time the first backend while B, T and H double, in at most "
        f"{GROWTH_ROUNDS} rounds",
        group="layers",
    )
    quick: bool = option(
        False,
        f"at most {QUICK_ROUNDS} rounds, three shapes unless --shape names others, no "
        "memory, no growth: about 2 minutes",
        group="layers",
    )
    flush_denormal: bool = option(
        False,
        "let torch treat denormal numbers as zero: gradients that fade to such numbers "
        "slow a processor down",
        group="layers",
    )
    data: str = option(
        "auto",
        "auto, embedded, or the path of an IMDB archive, folder or CSV file",
        group="text",
    )
    reviews: int = option(
        50_000,
        "number of texts; the reviews are repeated where there are fewer",
        group="text",
        least=1,
    )
    maxlen: int = option(200, "padded length", group="text", least=1)
    text: str = option(
        "auto",
        "a text file, a sentence a line; auto: next_word/faq.txt under "
        "$LSTM_KERAS_DATA, or else some sentences of the embedded documentation",
        group="prefixes",
    )
    accuracy: float = option(
        0.955,
        "share of the prefixes whose next word the model must predict; lowered to the "
        "best accuracy that any model can reach",
        group="prefixes",
        above=0,
        most=1,
    )
    epochs: int = option(100, "largest number of epochs", group="prefixes", least=2)
    seeds: int = option(3, "number of training runs", group="prefixes", least=1)

    def name_prefix(self) -> str:
        """Return what is timed."""
        return self.measure

    def checked(self) -> Self:
        """Refuse what can't be read or found, and apply `--quick`."""
        read_shapes(self.shape)
        read_backends(self.backends)
        named = {"text": self.data, "prefixes": self.text}.get(self.measure)
        if named not in (None, "auto", "embedded") and not Path(named).exists():
            raise FileNotFoundError(f"expected an existing path; received {named!r}")
        if not self.quick:
            return self
        return dataclasses.replace(
            self,
            shape=QUICK if self.shape == DEFAULT else self.shape,
            rounds=min(self.rounds, QUICK_ROUNDS),
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
