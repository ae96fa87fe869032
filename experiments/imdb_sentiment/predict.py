"""Classify texts with the model of a run."""

import argparse
import sys
from collections.abc import Sequence

from experiments.common.terminal import printable
from experiments.imdb_sentiment.settings import EXPERIMENT


def main(argv: Sequence[str]) -> None:
    """Print label and probability of each text on a command line."""
    parser = argparse.ArgumentParser(
        prog=f"{EXPERIMENT.program} predict",
        description="Print label and probability of new reviews.",
    )
    parser.add_argument("run", metavar="RUN", help="a run folder")
    parser.add_argument(
        "texts",
        metavar="TEXT",
        nargs="+",
        help="a review, or - to read one per line from standard input",
    )
    arguments = parser.parse_args(argv)
    # Only now: Keras takes seconds to load, --help should not.
    from lstm_keras import load_run

    run = load_run(arguments.run)
    if not hasattr(run, "predict"):
        raise ValueError(
            f"expected a run of {EXPERIMENT.name}; received {arguments.run}, a run of "
            f"{run.config.get('experiment', 'another experiment')}"
        )
    texts = []
    for text in arguments.texts:
        # Not splitlines(), which also splits at characters inside a review.
        texts += [line.rstrip("\n") for line in sys.stdin] if text == "-" else [text]
    for prediction in run.predict(texts):
        print(prediction_line(prediction))


def prediction_line(prediction) -> str:
    """Return label, its probability, and the share of unknown words."""
    positive = prediction.label == "positive"
    sure = prediction.probability if positive else 1 - prediction.probability
    remarks = f"{prediction.unknown} of {prediction.words} words unknown"
    if prediction.unknown == prediction.words:
        remarks += ", so this says nothing about the text"
    elif prediction.read < prediction.words:
        remarks += f", the last {prediction.read} read"
    text = printable(" ".join(prediction.text.split()))
    shown = text if len(text) <= 60 else text[:59] + "…"
    return f"{prediction.label}  {sure:.3f}  {shown}  ({remarks})"
