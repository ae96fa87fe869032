"""What several test files share."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def data_folder() -> Path:
    """The folder of real data, or skip: the tests pass without it."""
    folder = os.environ.get("LSTM_KERAS_DATA")
    if not folder:
        pytest.skip("LSTM_KERAS_DATA names no folder of real data")
    return Path(folder)
