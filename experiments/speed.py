"""How fast is it? Every way through the LSTM, reviews to ids, learning, writing."""

import dataclasses
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments import (
    report,
    runner,
    speed_backends,
    speed_language,
    speed_report,
    speed_shapes,
    speed_text,
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

EXPERIMENT = "speed"

DESCRIPTION = """\
Time the parts of the package, and write a report:

  layers      training and prediction of a small model with every way through an LSTM
              that each installed backend has, in turn in one process for each backend,
              beside Keras's layer and, on torch, plain torch.nn.LSTM
  text        review texts to padded word ids, with each tokenizer and with those of
              scikit-learn and Keras: on the clock, and in processor time, which a busy
              machine does not stretch; how long a script and our import take to start
  prefixes    learning a small text by heart: one pass per sentence against the usual
              tutorial's expansion into prefixes, to the same accuracy; both learn every
              token from the first to the end of the sentence
  generation  a new token after prompts of several lengths
"""

EPILOG = """\
Everything goes to OUTPUT/speed/NAME: config.json, metrics.json and report.html, and of
the layers results.csv and figures/*.png.
"""


@dataclass(frozen=True)
class Settings:
    """The options of the benchmark; `--help` explains them."""

    measure: str = option(
        "layers",
        "what to time",
        group="what",
        choices=("layers", "text", "prefixes", "generation"),
    )
    shape: str = option(
        speed_shapes.DEFAULT,
        "B,T,D,H: batch size, steps, features, units; B,T,D,H,masked: with shorter "
        "sequences, padded on the left; several of them between spaces or semicolons",
        group="layers",
    )
    backends: str | None = option(
        None,
        "some of tensorflow,jax,torch (without it: all that are installed); growth is "
        "that of the first",
        group="layers",
    )
    rounds: int = option(
        20, "how often each step is timed at each shape", group="layers", least=1
    )
    memory: bool = option(
        True, "measure the memory of every way at the first shape", group="layers"
    )
    growth: bool = option(
        True,
        "time the first backend while B, T and H double, in at most "
        f"{speed_backends.GROWTH_ROUNDS} rounds",
        group="layers",
    )
    quick: bool = option(
        False,
        f"at most {speed_backends.QUICK_ROUNDS} rounds, three shapes unless --shape "
        "names others, no memory, no growth: about 2 minutes",
        group="layers",
    )
    flush_denormal: bool = option(
        False,
        "let torch take numbers next to zero for zero: gradients that fade to such "
        "denormal numbers slow a processor down",
        group="layers",
    )
    data: str = option(
        "auto",
        "auto, embedded, or the path of an IMDB archive, folder or CSV file",
        group="text",
    )
    reviews: int = option(
        50_000,
        "number of texts; the reviews are repeated where there are fewer",
        group="text",
        least=1,
    )
    maxlen: int = option(200, "padded length", group="text", least=1)
    text: str = option(
        "auto",
        "a text file, a sentence a line; auto: next_word/faq.txt under "
        "$LSTM_KERAS_DATA, or else some sentences of the embedded documentation",
        group="prefixes",
    )
    accuracy: float = option(
        0.955,
        "share of the prefixes whose next word the model must know; less is asked if "
        "no model can know so many",
        group="prefixes",
        above=0,
        most=1,
    )
    epochs: int = option(100, "most passes over the text", group="prefixes", least=2)
    seeds: int = option(3, "train so many times", group="prefixes", least=1)
    output: str = output_option()
    name: str | None = name_option("measure and time")
    overwrite: bool = overwrite_option()


def main(argv: Sequence[str]) -> None:
    """Run the benchmark of the command line, and write its report."""
    runner.start(
        run,
        Settings,
        argv,
        experiment=EXPERIMENT,
        named_after="measure",
        description=DESCRIPTION,
        epilog=EPILOG,
    )


def run(settings: Settings, command: str) -> Path:
    """Time what was asked for, and write the run folder; return its path."""
    check(settings)
    if settings.quick:
        fewer = speed_backends.quick_choices(settings.shape, settings.rounds)
        settings = dataclasses.replace(settings, **fewer)
    measure = {
        "layers": speed_backends.layers,
        "text": speed_text.text,
        "prefixes": speed_language.prefixes,
        "generation": speed_language.generation,
    }[settings.measure]
    path = run_path(settings.output, EXPERIMENT, settings.name)
    with RunFolder(path, settings.overwrite) as folder:
        start = time.perf_counter()
        found = measure(settings)
        metrics = {
            "experiment": EXPERIMENT,
            "name": settings.name,
            "measure": settings.measure,
            "command": command,
            # Of the layers the backends' own: no backend is loaded here.
            "environment": found.pop("environment", None) or runner.environment(),
            "seconds": round(time.perf_counter() - start, 1),
            **found,
        }
        write_run(folder, settings, metrics)
    print(speed_report.text(metrics, path))
    return path


def check(settings: Settings) -> None:
    """Refuse what can't be read or found, before anything is loaded."""
    speed_shapes.read_shapes(settings.shape)
    speed_backends.read_backends(settings.backends)
    named = {"text": settings.data, "prefixes": settings.text}.get(settings.measure)
    if named not in (None, "auto", "embedded") and not Path(named).exists():
        raise FileNotFoundError(f"expected an existing path; received {named!r}")


def write_run(folder: Path, settings: Settings, metrics: dict) -> None:
    """Write every file of the run into the folder."""
    config = configuration(EXPERIMENT, settings)
    write_json(folder / "config.json", config)
    write_json(folder / "metrics.json", metrics)
    if settings.measure == "layers":
        write_csv(folder / "results.csv", speed_report.csv_rows(metrics))
        drawn = speed_report.figures(metrics)
        pictures = report.save_figures(folder, drawn) if drawn else []
        page = speed_report.layers_page(metrics, config, pictures)
    else:
        page = speed_report.tables_page(metrics, config)
    (folder / "report.html").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
