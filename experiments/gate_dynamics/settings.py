"""The settings of the gate experiment, without Keras."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Self

from experiments.common.experiment import Experiment
from experiments.common.options import option
from experiments.common.settings import (
    MOST_SEEDS,
    MOST_UNITS,
    RepeatSettings,
    seed_option,
)

TEXT = (
    "The beginning was slow and not very good, but I was never bored, and the ending "
    "is simply wonderful."
)

DESCRIPTION = """\
Look inside an LSTM, and write a report:

  * one unit, step by step: the six equations as numbers
  * the gradient on its way back through time, as the textbook's product and as measured
    in SimpleRNN, GRU and LSTM with forget bias 0 and 1, untrained and trained
  * with --run: a text as a trained sentiment model reads it, word by word: prediction,
    gates, cell state, and what each word contributed, on an interactive page; and how
    the contributions of 20 adjectives change after a "not"

  python -m experiments.gate_dynamics
  python -m experiments.gate_dynamics --run runs/imdb_sentiment/demo \\
      --text "I was not bored for a moment."
"""

EPILOG = """\
Everything goes to OUTPUT/gate_dynamics/NAME: config.json, metrics.json, steps.csv,
gradient_flow.csv, pairs.csv and gates.npz (with --run), figures/*.png and report.html.
"""


@dataclass(frozen=True, kw_only=True)
class Settings(RepeatSettings):
    """The options; `--help` explains them."""

    values: str = option(
        "0.1,0.2,0.3,0.4,0.5",
        "inputs of the one unit, separated by commas",
        group="one unit",
    )
    length: int = option(
        200, "steps that the gradient goes back", group="gradient", least=2
    )
    units: int = option(
        32, "size of the recurrent state", group="gradient", least=1, most=MOST_UNITS
    )
    steps: int = option(
        2000, "training steps on the adding problem", group="gradient", least=1
    )
    batch_size: int = option(32, "sequences per step", group="gradient", least=1)
    learning_rate: float = option(
        0.01, "learning rate of Adam", group="gradient", above=0, most=10
    )
    seed: int = seed_option("seed of weights and sequences", "gradient")
    seeds: int = option(
        3,
        "number of training runs, with the seeds from --seed on",
        group="gradient",
        least=1,
        most=MOST_SEEDS,
        compared=False,
    )
    run: str | None = option(
        None, "folder of a run of experiments.imdb_sentiment", group="sentence"
    )
    text: str | None = option(
        None, "the text to read (default: a sentence of ours)", group="sentence"
    )
    pairs: bool = option(
        True, "with --run, also measure the 20 pairs of sentences", group="sentence"
    )

    def checked(self) -> Self:
        """Refuse values that are not numbers, and a text without a model to read it."""
        read_values(self.values)
        if self.run is None and self.text is not None:
            raise ValueError("--text needs --run, the model that reads it")
        if self.run is not None and self.text is None:
            return dataclasses.replace(self, text=TEXT)
        return self


def read_values(text: str) -> list[float]:
    """Read the inputs of the one unit.

    Raises:
        ValueError: They are not finite numbers separated by commas.
    """
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if not values or not all(map(math.isfinite, values)):
        raise ValueError(
            f"expected --values as numbers separated by commas; received {text!r}"
        )
    return values


EXPERIMENT = Experiment(
    name="gate_dynamics", settings=Settings, description=DESCRIPTION, epilog=EPILOG
)
