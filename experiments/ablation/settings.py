"""The settings of the ablation, without Keras."""

from dataclasses import dataclass
from typing import Self

from experiments.common.experiment import Experiment
from experiments.common.options import check_source, flag_of, names, option
from experiments.common.settings import (
    MOST_SEEDS,
    MOST_UNITS,
    JobSettings,
    ResumeSettings,
    seeds_option,
)

TASKS = ("sentiment", "next_word", "adding")

REFERENCE = "lstm"  # what the others are compared with

SEARCH_SEED = 2**31  # beyond all seeds of the training runs after the search

CELLS = (
    REFERENCE,
    "peephole",
    "coupled",
    "full_gate_recurrence",
    "layer_norm",
    "projected",
    "zoneout",
    "slstm",
    "no_input_gate",
    "no_forget_gate",
    "no_output_gate",
    "no_input_activation",
    "no_output_activation",
    "gru",
    "simple_rnn",
)

DESCRIPTION = """\
Train variants of the LSTM, each without one of its parts or with one more, and GRU and
SimpleRNN, all with the same number of parameters, on three tasks, and report how far
each is from the plain LSTM:

  sentiment  is a film review positive or negative?
  next_word  the next word of a text
  adding     the sum of the two marked ones among many numbers

For each cell and task a search chooses learning rate and forget bias on validation
data: a stratified sample, always the same for the same options. Then several seeds are
trained, and compared with the LSTM's in pairs.

  python -m experiments.ablation --quick                       a first picture
  python -m experiments.ablation --name full --jobs 2          everything: hours
  python -m experiments.ablation --resume runs/ablation/full   continue it
"""

EPILOG = """\
Everything goes to OUTPUT/ablation/NAME: config.json, metrics.json, results.csv,
figures/*.png and report.html. Ctrl-C or SIGTERM ends the run after the current step and
still reports on what is done; --resume continues it, also after a kill or a power cut.
"""

# The defaults that `--quick` changes.
QUICK = {
    "data": "embedded",
    "text": "embedded",
    "cells": "lstm,coupled,no_forget_gate,no_output_activation,gru,simple_rnn",
    "trials": 2,
    "seeds": 3,
    "units": 20,
    "reviews": 4000,
    "maxlen": 48,
    "review_epochs": 5,
    "words": 20_000,
    "max_vocab": 1000,
    "text_epochs": 4,
    "lag": 30,
    "steps": 600,
    "lowest_rate": 0.006,
    "highest_rate": 0.02,
    "highest_forget_bias": 2.0,
}


@dataclass(frozen=True, kw_only=True)
class Settings(ResumeSettings, JobSettings):
    """The options of the ablation; `--help` explains them."""

    tasks: str = option(
        "all",
        f"all, or a comma-separated list from {','.join(TASKS)}",
        group="what to compare",
    )
    cells: str = option(
        "all",
        f"all, or a comma-separated list from {','.join(CELLS)}; {REFERENCE} is always "
        "among them",
        group="what to compare",
    )
    trials: int = option(
        4,
        "number of training runs in the search of each cell and task",
        group="what to compare",
        least=1,
        most=1000,
    )
    seeds: int = seeds_option(7, "what to compare")
    seed: int = option(
        0,
        "first seed of the training runs after the search",
        group="what to compare",
        least=0,
        most=SEARCH_SEED - MOST_SEEDS,
        compared=False,
    )
    quick: bool = option(
        False,
        "change the defaults to "
        + ", ".join(f"{flag_of(name)} {value}" for name, value in QUICK.items())
        + ": less than 5 minutes",
        group="what to compare",
        compared=False,
    )
    data: str = option(
        "auto",
        "reviews of the task sentiment; auto: real ones if they can be had; embedded: "
        "short generated ones; keras or a PATH: see experiments.imdb_sentiment",
        group="data",
    )
    reviews: int = option(
        8_000,
        "largest number of training reviews, and of test reviews",
        group="data",
        least=20,
    )
    maxlen: int = option(
        100, "number of words that are read of a review", group="data", least=1
    )
    text: str = option(
        "auto",
        "text of the task next_word; auto: the training reviews under "
        "$LSTM_KERAS_DATA, or else as embedded; embedded: the documentation that is "
        "part of every Python; imdb or a PATH: see experiments.next_word",
        group="data",
    )
    words: int = option(
        120_000, "largest number of words of that text", group="data", least=1000
    )
    max_vocab: int = option(
        2000, "largest size of its vocabulary", group="data", least=5
    )
    lag: int = option(
        50, "number of numbers in a sequence of the task adding", group="data", least=4
    )
    units: int = option(
        48,
        "units of the LSTM; the other cells get as many as make the models equally "
        "large",
        group="training",
        least=1,
        most=MOST_UNITS,
    )
    batch_size: int = option(32, "sequences per step", group="training", least=1)
    review_epochs: int = option(
        4, "number of epochs of the task sentiment", group="training", least=1
    )
    text_epochs: int = option(
        5, "number of epochs of the task next_word", group="training", least=1
    )
    steps: int = option(
        1500, "number of steps of the task adding", group="training", least=1
    )
    lowest_rate: float = option(
        0.0005,
        "lowest learning rate of Adam that the search may try",
        group="training",
        above=0,
        most=10,
    )
    highest_rate: float = option(
        0.03,
        "highest one, under which the rates are drawn log-uniformly",
        group="training",
        above=0,
        most=10,
    )
    highest_forget_bias: float = option(
        3.0,
        "highest bias of a new forget gate that it may try, from 0 on",
        group="training",
        least=0,
    )
    clip_norm: float = option(
        1.0, "largest global norm of the gradients", group="training", above=0
    )

    def checked(self) -> Self:
        """Refuse lists that cannot be read, and data that does not exist."""
        self.chosen_tasks()
        self.chosen_cells()
        check_source(self.data, ("auto", "keras", "embedded"), "--data")
        check_source(self.text, ("auto", "embedded", "imdb"), "--text")
        if self.lowest_rate > self.highest_rate:
            raise ValueError(
                "expected --lowest-rate of at most --highest-rate; received "
                f"{self.lowest_rate} and {self.highest_rate}"
            )
        return self

    def name_prefix(self) -> str:
        """Return the tasks."""
        return self.tasks

    def chosen_tasks(self) -> tuple[str, ...]:
        """Return the tasks.

        Raises:
            ValueError: The list cannot be read.
        """
        return TASKS if self.tasks == "all" else names(self.tasks, TASKS, "--tasks")

    def chosen_cells(self) -> tuple[str, ...]:
        """Return the cells, the reference first.

        Raises:
            ValueError: The list cannot be read.
        """
        if self.cells == "all":
            return CELLS
        chosen = names(self.cells, CELLS, "--cells")
        return (REFERENCE, *(cell for cell in chosen if cell != REFERENCE))


EXPERIMENT = Experiment(
    name="ablation",
    settings=Settings,
    description=DESCRIPTION,
    epilog=EPILOG,
    recipes={False: {}, True: QUICK},
    preset="quick",
)
