"""The command line of `summarise`, which answers before pandas is loaded."""

import argparse
import importlib
import os
from collections.abc import Sequence
from pathlib import Path

from experiments.common.command_line import readable_errors
from experiments.common.options import Parser

DESCRIPTION = """\
Gather runs of one experiment into one table. Runs whose settings are equal but for the
seeds are a group; for each group and measure the table has mean, standard deviation,
and the 95% bootstrap interval of the mean over the seeds.

  python -m experiments.summarise runs/imdb_sentiment
      all runs in a folder
  python -m experiments.summarise runs/imdb_sentiment/a runs/imdb_sentiment/b
      some runs, such as one for each seed
  python -m experiments.summarise runs/imdb_sentiment/custom \\
      --against runs/imdb_sentiment/builtin
      two sets, seed by seed: how do they differ, and may that be chance?
  python -m experiments.summarise runs/imdb_sentiment --by labelled \\
      --measure "test accuracy" --figure few_labels.svg
      a curve for each other setting
"""

EPILOG = """\
A difference is the first set minus the one given by --against. It is taken seed by
seed: split, initial weights and order follow the seed, so what two runs share cancels.
Sets of different data are refused; other versions, engines and commits are named.

The bootstrap draws seeds with replacement, and is too narrow for few of them: over 2,
3, 5 or 10 normally distributed values it contains the true mean in about 50, 75, 83 or
90% of all cases. So Student's interval, which is not, is also used to judge whether two
sets differ.

What Ctrl-C ended is left out, and the table says so: of imdb_sentiment the seed that
was training, otherwise the run.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table that a command line asks for, and write it to files."""
    arguments = parser().parse_args(argv)
    with readable_errors():
        check_files(arguments)
        table = importlib.import_module("experiments.summarise.table")
        found = table.of(arguments.runs, arguments.against, arguments.interrupted)
        if arguments.figure is not None:  # first, since it may be refused
            curves = importlib.import_module("experiments.summarise.curves")
            curves.write(
                arguments.runs,
                arguments.by,
                arguments.measure,
                Path(arguments.figure),
                arguments.interrupted,
            )
        table.show(found)
        if arguments.csv is not None:
            table.write_csv(found, Path(arguments.csv))
        if arguments.markdown is not None:
            table.write_markdown(found, Path(arguments.markdown))


def parser() -> Parser:
    """Return the command line."""
    found = Parser(
        prog="python -m experiments.summarise", description=DESCRIPTION, epilog=EPILOG
    )
    add = found.add_argument
    add("runs", metavar="PLACE", nargs="+", help="a run, or a folder with runs below")
    add("--against", metavar="PLACE", nargs="+", help="compare with these runs")
    add(
        "--include-interrupted",
        dest="interrupted",
        action="store_true",
        help="count interrupted runs, too",
    )
    add("--csv", metavar="FILE", help="write the table as CSV, with all digits")
    add("--markdown", metavar="FILE", help="write table and notes as Markdown")
    add("--figure", metavar="FILE", help="draw --measure over --by, as .svg or .png")
    add("--by", metavar="SETTING", help="the setting, of numbers, along the figure")
    add(
        "--measure",
        metavar="NAME",
        action="append",
        help="the measure up the figure, by its name in the table; again for others",
    )
    add("--overwrite", action="store_true", help="replace FILE if it exists")
    return found


def check_files(arguments: argparse.Namespace) -> None:
    """Refuse files that can't be written, before anything is read.

    Raises:
        ValueError: Two files are the same, or a figure lacks what to draw.
        FileNotFoundError: There is no folder for one, or it is a folder itself.
        FileExistsError: It exists and must not be replaced.
    """
    given = (arguments.csv, arguments.markdown, arguments.figure)
    files = [Path(name) for name in given if name is not None]
    if len({path.resolve() for path in files}) < len(files):
        raise ValueError(
            f"expected different files; received {' and '.join(map(str, files))}"
        )
    drawn = (arguments.figure, arguments.by, arguments.measure)
    if any(drawn) and (not all(drawn) or arguments.against):
        raise ValueError(
            "expected --figure, --by and --measure together, without --against; "
            "received other options"
        )
    if arguments.figure and Path(arguments.figure).suffix not in (".svg", ".png"):
        raise ValueError(
            f"expected a figure named .svg or .png; received {arguments.figure}"
        )
    for path in files:
        if path.is_dir() or not path.parent.is_dir():
            raise FileNotFoundError(
                f"expected a file in an existing folder; received {path}"
            )
        if os.path.lexists(path) and not arguments.overwrite:
            raise FileExistsError(f"{path} exists already (--overwrite replaces it)")
