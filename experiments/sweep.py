"""Recipes times seeds of one experiment: a run for each, and one table at the end."""

import importlib
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from experiments import jobs, runner, summarise
from experiments.jobs import jobs_option, ray_option
from experiments.run_folder import origin_of, output_option, run_path
from experiments.runner import option
from experiments.whole_files import read_json

EXPERIMENTS = ("imdb_sentiment", "next_word")

# Where a run lies, and how it is kept: these do not make it another one.
PLACES = {"output", "name", "overwrite", "checkpoint_seconds", "repeat"}

# What the sweep says of each of its runs.
TAKEN = ("recipe", "seed", "seeds", "name", "output", "overwrite", "resume", "repeat")

USAGE = "%(prog)s EXPERIMENT --name NAME [options] [-- options of every run]"

DESCRIPTION = """\
Run imdb_sentiment or next_word with each recipe and seed, several at a time, and print
one table of all.

  python -m experiments.sweep imdb_sentiment --name s --recipes plain,tuned --seeds 3 \\
      --jobs 2
  python -m experiments.sweep next_word --name book --seeds 5 -- --text book.txt
"""

EPILOG = """\
The runs are OUTPUT/EXPERIMENT/NAME-RECIPE-SEED. The same command again leaves out those
that are finished and goes on with those that were interrupted or killed. A run that
dies is reported and takes no other along; the exit status is 1 then.
"""


@dataclass(frozen=True)
class Settings:
    """The options of the sweep; `--help` explains them."""

    name: str | None = option(None, "how the names of the runs begin", group="runs")
    recipes: str = option("plain", "recipes, between commas", group="runs")
    seeds: int = option(3, "so many, from --seed on", group="runs", least=1, most=1000)
    seed: int = option(0, "the first one", group="runs", least=0, most=2**32 - 1000)
    output: str = output_option()
    jobs: int = jobs_option()
    ray: str | None = ray_option()


def main(argv: Sequence[str]) -> None:
    """Make the runs of the command line that are missing, and print the table."""
    argv, common = list(argv), []
    if "--" in argv:
        cut = argv.index("--")
        argv, common = argv[:cut], argv[cut + 1 :]
    experiment = argv.pop(0) if argv and not argv[0].startswith("-") else None
    settings = runner.parse(
        Settings,
        argv,
        program="python -m experiments.sweep",
        usage=USAGE,
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    with runner.sigterm_as_ctrl_c(), runner.readable_errors():
        sweep(settings, experiment, common)


def sweep(settings: Settings, experiment: str | None, common: Sequence[str]) -> None:
    """Make what is missing, and print the table.

    Raises:
        ValueError: The options are not those of the experiment, or a run of that name
            was made with others.
        SystemExit: With status 1 if a run died.
    """
    if experiment not in EXPERIMENTS or settings.name is None:
        raise ValueError(
            f"expected one of {', '.join(EXPERIMENTS)}, and --name; received "
            f"{experiment} and {settings.name}"
        )
    wanted = runs(settings, experiment, common)
    commands = {}
    for path, argv in wanted.items():
        if command := command_of(experiment, path, argv):
            commands[path.name] = (f"experiments.{experiment}", *command)
    print(f"{len(wanted)} runs, {len(wanted) - len(commands)} are there already")
    died = []
    ended = jobs.run_all(commands, settings.jobs, settings.ray)
    for count, one in enumerate(ended, start=1):
        how = one.how if one.status else "done"
        print(f"{count}/{len(commands)}  {one.name} {how}", flush=True)
        died += [one.name] if one.status else []
    finished = [str(path) for path in wanted if (path / "metrics.json").is_file()]
    if finished:
        print()
        summarise.main(finished)
    if died:
        print(f"\nNot finished: {', '.join(died)}; the same command goes on with them.")
        sys.exit(1)


def runs(
    settings: Settings, experiment: str, common: Sequence[str]
) -> dict[Path, list[str]]:
    """Return the folder of each run, and its command line.

    Raises:
        ValueError: A recipe is unknown, or an option is the sweep's.
    """
    module = importlib.import_module(f"experiments.{experiment}")
    recipes = tuple(dict.fromkeys(settings.recipes.split(",")))
    if unknown := set(recipes) - set(module.RECIPES):
        raise ValueError(
            f"expected recipes of {', '.join(module.RECIPES)}, between commas; "
            f"received {', '.join(sorted(unknown))}"
        )
    # Ends the program if they are wrong.
    runner.parse(module.Settings, common, program=experiment, description="")
    if taken := runner.given(module.Settings, common) & set(TAKEN):
        raise ValueError(
            f"expected options behind -- that are not the sweep's; received "
            f"{', '.join(sorted(taken))}"
        )
    found = {}
    for recipe in recipes:
        for seed in range(settings.seed, settings.seed + settings.seeds):
            name = f"{settings.name}-{recipe}-{seed}"
            path = run_path(settings.output, experiment, name)
            places = (f"--output={settings.output}", f"--name={name}")
            found[path] = [f"--recipe={recipe}", f"--seed={seed}", *places, *common]
    return found


def command_of(experiment: str, path: Path, argv: Sequence[str]) -> Sequence[str]:
    """Return what a run still needs: its command, `--resume`, or nothing.

    Raises:
        ValueError: There is a run of that name that was made with other options.
    """
    module = importlib.import_module(f"experiments.{experiment}")
    chosen = runner.parse(
        *(module.Settings, argv),
        program=experiment,
        description="",
        recipes=module.RECIPES,
    )
    try:
        begun, command = origin_of(path)["settings"], ("--resume", str(path))
    except FileNotFoundError:
        if not path.exists():
            return argv
        begun, command = read_json(path / "config.json"), ()
    differ = [
        name
        for name, value in asdict(chosen).items()
        if name not in PLACES and name in begun and begun[name] != value
    ]
    if differ:
        raise ValueError(
            f"expected {path} as a run of this sweep; received one with another "
            f"{', '.join(differ)} (choose another --name)"
        )
    return command


if __name__ == "__main__":
    main(sys.argv[1:])
