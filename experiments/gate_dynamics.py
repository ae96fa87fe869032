"""What the gates do: one unit by hand, gradients through time, a sentence in detail."""

import dataclasses
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments import (
    earlier,
    gate_flow,
    gate_report,
    gate_sentence,
    gate_unit,
    runner,
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

EXPERIMENT = "gate_dynamics"

DESCRIPTION = """\
Look inside of an LSTM, and write a report:

  * one unit, step by step: the six equations as numbers
  * the gradient on its way back through time, as the textbook's product and as measured
    in SimpleRNN, GRU and LSTM with forget bias 0 and 1, untrained and trained
  * with --run: a text as a trained sentiment model reads it, word by word: prediction,
    gates, cell state, and what each word contributed, on a page to move about in; and
    what becomes of 20 adjectives behind a "not"

  python -m experiments.gate_dynamics
  python -m experiments.gate_dynamics --run runs/imdb_sentiment/demo \\
      --text "I was not bored for a moment."
"""

EPILOG = """\
Everything goes to OUTPUT/gate_dynamics/NAME: config.json, metrics.json, steps.csv,
gradient_flow.csv, pairs.csv and gates.npz (with --run), figures/*.png and report.html.
"""


@dataclass(frozen=True)
class Settings:
    """The options; `--help` explains them."""

    values: str = option(
        "0.1,0.2,0.3,0.4,0.5", "inputs of the one unit, step by step", group="one unit"
    )
    length: int = option(
        200, "steps that the gradient goes back", group="gradient", least=2
    )
    units: int = option(32, "size of the recurrent state", group="gradient", least=1)
    steps: int = option(
        2000, "training steps on the adding problem", group="gradient", least=1
    )
    batch_size: int = option(32, "sequences a step", group="gradient", least=1)
    learning_rate: float = option(0.01, "of Adam", group="gradient", above=0, most=10)
    seed: int = option(
        0, "of weights and sequences", group="gradient", least=0, most=2**32 - 1000
    )
    seeds: int = option(
        3,
        "train so many times, with the seeds from --seed on",
        group="gradient",
        least=1,
    )
    run: str | None = option(
        None, "folder of a run of experiments.imdb_sentiment", group="sentence"
    )
    text: str | None = option(
        None,
        "the text to read (without it: a sentence of ours)",
        group="sentence",
    )
    pairs: bool = option(
        True, "with --run, also measure the 20 pairs of sentences", group="sentence"
    )
    output: str = output_option()
    name: str | None = name_option("date and time")
    overwrite: bool = overwrite_option()
    repeat: str | None = earlier.repeat_option()


TEXT = (
    "The beginning was slow and not very good, but I was never bored, and the ending "
    "is simply wonderful."
)


def main(argv: Sequence[str]) -> None:
    """Run the experiment of the command line."""
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
    """Measure, and write the run folder; return its path."""
    inputs = gate_unit.read_values(settings.values)
    if settings.run is None and settings.text is not None:
        raise ValueError("expected --text with the --run that shall read it")
    if settings.run is not None and settings.text is None:
        settings = dataclasses.replace(settings, text=TEXT)
    path = run_path(settings.output, EXPERIMENT, settings.name)
    with RunFolder(path, settings.overwrite) as folder:
        start = time.perf_counter()
        with runner.stage("Loading Keras"):
            import lstm_keras
        # It warns of functions that are traced anew: here each is another model.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        trained = settings.run and gate_sentence.open_run(settings.run)
        if trained and settings.pairs:
            gate_sentence.check_pairs(trained)
        sentence = trained and gate_sentence.read_sentence(trained, settings.text)
        pairs = (
            gate_sentence.measure_pairs(trained) if trained and settings.pairs else []
        )
        unit = gate_unit.one_unit(inputs)
        flow = gate_flow.measure(settings)
        metrics = {
            "experiment": EXPERIMENT,
            "name": settings.name,
            "command": command,
            "data": data_facts(settings, trained),
            "engine": {"lstm_keras.LSTM": lstm_keras.LSTM(1).explain_engine().engine},
            "environment": runner.environment(),
            "seconds": round(time.perf_counter() - start, 1),
            "one_unit": gate_unit.rows(unit, inputs),
            "gradient": gate_flow.ratios(flow),
            "sentence": sentence and gate_report.sentence_facts(sentence),
            "pairs": gate_sentence.pair_shares(pairs) if pairs else None,
        }
        with runner.ctrl_c_ignored():
            write_run(folder, settings, metrics, unit, flow, sentence, pairs)
    print(gate_report.text(metrics, path))
    return path


def data_facts(settings: Settings, trained) -> dict:
    """Return what `metrics.json` says about the data."""
    facts = {"gradient": f"the adding problem, {settings.length} steps, made up"}
    if trained:
        facts["sentence"] = settings.text
        facts["model"] = str(trained.path)
    return facts


def write_run(
    folder: Path, settings: Settings, metrics: dict, unit, flow, sentence, pairs
) -> None:
    """Write every file of the run into the folder."""
    import numpy as np

    from experiments import report

    config = configuration(EXPERIMENT, settings)
    write_json(folder / "config.json", config)
    write_json(folder / "metrics.json", metrics)
    write_csv(folder / "steps.csv", metrics["one_unit"])
    write_csv(folder / "gradient_flow.csv", gate_flow.csv_rows(flow))
    if pairs:
        write_csv(folder / "pairs.csv", gate_report.pair_csv_rows(pairs))
    if sentence:
        arrays = {
            f"{layer}/{name}": array
            for layer, trace in sentence["traces"].items()
            for name, array in trace.arrays().items()
        }
        np.savez_compressed(folder / "gates.npz", **arrays)
    drawn = gate_report.figures(unit, flow, sentence)
    pictures = dict(zip(drawn, report.save_figures(folder, drawn), strict=True))
    page = gate_report.page(metrics, config, pictures, sentence, pairs)
    (folder / "report.html").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
