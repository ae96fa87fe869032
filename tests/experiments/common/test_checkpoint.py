"""The file of a checkpoint: what is written is read, and what is broken refused."""

import zipfile

import numpy as np
import psutil
import pytest

from experiments.common import checkpoint
from experiments.common.checkpoint import State


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "training.npz"
    state = State({"step": 3, "epoch": 1}, variables=[np.arange(6.0), np.ones((2, 3))])
    checkpoint.write(path, state)
    return path


def test_what_is_written_is_read(path):
    state = checkpoint.read(path)
    assert state.facts == {"step": 3, "epoch": 1}
    np.testing.assert_array_equal(state.variables[0], np.arange(6.0))
    np.testing.assert_array_equal(state.variables[1], np.ones((2, 3)))
    assert state.metrics == state.best == state.random == []
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"training\.npz"):
        checkpoint.read(path)


@pytest.mark.parametrize(
    "data", [b"", ..., b"PK\x03\x04" + bytes(100), b"\x80\x04}.", b"no checkpoint"]
)
def test_a_broken_file_is_refused_and_is_not_left_open(path, data):
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if data is ... else data)
    # Held by the traceback, what is not closed stays open.
    with pytest.raises(ValueError, match="expected a checkpoint in ") as _raised:
        checkpoint.read(path)
    assert str(path) not in {file.path for file in psutil.Process().open_files()}


def test_whichever_bit_is_wrong_the_file_is_read_or_refused(path):
    whole = path.read_bytes()
    refused = set()
    for place in range(len(whole)):
        path.write_bytes(
            whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :]
        )
        try:
            checkpoint.read(path)
        except ValueError as error:
            refused.add(type(error.__cause__))
    # An odd kind of zip file, and a wrong sum.
    assert {NotImplementedError, zipfile.BadZipFile} <= refused
