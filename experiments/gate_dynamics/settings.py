"""The settings of the gate experiment, without Keras."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Self

from experiments.common import options
from experiments.common.experiment import Experiment
from experiments.common.options import option
from experiments.common.settings import (
    RepeatSettings,
    learning_rate_option,
    seed_option,
    seeds_option,
    size_option,
)
from experiments.common.trained_run import check_run

TEXT = (
    "The beginning was slow and not very good, but I was never bored, and the ending "
    "is simply wonderful."
)

PARTS = ("sentence", "negation", "unit", "gradient")
OF_A_RUN = ("sentence", "negation")

DESCRIPTION = """\
Look inside an LSTM, and write a report. The parts:

  sentence  with --run: a text as a trained sentiment model reads it, word by word:
            prediction, gates, cell state, and what each word contributed, on an
            interactive page
  negation  with --run: what 20 adjectives contribute alone, and together with "not"
  unit      one unit, step by step: the six equations as numbers
  gradient  the gradient by lag: the textbook's product, and measured in SimpleRNN, GRU
            and LSTM with forget bias 0 and 1, before and after training

  python -m experiments.gate_dynamics
  python -m experiments.gate_dynamics --run runs/imdb_sentiment/demo \\
      --text "I was not bored for a moment."
"""

EPILOG = """\
Everything goes to OUTPUT/gate_dynamics/NAME: config.json, metrics.json, report.html,
figures/*.png and, of the parts, gates.npz, pairs.csv, steps.csv, gradient_flow.csv.
"""


@dataclass(frozen=True, kw_only=True)
class Settings(RepeatSettings):
    """The options; `--help` explains them."""

    parts: str | None = option(
        None,
        "comma-separated list of parts (default: with --text sentence, with --run "
        "alone sentence,negation, else unit,gradient)",
        group="what to look at",
    )
    values: str = option(
        "0.1,0.2,0.3,0.4,0.5",
        "comma-separated list of the unit's inputs",
        group="one unit",
    )
    length: int = option(
        200, "number of steps of the sequences", group="gradient", least=2
    )
    units: int = size_option(32, "size of the recurrent state", "gradient")
    steps: int = option(
        2000, "training steps on the adding problem", group="gradient", least=1
    )
    batch_size: int = option(32, "sequences per step", group="gradient", least=1)
    learning_rate: float = learning_rate_option(0.01, "gradient")
    seed: int = seed_option("seed of weights and sequences", "gradient")
    seeds: int = seeds_option(3, "gradient")
    run: str | None = option(
        None, "folder of an imdb_sentiment run, whose model reads", group="sentence"
    )
    text: str | None = option(
        None, "text to read (default: a sentence of our own)", group="sentence"
    )

    def checked(self) -> Self:
        """Choose the parts, and refuse values and runs that don't fit them."""
        read_values(self.values)
        parts = options.names(self.parts or self.usual_parts(), PARTS, "--parts")
        if self.run is not None:
            check_run(self.run, "imdb_sentiment")
        for part in OF_A_RUN:
            if part in parts and self.run is None:
                raise ValueError(f"--parts {part} needs --run, whose model reads")
        text = self.text
        if "sentence" not in parts and text is not None:
            raise ValueError("--text needs --run, and sentence among the --parts")
        if "sentence" in parts and text is None:
            text = TEXT
        if text is not None and not text.strip():
            raise ValueError(
                f"expected a --text with at least one word; received {text!r}"
            )
        return dataclasses.replace(self, parts=",".join(parts), text=text)

    def usual_parts(self) -> str:
        """Return the parts that the other options ask for."""
        if self.run is None:
            return "unit,gradient"
        return "sentence,negation" if self.text is None else "sentence"


def read_values(text: str) -> list[float]:
    """Parse the inputs of the one unit.

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
