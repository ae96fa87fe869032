"""The settings of the comparison, without Keras."""

import dataclasses
from dataclasses import dataclass
from typing import Self

from experiments.common import options
from experiments.common.experiment import Experiment
from experiments.common.options import option
from experiments.common.settings import (
    MOST_SEEDS,
    EngineSettings,
    RepeatSettings,
    seed_option,
)
from experiments.imdb_sentiment.settings import check_data
from experiments.speed.shapes import read_shapes

PARTS = ("equality", "training", "speed", "size")
DTYPES = ("float32", "float64", "mixed_bfloat16", "mixed_float16")

DESCRIPTION = """\
Compare lstm_keras.LSTM with keras.layers.LSTM on one backend (KERAS_BACKEND), and write
a report. The parts:

  equality  the largest differences of outputs, states and gradients, for the loop and
            every engine that the backend has; both layers also against NumPy, in
            float64
  training  both layers learn the sentiment of reviews from the same seeds: paired
            differences of accuracy and loss, with 95% intervals
  speed     time and peak memory of a step of training and of prediction
  size      parameters, bytes of the weights and of the saved model
"""

EPILOG = """\
The exit status is 1 if a case of the equality exceeds its tolerance; the report is
written all the same. Everything goes to OUTPUT/compare_lstm/NAME: config.json,
metrics.json, report.html, equality.csv, history.csv and figures/*.png.
"""

# The upper limits that `--quick` sets.
QUICK = {"seeds": 2, "epochs": 2, "limit": 1000, "rounds": 5}


@dataclass(frozen=True, kw_only=True)
class Settings(EngineSettings, RepeatSettings):
    """The options of the comparison; `--help` explains them."""

    parts: str = option(
        ",".join(PARTS), "comma-separated list of these", group="what to compare"
    )
    quick: bool = option(
        False,
        "equality only of whole sequences read forwards and without float16, at most "
        f"{QUICK['seeds']} seeds of {QUICK['epochs']} epochs on {QUICK['limit']:,} "
        f"reviews, at most {QUICK['rounds']} rounds, no memory: about 2 minutes",
        group="what to compare",
    )
    seed: int = seed_option(
        "seed of the equality's random numbers, and first seed of the training",
        "what to compare",
    )
    dtypes: str = option(
        ",".join(DTYPES), "comma-separated list of these", group="equality"
    )
    data: str = option(
        "embedded",
        "embedded: short made-up reviews; auto, keras or a PATH: real ones, as in "
        "experiments.imdb_sentiment",
        group="training",
    )
    limit: int | None = option(
        8000,
        "number of training reviews to use, and of test reviews",
        group="training",
        least=10,
    )
    maxlen: int = option(
        40,
        "words read of each review, counted from its end",
        group="training",
        least=1,
    )
    units: int = option(32, "size of the recurrent state", group="training", least=1)
    seeds: int = option(
        5,
        "number of training runs of each layer",
        group="training",
        least=1,
        most=MOST_SEEDS,
    )
    epochs: int = option(8, "number of epochs", group="training", least=1)
    batch_size: int = option(64, "reviews per step", group="training", least=1)
    learning_rate: float = option(
        0.005, "learning rate of Adam", group="training", above=0, most=10
    )
    shape: str = option(
        "64,200,32,64 64,200,32,64,masked",
        "B,T,D,H: batch size, steps, features, units; B,T,D,H,masked: with shorter "
        "sequences, padded on the left; several shapes are separated by spaces or "
        "semicolons",
        group="speed",
    )
    rounds: int = option(
        15, "number of times each step is timed at each shape", group="speed", least=1
    )
    memory: bool = option(
        True, "measure the memory of every engine at the first shape", group="speed"
    )

    def checked(self) -> Self:
        """Refuse what can't be read or found, and apply `--quick`."""
        options.names(self.parts, PARTS, "--parts")
        options.names(self.dtypes, DTYPES, "--dtypes")
        read_shapes(self.shape)
        check_data(self.data)
        return self.quicker() if self.quick else self

    def quicker(self) -> Self:
        """Return the settings within the limits of `--quick`."""
        limited = {
            name: min(getattr(self, name) or most, most) for name, most in QUICK.items()
        }
        dtypes = self.chosen_dtypes()
        if len(dtypes) > 1:
            dtypes = [name for name in dtypes if name != "mixed_float16"]
        limited |= {"dtypes": ",".join(dtypes), "memory": False}
        return dataclasses.replace(self, **limited)

    def chosen_dtypes(self) -> list[str]:
        """Return the dtypes of the equality, in the order of `DTYPES`."""
        return [name for name in DTYPES if name in self.dtypes.split(",")]


EXPERIMENT = Experiment(
    name="compare_lstm", settings=Settings, description=DESCRIPTION, epilog=EPILOG
)
