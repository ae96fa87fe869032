"""Export the model of a run as ONNX."""

from collections.abc import Sequence
from pathlib import Path

from experiments.common.export import export
from experiments.next_word.settings import EXPERIMENT


def main(argv: Sequence[str]) -> None:
    """Export the run on a command line."""
    export(EXPERIMENT, Path(__file__).with_name("continue_text.py"), argv)
