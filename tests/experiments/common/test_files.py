"""Atomic writes: a file is complete or absent, whatever happens meanwhile."""

import csv
import errno
import json
import os
import stat

import pytest

from experiments.common.files import (
    atomic_write,
    read_json,
    sync,
    write_csv,
    write_json,
)


def test_the_file_takes_its_name_when_the_block_ends(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic_write(path) as file:
        file.write("new, naïve 😀")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text("utf-8") == "new, naïve 😀"
    assert [one.name for one in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_a_failed_block_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(error), atomic_write(path, "wb") as file:
        file.write(b"ne")
        raise error
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["a.bin"]


def test_what_cannot_be_written_is_an_error_that_names_the_file(tmp_path, monkeypatch):
    path = tmp_path / "gone" / "a.txt"
    message = r"expected to write .*a\.txt; received: "
    with pytest.raises(OSError, match=f"{message}No such"), atomic_write(path):
        pass

    def full(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "a.txt"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(OSError, match=f"{message}No space left on device"),
        atomic_write(path) as file,
    ):
        file.write("new")
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["a.txt"]


def test_what_is_written_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    synced = []
    fsync = os.fsync

    def note(number):
        synced.append((stat.S_ISDIR(os.fstat(number).st_mode), path.exists()))
        fsync(number)

    path = tmp_path / "a.txt"
    monkeypatch.setattr(os, "fsync", note)
    with atomic_write(path) as file:
        file.write("text")
    assert synced == [(False, False), (True, True)]
    sync(path)
    assert synced[2:] == [(False, True)]


def test_json_is_read_back_as_written_and_nan_refused(tmp_path):
    content = {"text": "naïve 😀", "numbers": [1, 0.5, None]}
    path = tmp_path / "a.json"
    write_json(path, content)
    assert json.loads(path.read_text("utf-8")) == content == read_json(path)
    with pytest.raises(ValueError):  # other readers would refuse it
        write_json(path, {"loss": float("nan")})
    assert read_json(path) == content


@pytest.mark.parametrize("text", ["", "[1]", "{", "3", "[" * 100_000, "\udcff"])
def test_what_is_no_json_object_is_refused(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text, "utf-8", errors="surrogateescape")
    with pytest.raises(ValueError, match=r"expected (a )?JSON .*a\.json; received"):
        read_json(path)


def test_csv_is_read_back_as_written(tmp_path):
    rows = [{"epoch": "1", "note": "a, b"}, {"epoch": "2", "note": 'say "c"'}]
    write_csv(tmp_path / "a.csv", rows)
    with (tmp_path / "a.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == rows
