"""Finished runs that many tests read. Each is made once; nobody may change it."""

import pytest

from tests.helpers import runs


@pytest.fixture(scope="session")
def sentiment_run(tmp_path_factory):
    """Return the folder of a small run of `imdb_sentiment` with its baselines."""
    return _made("imdb_sentiment", tmp_path_factory)


@pytest.fixture(scope="session")
def next_word_run(tmp_path_factory):
    """Return the folder of a small run of `next_word` with its baselines."""
    return _made("next_word", tmp_path_factory)


def _made(name, tmp_path_factory):
    return runs.make(name, tmp_path_factory.mktemp(name), *runs.SMALL[name].split())
