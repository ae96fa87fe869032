"""The JSON schema of an experiment's `metrics.json`, generated from its types.

python -m experiments.common.schema imdb_sentiment
"""

import importlib
import json
import re
from pathlib import Path

import pydantic

from experiments.common.command_line import readable_errors
from experiments.common.options import Parser, one_of
from experiments.common.result import metrics_type
from experiments.common.terminal import start_up_messages_held


def schema(experiment: str) -> dict:
    """Return an experiment's schema, described by the docstrings of the fields."""
    with start_up_messages_held():
        run = importlib.import_module(f"experiments.{experiment}.run").run
    found = pydantic.TypeAdapter(metrics_type(run)).json_schema()
    for kind in found.get("$defs", {}).values():
        _describe_attributes(kind)
    return found


def main() -> None:
    """Print the schema of the experiment on the command line."""
    names = sorted(
        path.parent.name for path in Path(__file__).parents[1].glob("*/run.py")
    )
    parser = Parser(
        prog="python -m experiments.common.schema",
        description="Print the JSON schema of an experiment's metrics.json.",
    )
    parser.add_argument(
        "experiment", type=one_of(names), help=f"one of {', '.join(names)}"
    )
    experiment = parser.parse_args().experiment
    with readable_errors():
        print(json.dumps(schema(experiment), indent=2))


def _describe_attributes(kind: dict) -> None:
    """Move the "Attributes:" of a dataclass's docstring to its properties."""
    text, _, attributes = kind.get("description", "").partition("\n\nAttributes:\n")
    for name, words in re.findall(
        r"^    (\w+): ((?:.+\n?(?:     .*\n?)*))", attributes, re.M
    ):
        kind["properties"][name]["description"] = " ".join(words.split())
        kind["description"] = text


if __name__ == "__main__":
    main()
