"""The file of a checkpoint: what is written is read, and what is broken refused."""

import gc
import warnings
import zipfile

import numpy as np
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


def test_a_missing_file_is_an_error_of_its_own(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"training\.npz"):
        checkpoint.read(tmp_path / "training.npz")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: b"PK\x03\x04" + bytes(100),
        lambda data: b"\x80\x04}.",
        lambda data: b"no checkpoint",
    ],
    ids=["empty", "cut short", "zip in name only", "pickle", "text"],
)
def test_a_broken_file_is_refused_and_is_not_left_open(path, spoil):
    path.write_bytes(spoil(path.read_bytes()))
    gc.collect()  # what other tests have left behind
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        with pytest.raises(ValueError, match="expected a checkpoint in "):
            checkpoint.read(path)
        gc.collect()
    assert not [str(one.message) for one in caught]


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
