"""Is lstm_keras.LSTM the same as keras.layers.LSTM, and what does it cost?"""

import dataclasses
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments import (
    compare_costs,
    compare_equality,
    compare_report,
    compare_training,
    earlier,
    recurrent,
    report,
    runner,
    sentiment,
    speed_shapes,
)
from experiments.run_folder import (
    RunFolder,
    name_option,
    output_option,
    overwrite_option,
    run_path,
)
from experiments.runner import configuration, option
from experiments.whole_files import write_csv, write_json

EXPERIMENT = "compare_lstm"

PARTS = ("equality", "training", "speed", "size")

DESCRIPTION = """\
Compare lstm_keras.LSTM with keras.layers.LSTM on one backend (KERAS_BACKEND), and write
a report. The parts:

  equality  the largest differences of outputs, states and gradients, for the loop and
            every engine that the backend has; both also against NumPy, in float64
  training  both learn the sentiment of reviews from the same seeds: paired differences
            of accuracy and loss, with 95% intervals
  speed     time and peak memory of a step of training and of prediction, in turn
  size      parameters, bytes of the weights and of the saved model
"""

EPILOG = """\
The exit status is 1 if a case of the equality exceeds its tolerance; the report is
written all the same. Everything goes to OUTPUT/compare_lstm/NAME: config.json,
metrics.json, report.html, equality.csv, history.csv and figures/*.png.
"""

# What `--quick` makes of these settings, where it is less.
QUICK = {"seeds": 2, "epochs": 2, "limit": 1000, "rounds": 5}


@dataclass(frozen=True)
class Settings:
    """The options of the comparison; `--help` explains them."""

    parts: str = option(",".join(PARTS), "some of these, between commas", group="what")
    quick: bool = option(
        False,
        "equality without other directions and without float16, at most "
        f"{QUICK['seeds']} seeds of {QUICK['epochs']} epochs on {QUICK['limit']:,} "
        f"reviews, at most {QUICK['rounds']} rounds, no memory: in about 2 minutes",
        group="what",
    )
    seed: int = option(
        0,
        "of the equality's random numbers, and the first of the training",
        group="what",
        least=0,
        most=2**32 - 1000,
    )
    dtypes: str = option(
        ",".join(compare_equality.DTYPES),
        "some of these, between commas",
        group="equality",
    )
    data: str = option(
        "embedded",
        "embedded: short made-up reviews; auto, keras or a PATH: real ones, as in "
        "experiments.imdb_sentiment",
        group="training",
    )
    limit: int | None = option(
        8000,
        "use only so many training and so many test reviews",
        group="training",
        least=10,
    )
    maxlen: int = option(
        40, "words read of each review, from its end", group="training", least=1
    )
    units: int = option(32, "size of the recurrent state", group="training", least=1)
    seeds: int = option(
        5, "train each layer so many times", group="training", least=1, most=1000
    )
    epochs: int = option(8, "passes over the data", group="training", least=1)
    batch_size: int = option(64, "reviews per step", group="training", least=1)
    learning_rate: float = option(0.005, "of Adam", group="training", above=0, most=10)
    engine: str = recurrent.engine_option()
    shape: str = option(
        "64,200,32,64 64,200,32,64,masked",
        "B,T,D,H: batch size, steps, features, units; B,T,D,H,masked: with shorter "
        "sequences, padded on the left; several of them between spaces or semicolons",
        group="speed",
    )
    rounds: int = option(
        15, "how often each step is timed at each shape", group="speed", least=1
    )
    memory: bool = option(
        True, "measure the memory of every way at the first shape", group="speed"
    )
    output: str = output_option()
    name: str | None = name_option("date and time")
    overwrite: bool = overwrite_option()
    repeat: str | None = earlier.repeat_option()


def main(argv: Sequence[str]) -> None:
    """Compare the layers as the command line says, and write the report."""
    runner.start(
        run,
        Settings,
        argv,
        experiment=EXPERIMENT,
        named_after=None,
        description=DESCRIPTION,
        epilog=EPILOG,
    )


def run(settings: Settings, command: str) -> Path:
    """Compare what was asked for, and write the run folder; return its path."""
    check(settings)
    if settings.quick:
        settings = quicker(settings)
    path = run_path(settings.output, EXPERIMENT, settings.name)
    with RunFolder(path, settings.overwrite) as folder:
        start = time.perf_counter()
        found = compare(settings)
        metrics = {
            "experiment": EXPERIMENT,
            "name": settings.name,
            "command": command,
            "environment": runner.environment(),
            "seconds": round(time.perf_counter() - start, 1),
            **found,
        }
        with runner.ctrl_c_ignored():
            write_run(folder, settings, metrics)
    print(compare_report.text(metrics, path))
    return path


def check(settings: Settings) -> None:
    """Refuse options that can't be read, before anything is loaded.

    Raises:
        ValueError: Parts, dtypes or shapes are not what they may be.
        FileNotFoundError: The data is nowhere.
    """
    names_of(settings.parts, PARTS)
    names_of(settings.dtypes, compare_equality.DTYPES)
    speed_shapes.read_shapes(settings.shape)
    sentiment.check_data(settings.data)


def names_of(text: str, known: Sequence[str]) -> list[str]:
    """Return the names between commas, in the order of those that are known.

    Raises:
        ValueError: One is unknown.
    """
    names = set(text.split(","))
    if not names <= set(known):
        raise ValueError(f"expected some of {','.join(known)}; received {text!r}")
    return [name for name in known if name in names]


def quicker(settings: Settings) -> Settings:
    """Return the settings with what `--quick` changes."""
    fewer = {
        name: min(getattr(settings, name) or most, most) for name, most in QUICK.items()
    }
    dtypes = names_of(settings.dtypes, compare_equality.DTYPES)
    if len(dtypes) > 1:
        dtypes = [name for name in dtypes if name != "mixed_float16"]
    return dataclasses.replace(settings, **fewer, dtypes=",".join(dtypes), memory=False)


def compare(settings: Settings) -> dict:
    """Return what `metrics.json` says of each part, and of data and engine.

    The speed comes first: its processes must start before this one loads Keras.
    """
    parts = names_of(settings.parts, PARTS)
    found = {"data": {}, "engine": {}}
    if "speed" in parts:
        found["speed"] = compare_costs.speed(settings)
    with runner.stage("Loading Keras"):
        import lstm_keras  # noqa: F401
    # It warns of functions that are traced anew: here each is another case.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    _, ours = compare_training.model_settings(settings)
    found["engine"] = recurrent.engine(ours)
    if "equality" in parts:
        dtypes = names_of(settings.dtypes, compare_equality.DTYPES)
        found["equality"] = compare_equality.equality(
            dtypes, settings.seed, settings.quick
        )
    if "size" in parts:
        found["size"] = compare_costs.sizes(settings)
    if "training" in parts:
        found["training"] = compare_training.parity(settings)
        found["data"] = found["training"]["data"]
    return found


def write_run(folder: Path, settings: Settings, metrics: dict) -> None:
    """Write every file of the run into the folder."""
    config = configuration(EXPERIMENT, settings)
    write_json(folder / "config.json", config)
    write_json(folder / "metrics.json", compare_report.for_json(metrics))
    if "equality" in metrics:
        write_csv(folder / "equality.csv", metrics["equality"])
    training = metrics.get("training")
    if training and training["runs"]:
        rows = compare_training.history_rows(training["histories"], settings.seed)
        write_csv(folder / "history.csv", rows)
    drawn = compare_report.figures(metrics)
    pictures = report.save_figures(folder, drawn) if drawn else []
    page = compare_report.page(metrics, config, pictures)
    (folder / "report.html").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
