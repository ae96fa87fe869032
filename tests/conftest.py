"""What several test files share."""

import os
import sys
from pathlib import Path

import pytest

# Linux lets a process map 65,530 pieces of memory, and each program that JAX compiles
# takes some: past the limit it dies.
MOST_MAPPINGS = 15_000


@pytest.fixture(autouse=True)
def _few_mappings():
    """Let JAX forget its programs before there are too many."""
    yield
    maps = Path("/proc/self/maps")
    if "jax" in sys.modules and maps.exists():
        with maps.open() as lines:
            if sum(1 for _ in lines) > MOST_MAPPINGS:
                sys.modules["jax"].clear_caches()


@pytest.fixture
def data_folder() -> Path:
    """The folder of real data, or skip: the tests pass without it."""
    folder = os.environ.get("LSTM_KERAS_DATA")
    if not folder:
        pytest.skip("LSTM_KERAS_DATA names no folder of real data")
    return Path(folder)
