"""Classify texts with the model of a run."""

import dataclasses
import sys
from collections.abc import Iterator, Sequence

from experiments.common.export import ExportedModel
from experiments.common.options import Parser
from experiments.common.terminal import printable
from experiments.common.trained_run import open_run
from experiments.imdb_sentiment.settings import EXPERIMENT, vocabulary_note

DESCRIPTION = """\
Print a line for each review: its label, the probability of that label, and how many of
its words the model does not know. The label is "undecided" if the probability of
"positive" is between 0.45 and 0.55, and there is none if the model knows none of the
words that it reads.
"""


def main(argv: Sequence[str]) -> None:
    """Print label and probability of each text on a command line."""
    parser = Parser(prog=f"{EXPERIMENT.program} predict", description=DESCRIPTION)
    parser.add_argument("run", metavar="RUN", help="a run folder")
    parser.add_argument(
        "texts",
        metavar="TEXT",
        nargs="+",
        help="a review, or - to read one per line from standard input, but for blank "
        "lines",
    )
    parser.add_argument(
        "--onnx",
        action="store_true",
        help="compute by onnxruntime, with the model that the command export wrote",
    )
    arguments = parser.parse_args(argv)
    run = open_run(arguments.run, EXPERIMENT.name)
    if arguments.onnx:
        run = dataclasses.replace(run, model=ExportedModel(run.path))
    if note := vocabulary_note(len(run.vocabulary.words)):
        print(note, file=sys.stderr)
    for prediction in run.predict(read(arguments.texts)):
        print(prediction_line(prediction))


def read(texts: Sequence[str]) -> Iterator[str]:
    """Yield the texts of a command line, for "-" those on standard input."""
    for text in texts:
        if text == "-":
            # Not splitlines(), which also splits at characters inside a review.
            yield from (line.rstrip("\n") for line in sys.stdin if line.strip())
        else:
            yield text


def prediction_line(prediction) -> str:
    """Return label, its probability, and the number of unknown words."""
    label, words = prediction.label, prediction.words
    sure = f"{max(prediction.probability, 1 - prediction.probability):.3f}"
    remarks = f"unknown words: {prediction.unknown} of {words}"
    if prediction.read < words:
        remarks += f", the last {prediction.read} read"
    if label is None:
        label, sure = "no label", "-    "
        remarks = f"{remarks if words else 'no words'}, nothing to judge by"
    text = printable(" ".join(prediction.text.split())) or "(empty)"
    shown = text if len(text) <= 60 else text[:59] + "…"
    return f"{label:9}  {sure}  {shown}  ({remarks})"
