"""The JSON schema of metrics.json; `runs.make` checks each run of a test by it."""

import copy

import jsonschema
import pytest

from experiments.common.schema import schema
from tests.helpers.runs import NAMES, metrics_of, schema_errors


@pytest.fixture
def sentiment(sentiment_run):
    """What one run wrote, to be changed."""
    return copy.deepcopy(metrics_of(sentiment_run))


def parts(value):
    """Every schema in a schema."""
    if isinstance(value, dict):
        yield value
    for one in value.values() if isinstance(value, dict) else value:
        if isinstance(one, dict | list):
            yield from parts(one)


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_describes_every_property_and_allows_no_others(name):
    found = schema(name)
    jsonschema.Draft202012Validator.check_schema(found)
    for part in parts(found):
        for key, one in part.get("properties", {}).items():
            described = one.get("description") or "$ref" in one  # which has its own
            assert described, (part.get("title"), key)
        if part.get("type") == "object" and "properties" in part:
            assert part["additionalProperties"] is False, part["title"]


def changed(metrics, value, *path):
    *parents, name = path
    for parent in parents:
        metrics = metrics[parent]
    if value is ...:
        del metrics[name]
    else:
        metrics[name] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("runs",), ...),
        (("environment", "machine", "platform"), ...),
        (("runs", 0, "test", "roc_auc"), ...),
        (("summary", "seeds"), ...),
        (("surprise",), 1),
        (("measure",), "layers"),  # another experiment's
        (("environment", "machine", "gpu"), "none"),
        (("runs", 0, "layer"), "lstm_keras.LSTM"),  # compare_lstm's
        (("runs", 0, "test", "auc"), 0.5),
        (("runs", 0, "seed"), "0"),
        (("runs", 0, "seed"), 0.5),
        (("runs", 0, "test", "accuracy"), "0.9"),
        (("runs", 0, "test", "confusion"), [["1", 2]]),
        (("name",), None),
        (("environment", "git_commit"), 3),
        (("environment", "versions", "keras"), 3),
    ],
)
def test_what_is_missing_unknown_or_of_another_type_is_an_error(sentiment, path, value):
    changed(sentiment, value, *path)
    assert schema_errors(sentiment)


@pytest.mark.parametrize("commit", [None, 40 * "a", f"{40 * '0'}+changes"])
def test_a_commit_may_be_changed_or_missing(sentiment, commit):
    changed(sentiment, commit, "environment", "git_commit")
    assert schema_errors(sentiment) == []
