"""The settings of the memory experiment, without Keras."""

from dataclasses import dataclass
from typing import Self

from experiments.common.experiment import Experiment
from experiments.common.options import flag_of, option
from experiments.common.settings import (
    MOST_UNITS,
    EngineSettings,
    JobSettings,
    ResumeSettings,
    seed_option,
)
from experiments.memory.grid import TASK_NAMES, Grid

DESCRIPTION = """\
Train SimpleRNN, GRU, Keras's LSTM and ours, all with the same number of parameters, on
tasks that need memory over growing lags, and report the longest lag that each solves:

  adding   the sum of the two marked ones among many numbers
  copying  ten symbols, to be recalled after a delay
  order    which two signals came, and in which order, among distractors

  python -m experiments.memory --quick                     a first picture
  python -m experiments.memory --name grid                 the whole grid: hours
  python -m experiments.memory --resume runs/memory/grid   continue an interrupted run
"""

EPILOG = """\
Everything goes to OUTPUT/memory/NAME: config.json, metrics.json, results.csv,
figures/*.png and report.html. Ctrl-C or SIGTERM ends the grid after the current step
and still reports on the training runs that are done; --resume continues it, also after
a kill or a power cut.
"""

# The defaults that `--quick` changes.
QUICK = {
    "tasks": "adding",
    "lags": "10,30,100",
    "learning_rates": "0.01",
    "seeds": 2,
    "steps": 1500,
    "give_up_after": 1,
}


@dataclass(frozen=True, kw_only=True)
class Settings(EngineSettings, ResumeSettings, JobSettings):
    """The options of the grid; `--help` explains them."""

    tasks: str = option(
        "all",
        f"all, or a comma-separated list from {','.join(TASK_NAMES)}",
        group="grid",
    )
    lags: str = option(
        "10,25,50,100,200,400", "comma-separated list of lags", group="grid"
    )
    layers: str = option(
        "simple_rnn,gru,builtin,custom",
        "comma-separated list from these; builtin is Keras's LSTM, custom "
        "lstm_keras.LSTM",
        group="grid",
    )
    seeds: int = option(
        3,
        "number of seeds, from --seed on, each with a training run of its own",
        group="grid",
        least=1,
        compared=False,
    )
    seed: int = seed_option("first seed, of weights and sequences", "grid")
    give_up_after: int = option(
        2,
        "do not try a layer at longer lags once it has learned a task with no seed at "
        "this number of lags in a row",
        group="grid",
        least=1,
    )
    quick: bool = option(
        False,
        "change the defaults to "
        + ", ".join(f"{flag_of(name)} {value}" for name, value in QUICK.items())
        + ": 2 to 4 minutes",
        group="grid",
        compared=False,
    )
    units: int = option(
        32,
        "units of an LSTM; the other layers get as many as make them equally large",
        group="training",
        least=1,
        most=MOST_UNITS,
    )
    steps: int = option(
        3000,
        "largest number of steps of a training run, a multiple of --check-every",
        group="training",
        least=1,
    )
    batch_size: int = option(32, "sequences per step", group="training", least=1)
    learning_rates: str = option(
        "0.01,0.003",
        "comma-separated list of learning rates of Adam: for each task, lag and layer "
        "they are tried in this order until all seeds learn, and the validation "
        "chooses among them",
        group="training",
    )
    clip_norm: float = option(
        1.0, "largest global norm of the gradients", group="training", above=0
    )
    check_every: int = option(
        100, "steps between two validations", group="training", least=1
    )
    test_size: int = option(
        1000,
        "number of sequences to test on, and of others to validate on",
        group="training",
        least=2,
    )

    def checked(self) -> Self:
        """Refuse lists that cannot be read, and steps that no check would follow."""
        Grid.read(self)
        if self.steps > self.check_every and self.steps % self.check_every:
            raise ValueError(
                "expected --steps as a multiple of --check-every; received "
                f"{self.steps} and {self.check_every}"
            )
        return self

    def name_prefix(self) -> str:
        """Return the tasks."""
        return self.tasks


EXPERIMENT = Experiment(
    name="memory",
    settings=Settings,
    description=DESCRIPTION,
    epilog=EPILOG,
    recipes={False: {}, True: QUICK},
    preset="quick",
)
