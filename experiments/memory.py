"""What can a recurrent layer remember, and for how long? SimpleRNN, GRU and LSTM."""

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments import (
    memory_grid,
    memory_report,
    memory_training,
    recurrent,
    report,
    runner,
)
from experiments.memory_grid import Grid, Outcomes, Progress
from experiments.memory_tasks import TASKS
from experiments.run_folder import (
    RunFolder,
    name_option,
    output_option,
    overwrite_option,
    run_path,
    write_csv,
    write_json,
)
from experiments.runner import option

EXPERIMENT = "memory"

DESCRIPTION = """\
Train SimpleRNN, GRU, Keras's LSTM and ours, all with equally many parameters, on tasks
that need memory over growing lags, and report the longest lag that each solves:

  adding   the sum of the two marked ones among many numbers
  copying  ten symbols, to be recalled after a delay
  order    which two signals came, and in which order, among distractors

  python -m experiments.memory --quick                     a first picture
  python -m experiments.memory --name grid                 the whole grid: hours
  python -m experiments.memory --name grid --resume        go on after Ctrl-C
"""

EPILOG = """\
Everything goes to OUTPUT/memory/NAME: config.json, metrics.json, results.csv,
figures/*.png and report.html. Until the grid is finished, the result of each training
is kept in OUTPUT/memory/.NAME.progress, from where --resume goes on.
"""

# What `--quick` changes among the defaults.
QUICK = {
    "tasks": "adding",
    "lags": "10,30,100",
    "learning_rates": "0.01",
    "seeds": 2,
    "steps": 1500,
    "give_up_after": 1,
}

# What says where results go, not what they are.
PLACES = ("output", "name", "overwrite", "resume", "quick")


@dataclass(frozen=True)
class Settings:
    """The options of the grid; `--help` explains them."""

    tasks: str = option(
        "all", f"all, or some of {','.join(TASKS)}, between commas", group="grid"
    )
    lags: str = option("10,25,50,100,200,400", "lags, between commas", group="grid")
    layers: str = option(
        ",".join(memory_report.LAYERS),
        "some of these; builtin is Keras's LSTM, custom lstm_keras.LSTM",
        group="grid",
    )
    seeds: int = option(
        3, "train so many times, with the seeds from --seed on", group="grid", least=1
    )
    seed: int = option(
        0,
        "the first, of weights and sequences",
        group="grid",
        least=0,
        most=2**32 - 1000,
    )
    give_up_after: int = option(
        2,
        "do not try a layer at longer lags once it has learned a task with no seed at "
        "so many lags in a row",
        group="grid",
        least=1,
    )
    quick: bool = option(
        False,
        "instead of the defaults "
        + ", ".join(f"--{k.replace('_', '-')} {v}" for k, v in QUICK.items())
        + ": 2 to 4 minutes",
        group="grid",
    )
    units: int = option(
        32,
        "of an LSTM; the other layers get as many as make them equally large",
        group="training",
        least=1,
    )
    steps: int = option(3000, "most steps of a training", group="training", least=1)
    batch_size: int = option(32, "sequences per step", group="training", least=1)
    learning_rates: str = option(
        "0.01,0.003",
        "of Adam, between commas: for each task, lag and layer they are tried in this "
        "order until all seeds learn, and the validation chooses among them",
        group="training",
    )
    clip_norm: float = option(
        1.0, "largest global norm of the gradients", group="training", above=0
    )
    check_every: int = option(
        100, "steps between two looks at the validation", group="training", least=1
    )
    test_size: int = option(
        1000,
        "sequences to test on, and others to validate on",
        group="training",
        least=2,
    )
    output: str = output_option()
    name: str | None = name_option("tasks and time")
    overwrite: bool = overwrite_option()
    resume: bool = option(
        False,
        "go on with the run of that name, which was interrupted, with the same options",
        group="output",
    )
    engine: str = recurrent.engine_option()


def main(argv: Sequence[str]) -> None:
    """Run the grid of the command line, and write its report."""
    runner.start(
        run,
        Settings,
        argv,
        experiment=EXPERIMENT,
        named_after="tasks",
        description=DESCRIPTION,
        epilog=EPILOG,
    )


def run(settings: Settings, command: str) -> Path:
    """Make the trainings that are missing, write the run folder, return its path."""
    if settings.quick:
        settings = dataclasses.replace(settings, **quick_choices(settings))
    grid = Grid.read(settings)
    path = run_path(settings.output, EXPERIMENT, settings.name)
    kept = path.with_name(f".{path.name}.progress")
    memory_grid.check_begin(kept, settings.resume, settings.overwrite)
    with RunFolder(path, settings.overwrite) as folder:
        with runner.stage("Loading Keras"):
            environment = runner.environment()
        engines = {layer: engine(settings, layer) for layer in grid.layers}
        print(*engines.values(), sep="\n")
        progress = Progress(kept, origin(settings, environment))
        outcomes = progress.begin(settings.resume)
        train_all(settings, grid, progress, outcomes, command)
        metrics = {
            "experiment": EXPERIMENT,
            "name": settings.name,
            # Who does it again begins anew.
            "command": " ".join(w for w in command.split(" ") if w != "--resume"),
            "data": data_facts(settings),
            "engine": engines,
            "environment": environment,
            # Of all trainings, those before an interruption among them.
            "seconds": round(sum(one.seconds for one in outcomes.values()), 1),
            **memory_report.results(grid, outcomes, settings.units),
        }
        with runner.ctrl_c_ignored():
            write_run(folder, settings, metrics, outcomes)
    progress.remove()
    print(memory_report.text(metrics, dataclasses.asdict(settings), path))
    return path


def quick_choices(settings: Settings) -> dict:
    """Return the settings that `--quick` changes: those that were left as they are."""
    defaults = Settings()
    return {
        name: value
        for name, value in QUICK.items()
        if getattr(settings, name) == getattr(defaults, name)
    }


def engine(settings: Settings, layer: str) -> str:
    """Return what computes a layer."""
    facts = recurrent.engine(memory_training.choice(settings, layer))
    return recurrent.described(facts).removeprefix("Layer: ")


def origin(settings: Settings, environment: dict) -> dict:
    """Return what the outcomes depend on."""
    decisive = {
        f"--{name.replace('_', '-')}": value
        for name, value in dataclasses.asdict(settings).items()
        if name not in PLACES
    }
    return {**decisive, "backend": environment["backend"], **environment["versions"]}


def train_all(
    settings: Settings,
    grid: Grid,
    progress: Progress,
    outcomes: Outcomes,
    command: str,
) -> None:
    """Make all trainings that are missing; Ctrl-C keeps what is done.

    Args:
        settings: Of each training.
        grid: Which trainings there are.
        progress: Where they are kept.
        outcomes: Those that there are; the others are added.
        command: What to type again after Ctrl-C.
    """
    if outcomes:
        print(f"Going on: {len(outcomes)} trainings are there already.")
    train = memory_training.Trainer(settings).train
    try:
        memory_grid.run(grid, train, progress, outcomes, memory_report.line)
    except KeyboardInterrupt:
        again = command if "--resume" in command else f"{command} --resume"
        if "--name" not in command:
            again += f" --name {settings.name}"
        print(
            f"\ninterrupted: {len(outcomes)} finished trainings are kept in "
            f"{progress.path}; go on with\n  {again}",
            file=sys.stderr,
        )
        sys.exit(130)  # the shells' number for it


def data_facts(settings: Settings) -> dict:
    """Return what `metrics.json` says about the data."""
    return {
        "source": "made as needed by NumPy's default generator, seeded for each "
        "training, and with other seeds for validation and test",
        "training": f"at most {settings.steps * settings.batch_size:,} sequences",
        "validation": f"{settings.test_size:,} sequences",
        "test": f"{settings.test_size:,} sequences",
    }


def write_run(
    folder: Path, settings: Settings, metrics: dict, outcomes: Outcomes
) -> None:
    """Write every file of the run into the folder."""
    config = {"experiment": EXPERIMENT, **dataclasses.asdict(settings)}
    write_json(folder / "config.json", config)
    write_json(folder / "metrics.json", metrics)
    write_csv(folder / "results.csv", memory_report.csv_rows(outcomes))
    pictures = report.save_figures(folder, memory_report.figures(metrics))
    page = memory_report.page(metrics, config, pictures)
    (folder / "report.html").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
