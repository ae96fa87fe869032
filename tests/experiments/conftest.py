"""Finished runs that many tests read. Each is made once; nobody may change it."""

import os

import filelock
import pytest

from tests.helpers import runs


@pytest.fixture(scope="session")
def sentiment_run(tmp_path_factory):
    """Return the folder of a small run of `imdb_sentiment` with its baselines."""
    return _made("imdb_sentiment", tmp_path_factory)


@pytest.fixture(scope="session")
def memory_run(tmp_path_factory):
    """Return the folder of a small run of `memory`, which takes a second or two."""
    return _made("memory", tmp_path_factory)


def _made(name, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # that of all workers
    output = folder / f"run_of_{name}"
    with filelock.FileLock(f"{output}.lock"):
        if not (output / name / "one").exists():
            runs.make(name, output, *runs.SMALL[name].split())
    return output / name / "one"
