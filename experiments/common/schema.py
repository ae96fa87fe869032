"""The JSON schema of an experiment's `metrics.json`, generated from its types.

python -m experiments.common.schema imdb_sentiment
"""

import importlib
import json
import sys

import pydantic

from experiments.common.result import metrics_type


def schema(experiment: str) -> dict:
    """Return an experiment's schema, described by the docstrings of the fields."""
    run = importlib.import_module(f"experiments.{experiment}.run").run
    return pydantic.TypeAdapter(metrics_type(run)).json_schema()


if __name__ == "__main__":
    print(json.dumps(schema(sys.argv[1]), indent=2))
