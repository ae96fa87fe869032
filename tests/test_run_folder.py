"""A run folder is there whole, or not at all."""

import csv
import json
from pathlib import Path

import pytest

from experiments.run_folder import RunFolder, run_path
from experiments.whole_files import write_csv, write_json


def everything_under(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_the_folder_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "runs" / "one"
    with RunFolder(path) as folder:
        (folder / "a.txt").write_text("a")
        assert not path.exists()
    assert (path / "a.txt").read_text() == "a"
    assert everything_under(tmp_path) == {"runs", "runs/one", "runs/one/a.txt"}


def test_a_failed_block_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), RunFolder(tmp_path / "one") as folder:
        (folder / "a.txt").write_text("a")
        raise KeyboardInterrupt
    assert everything_under(tmp_path) == set()


def test_an_existing_folder_is_refused_before_any_work(tmp_path):
    (tmp_path / "one").mkdir()
    with pytest.raises(FileExistsError, match=r"one exists already.*--overwrite"):
        RunFolder(tmp_path / "one").__enter__()
    assert everything_under(tmp_path) == {"one"}


def test_overwrite_replaces_the_folder_and_leaves_nothing_of_the_old_one(tmp_path):
    path = tmp_path / "one"
    path.mkdir()
    (path / "old.txt").write_text("old")
    (path / "metrics.json").write_text("{}")
    with RunFolder(path, overwrite=True) as folder:
        (folder / "new.txt").write_text("new")
        assert (path / "old.txt").exists()
    assert everything_under(tmp_path) == {"one", "one/new.txt"}


def test_a_failure_while_overwriting_keeps_the_old_folder(tmp_path):
    path = tmp_path / "one"
    path.mkdir()
    (path / "old.txt").write_text("old")
    (path / "metrics.json").write_text("{}")
    with pytest.raises(ValueError), RunFolder(path, overwrite=True):
        raise ValueError
    assert everything_under(tmp_path) == {"one", "one/old.txt", "one/metrics.json"}


def test_what_is_no_run_is_not_overwritten(tmp_path):
    path = tmp_path / "one"
    path.mkdir()
    (path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="expected a run to overwrite"):
        RunFolder(path, overwrite=True).__enter__()
    assert everything_under(tmp_path) == {"one", "one/notes.txt"}


def test_the_old_run_comes_back_if_the_new_one_cannot_take_its_name(
    tmp_path, monkeypatch
):
    path = tmp_path / "one"
    path.mkdir()
    (path / "metrics.json").write_text("old")
    rename = Path.rename

    def refuse_the_new_one(self, target):
        if self.name == ".one.partial":
            raise OSError("no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse_the_new_one)
    with (
        pytest.raises(OSError, match=r"expected to name the finished run .*\.one\."),
        RunFolder(path, overwrite=True) as folder,
    ):
        (folder / "metrics.json").write_text("new")
    assert (path / "metrics.json").read_text() == "old"
    assert (folder / "metrics.json").read_text() == "new"


def test_the_old_run_is_kept_even_if_no_rename_works_any_more(tmp_path, monkeypatch):
    path = tmp_path / "one"
    path.mkdir()
    (path / "metrics.json").write_text("old")
    rename, calls = Path.rename, []

    def only_the_first(self, target):
        calls.append(self)
        if len(calls) > 1:
            raise OSError("no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", only_the_first)
    with (
        pytest.raises(OSError, match="expected to name the finished run"),
        RunFolder(path, overwrite=True) as folder,
    ):
        (folder / "metrics.json").write_text("new")
    found = {file.read_text() for file in tmp_path.rglob("metrics.json")}
    assert found == {"old", "new"}


def test_a_folder_that_appears_meanwhile_is_not_overwritten(tmp_path):
    path = tmp_path / "one"
    with (
        pytest.raises(OSError, match="it lies in"),
        RunFolder(path) as folder,
    ):
        (folder / "mine.txt").write_text("mine")
        path.mkdir()
        (path / "theirs.txt").write_text("theirs")
    assert (path / "theirs.txt").exists()
    assert len(list(tmp_path.rglob("mine.txt"))) == 1


def test_a_place_behind_a_file_is_refused(tmp_path):
    (tmp_path / "runs").write_text("not a folder")
    with pytest.raises(OSError, match="expected a folder that can be written to"):
        RunFolder(tmp_path / "runs" / "speed" / "one").__enter__()


def test_a_place_where_nobody_may_write_is_refused():
    if not Path("/proc").is_dir():
        pytest.skip("no file system here refuses every user")
    with pytest.raises(OSError, match="expected a folder that can be written to"):
        RunFolder(Path("/proc/one")).__enter__()


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "/a", "a\\b"])
def test_a_name_that_is_no_folder_name_is_refused(name):
    with pytest.raises(ValueError, match="expected a plain folder name as --name"):
        run_path("runs", "imdb_sentiment", name)


def test_a_run_lies_in_the_folder_of_its_experiment():
    assert run_path("runs", "speed", "one") == Path("runs/speed/one")


def test_json_is_read_back_as_written(tmp_path):
    content = {"text": "naïve 😀", "numbers": [1, 0.5, None]}
    write_json(tmp_path / "a.json", content)
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == content


def test_json_that_other_readers_would_refuse_is_refused(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"loss": float("nan")})


def test_csv_is_read_back_as_written(tmp_path):
    rows = [{"epoch": "1", "note": "a, b"}, {"epoch": "2", "note": 'say "c"'}]
    write_csv(tmp_path / "a.csv", rows)
    with (tmp_path / "a.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == rows
