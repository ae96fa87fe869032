"""The command line of `sweep`, which answers before anything large is loaded."""

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from experiments.common import options
from experiments.common.command_line import readable_errors
from experiments.common.options import option
from experiments.common.settings import MOST_SEEDS, JobSettings, seed_option
from experiments.common.signals import sigterm_as_ctrl_c

USAGE = "%(prog)s EXPERIMENT --name NAME [options] [-- options of every run]"

DESCRIPTION = """\
Run imdb_sentiment or next_word with each recipe and seed, several at a time, and print
one table of all.

  python -m experiments.sweep imdb_sentiment --name s --recipes plain,tuned --seeds 3 \\
      --jobs 2
  python -m experiments.sweep next_word --name book --seeds 5 -- --text book.txt
  python -m experiments.sweep imdb_sentiment --name few --vary labelled=100,1000
"""

EPILOG = """\
The runs are OUTPUT/EXPERIMENT/NAME-RECIPE-SEED, with --vary NAME-RECIPE-VALUE-SEED. The
same command again skips those that are finished and resumes those that were interrupted
or killed. A run that fails is reported and takes no other along; the exit status is 1
then.
"""


@dataclass(frozen=True, kw_only=True)
class Settings(JobSettings):
    """The options of a sweep; `--help` explains them."""

    name: str | None = option(None, "how the names of the runs begin", group="runs")
    recipes: str = option("plain", "comma-separated list of recipes", group="runs")
    vary: str | None = option(
        None,
        "an option of the experiment and its values, such as labelled=100,1000: runs "
        "for each of them",
        group="runs",
    )
    seeds: int = option(
        3, "number of seeds, from --seed on", group="runs", least=1, most=MOST_SEEDS
    )
    seed: int = seed_option("first seed", "runs")
    output: str = option("runs", "parent folder of all runs", group="runs")


def main(argv: Sequence[str] | None = None) -> None:
    """Make the missing runs of a command line, and print the table."""
    argv, common = list(sys.argv[1:] if argv is None else argv), []
    if "--" in argv:
        cut = argv.index("--")
        argv, common = argv[:cut], argv[cut + 1 :]
    experiment = argv.pop(0) if argv and not argv[0].startswith("-") else None
    settings = options.parse(
        Settings,
        argv,
        program="python -m experiments.sweep",
        usage=USAGE,
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    with sigterm_as_ctrl_c(), readable_errors():
        importlib.import_module("experiments.sweep.runs").sweep(
            settings, experiment, common
        )
