"""What can a recurrent layer remember, and for how long? SimpleRNN, GRU and LSTM."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments import (
    earlier,
    memory_grid,
    memory_report,
    memory_training,
    memory_worker,
    recurrent,
    report,
    runner,
    training,
)
from experiments.jobs import jobs_option, ray_option
from experiments.memory_grid import Grid, Outcomes, Progress
from experiments.memory_tasks import TASKS
from experiments.reproducible import (
    deterministic_option,
    fingerprint,
    make_deterministic,
)
from experiments.run_folder import (
    RunFolder,
    begin,
    name_option,
    output_option,
    overwrite_option,
    run_path,
)
from experiments.runner import configuration, option
from experiments.whole_files import write_csv, write_json

EXPERIMENT = "memory"

DESCRIPTION = """\
Train SimpleRNN, GRU, Keras's LSTM and ours, all with equally many parameters, on tasks
that need memory over growing lags, and report the longest lag that each solves:

  adding   the sum of the two marked ones among many numbers
  copying  ten symbols, to be recalled after a delay
  order    which two signals came, and in which order, among distractors

  python -m experiments.memory --quick                     a first picture
  python -m experiments.memory --name grid                 the whole grid: hours
  python -m experiments.memory --resume runs/memory/grid   go on after a stop
"""

EPILOG = """\
Everything goes to OUTPUT/memory/NAME: config.json, metrics.json, results.csv,
figures/*.png and report.html. Ctrl-C or SIGTERM ends the grid after the current step
and still reports on the trainings that are done; --resume goes on with it, also after a
kill or a power cut.
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
        most=recurrent.MOST_UNITS,
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
    resume: str | None = earlier.resume_option()
    repeat: str | None = earlier.repeat_option()
    checkpoint_seconds: float = earlier.checkpoint_option()
    jobs: int = jobs_option()
    ray: str | None = ray_option()
    engine: str = recurrent.engine_option()
    deterministic: bool = deterministic_option()


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
        preset="quick",
        recipes={False: {}, True: QUICK},
    )


def run(settings: Settings, command: str) -> Path:
    """Make the trainings that are missing, write the run folder, return its path."""
    grid = Grid.read(settings)
    path = run_path(settings.output, EXPERIMENT, settings.name)
    with RunFolder(path, settings.overwrite, settings.resume is not None) as folder:
        with runner.stage("Loading Keras"):
            if settings.deterministic:
                make_deterministic()
            environment = runner.environment()
        engines = {layer: engine(settings, layer) for layer in grid.layers}
        print(*engines.values(), sep="\n")
        config, data = configuration(EXPERIMENT, settings), data_facts(settings, grid)
        kept = begin(folder, config, command, environment, data)
        progress = Progress(kept)
        outcomes = progress.outcomes()
        ending = train_all(settings, grid, progress, outcomes)
        metrics = {
            "experiment": EXPERIMENT,
            "name": settings.name,
            "command": command,
            "interrupted": bool(ending),
            "ending": ending,
            "data": data,
            "engine": engines,
            "environment": environment,
            # Of all trainings, those before an interruption among them.
            "seconds": round(sum(one.seconds for one in outcomes.values()), 1),
            **memory_report.results(grid, outcomes, settings.units),
        }
        with runner.ctrl_c_ignored():
            write_run(folder, config, metrics, outcomes)
    print(memory_report.text(metrics, config, path))
    return path


def engine(settings: Settings, layer: str) -> str:
    """Return what computes a layer."""
    facts = recurrent.engine(memory_training.choice(settings, layer))
    return recurrent.described(facts).removeprefix("Layer: ")


def train_all(
    settings: Settings, grid: Grid, progress: Progress, outcomes: Outcomes
) -> str:
    """Make all trainings that are missing.

    Args:
        settings: Of each training.
        grid: Which trainings there are.
        progress: Where they are kept.
        outcomes: Those that there are; the others are added.

    Returns:
        A sentence on how it ended early, empty if it did not.

    Raises:
        KeyboardInterrupt: Ctrl-C came before any training was done.
    """
    if outcomes:
        print(f"Going on: {len(outcomes)} trainings are there already.")
    try:
        if settings.jobs > 1 or settings.ray is not None:
            died = memory_grid.run_in_processes(
                *(grid, memory_worker.command(progress), progress, outcomes),
                *(memory_report.line, settings.jobs, settings.ray),
            )
            if died and not outcomes:
                raise ValueError(f"no training could be made: {'; '.join(died)}")
            missing = died and grid.remaining(outcomes)
            return f"Some trainings are missing: {'; '.join(died)}." if missing else ""
        with training.stop_on_interrupt() as interrupt:
            train = memory_worker.trainer(settings, progress, interrupt)
            memory_grid.run(grid, train, progress, outcomes, memory_report.line)
    except KeyboardInterrupt:
        if not outcomes:
            raise
        left = len(grid.remaining(outcomes))
        return f"Interrupted: up to {left} of the trainings are missing."
    return ""


def data_facts(settings: Settings, grid: Grid) -> dict:
    """Return what `metrics.json` says about the data."""
    return {
        "source": "made as needed by NumPy's default generator, seeded for each "
        "training, and with other seeds for validation and test",
        "training": f"at most {settings.steps * settings.batch_size:,} sequences",
        "validation": f"{settings.test_size:,} sequences",
        "test": f"{settings.test_size:,} sequences",
        "fingerprint": fingerprint(
            array
            for task in grid.tasks
            for lag in grid.lags
            for array in memory_training.first_test_sequences(task, lag, settings.seed)
        ),
    }


def write_run(folder: Path, config: dict, metrics: dict, outcomes: Outcomes) -> None:
    """Write every file of the run into the folder."""
    write_json(folder / "config.json", config)
    write_json(folder / "metrics.json", metrics)
    write_csv(folder / "results.csv", memory_report.csv_rows(outcomes))
    pictures = report.save_figures(folder, memory_report.figures(metrics))
    page = memory_report.page(metrics, config, pictures)
    (folder / "report.html").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
