"""The settings of the comparison, without Keras."""

import dataclasses
from dataclasses import dataclass
from typing import Self

from experiments.common import options
from experiments.common.experiment import Experiment
from experiments.common.options import option
from experiments.common.settings import (
    EngineSettings,
    RepeatSettings,
    learning_rate_option,
    seed_option,
    seeds_option,
    size_option,
)
from experiments.imdb_sentiment.settings import NAMED_DATA, limit_option, maxlen_option
from experiments.speed.shapes import (
    memory_option,
    read_shapes,
    rounds_option,
    shape_option,
)

PARTS = ("equality", "training", "speed", "size")
DTYPES = ("float32", "float64", "mixed_bfloat16", "mixed_float16")

DESCRIPTION = """\
Compare lstm_keras.LSTM with keras.layers.LSTM on one backend (KERAS_BACKEND), and write
a report. The parts:

  equality  largest differences of outputs, states and gradients, for every engine of
            the backend; in float64 of both layers from the NumPy reference, too
  training  paired differences of accuracy and loss, with 95% intervals, of sentiment
            models trained from the same seeds
  speed     time and peak memory of a training step and of a prediction
  size      parameters, bytes of the weights and of the saved model
"""

EPILOG = """\
The exit status is 1 if a case of the equality exceeds its tolerance; the report is
written in any case. Everything goes to OUTPUT/compare_lstm/NAME: config.json,
metrics.json, report.html, equality.csv, history.csv and figures/*.png.
"""

# The upper limits that `--quick` sets.
QUICK = {"seeds": 2, "epochs": 2, "limit": 1000, "rounds": 5}


@dataclass(frozen=True, kw_only=True)
class Settings(EngineSettings, RepeatSettings):
    """The options of the comparison; `--help` explains them."""

    parts: str = option(
        ",".join(PARTS), "comma-separated list of parts", group="what to compare"
    )
    quick: bool = option(
        False,
        "about 2 minutes: equality of whole sequences read forwards, without "
        f"mixed_float16; at most {QUICK['seeds']} seeds of {QUICK['epochs']} epochs on "
        f"{QUICK['limit']:,} reviews; at most {QUICK['rounds']} rounds, no memory",
        group="what to compare",
    )
    seed: int = seed_option(
        "seed of the equality's random numbers, and first seed of the training",
        "what to compare",
    )
    dtypes: str = option(
        ",".join(DTYPES), "comma-separated list of dtype policies", group="equality"
    )
    data: str = option(
        "embedded",
        "embedded: short generated reviews; auto, keras or a PATH: real ones, as in "
        "experiments.imdb_sentiment",
        group="training",
    )
    limit: int | None = limit_option(8000, "training")
    maxlen: int = maxlen_option(40, "training")
    units: int = size_option(32, "size of the recurrent state", "training")
    seeds: int = seeds_option(5, "training")
    epochs: int = option(8, "number of epochs", group="training", least=1)
    batch_size: int = option(64, "reviews per step", group="training", least=1)
    learning_rate: float = learning_rate_option(0.005)
    shape: str = shape_option("64,200,32,64 64,200,32,64,masked", "speed")
    rounds: int = rounds_option(15, "speed")
    memory: bool = memory_option("speed")

    def checked(self) -> Self:
        """Refuse invalid lists and shapes and missing data, and apply `--quick`."""
        options.names(self.parts, PARTS, "--parts")
        options.names(self.dtypes, DTYPES, "--dtypes")
        read_shapes(self.shape)
        options.check_source(self.data, NAMED_DATA, "--data")
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
