"""Many runs in one table: means over the seeds, and two sets of runs side by side."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments import runner, summary, summary_table
from experiments.summary_table import Table
from experiments.whole_files import whole_file, write_csv

DESCRIPTION = """\
Gather runs of imdb_sentiment, next_word or memory into one table. Runs whose settings
are equal but for the seeds are a group; of each group and measure the table has mean,
standard deviation, and the 95% bootstrap interval of the mean over the seeds.

  python -m experiments.summarise runs/imdb_sentiment
      all runs of a folder
  python -m experiments.summarise runs/imdb_sentiment/a runs/imdb_sentiment/b
      some runs, such as one for each seed
  python -m experiments.summarise runs/imdb_sentiment/custom \\
      --against runs/imdb_sentiment/builtin
      two sets, seed by seed: how do they differ, and may that be chance?
"""

EPILOG = """\
A difference is the first set minus the one behind --against. It is taken seed by seed:
split, initial weights and order follow the seed, so what two runs share cancels. Sets
of different data are refused; other versions, engines and commits are named.

The bootstrap draws seeds with replacement, and is too narrow for few of them: over 2,
3, 5 or 10 normally distributed values it holds the true mean in about 50, 75, 83 or 90%
of all cases. So Student's interval, which is not, has a say in whether two sets differ.

What Ctrl-C ended is left out, and the table says so: of imdb_sentiment the seed that
was training, else the run.
"""


def main(argv: Sequence[str]) -> None:
    """Summarise the runs of the command line."""
    arguments = parser().parse_args(argv)
    with runner.readable_errors():
        check_files(arguments)
        table = table_of(arguments)
        print(summary_table.text(table))
        if arguments.csv is not None:
            write_csv(Path(arguments.csv), table.rows)
        if arguments.markdown is not None:
            with whole_file(Path(arguments.markdown)) as file:
                file.write(summary_table.markdown(table))


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    found = argparse.ArgumentParser(
        prog="python -m experiments.summarise",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = found.add_argument
    add("runs", metavar="RUN", nargs="+", help="a run folder, or a folder of runs")
    add("--against", metavar="RUN", nargs="+", help="compare with these, seed by seed")
    add("--include-interrupted", action="store_true", help="do not leave them out")
    add("--csv", metavar="FILE", help="write the table as CSV, with all digits")
    add("--markdown", metavar="FILE", help="write table and notes as Markdown")
    add("--overwrite", action="store_true", help="replace FILE if it exists")
    return found


def check_files(arguments: argparse.Namespace) -> None:
    """Refuse files that can't be written, before anything is read.

    Raises:
        ValueError: Both files are the same.
        FileNotFoundError: There is no folder for one, or it is a folder itself.
        FileExistsError: It exists and is not to be replaced.
    """
    given = (arguments.csv, arguments.markdown)
    files = [Path(name) for name in given if name is not None]
    if len({path.resolve() for path in files}) < len(files):
        raise ValueError(f"expected two files; received {files[0]} for both")
    for path in files:
        if path.is_dir() or not path.parent.is_dir():
            raise FileNotFoundError(
                f"expected a file in an existing folder; received {path}"
            )
        if os.path.lexists(path) and not arguments.overwrite:
            raise FileExistsError(
                f"expected a new file; {path} exists already (--overwrite replaces it)"
            )


def table_of(arguments: argparse.Namespace) -> Table:
    """Return the table that was asked for.

    Raises:
        ValueError: The runs can't be read, or do not go together.
        FileNotFoundError: They are not there.
    """
    first = summary.find_runs(arguments.runs)
    second = summary.find_runs(arguments.against or ())
    both = {path.resolve() for path in first} & {path.resolve() for path in second}
    if both:
        raise ValueError(f"expected each run in one set; received {min(both)} in both")
    trials = summary.read_trials([*first, *second])
    if not second:
        groups = summary.groups(trials)
        return summary_table.summarised(groups, arguments.include_interrupted)
    sets = [[one for one in trials if one.run.path in s] for s in (first, second)]
    return summary_table.compared(
        *map(summary.only_group, sets), arguments.include_interrupted
    )


if __name__ == "__main__":
    main(sys.argv[1:])
