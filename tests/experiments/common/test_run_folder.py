"""A run folder appears when it is complete, and no kill loses a run."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from experiments.common.result import Environment, Machine
from experiments.common.run_folder import (
    RunFolder,
    begin,
    check_versions,
    origin_of,
    run_path,
)


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


def test_overwrite_replaces_a_link_to_a_run_and_keeps_what_it_points_to(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "metrics.json").write_text("{}")
    path = tmp_path / "one"
    path.symlink_to("real")
    for _ in range(2):
        with RunFolder(path, overwrite=True) as folder:
            (folder / "metrics.json").write_text("{}")
    assert not path.is_symlink()
    assert everything_under(tmp_path) == {
        *("one", "one/metrics.json", "real", "real/metrics.json")
    }


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


# Two processes at once, and what a kill leaves.


ENVIRONMENT = Environment(
    python="3.12",
    backend="tensorflow",
    versions={"keras": "3"},
    machine=Machine(cpu="", cores=1, platform=""),
)


def other(**facts):
    return dataclasses.replace(ENVIRONMENT, **facts)


def work(folder):
    """Write a checkpoint."""
    checkpoints = begin(folder, {"units": 3}, "command", ENVIRONMENT, {"rows": 5})
    (checkpoints / "training.npz").write_text("half")


@pytest.mark.parametrize("options", [{}, {"overwrite": True}, {"resume": True}])
def test_only_one_at_a_time_makes_a_run(tmp_path, options):
    path = tmp_path / "one"
    with RunFolder(path) as folder:
        work(folder)
        with pytest.raises(BlockingIOError, match="one is being made by another"):
            RunFolder(path, **options).__enter__()
        assert (folder / "checkpoint" / "training.npz").read_text() == "half"
    assert (path / "checkpoint" / "training.npz").exists()


@pytest.mark.parametrize("error", [None, KeyError])
def test_a_run_whose_folder_was_removed_does_no_harm_to_the_next_one(
    error, tmp_path, capsys
):
    path = tmp_path / "one"
    removed = RunFolder(path)
    shutil.rmtree(removed.__enter__())
    with RunFolder(path) as folder:
        begin(folder, {}, "command", ENVIRONMENT, {})
        if error is None:
            with pytest.raises(FileNotFoundError, match="it was removed meanwhile"):
                removed.__exit__(None, None, None)
        else:
            removed.__exit__(error, error(), None)
        assert everything_under(folder) == {
            *("lock", "checkpoint", "checkpoint/origin.json")
        }
    assert capsys.readouterr().err == ""


def test_a_failed_block_leaves_the_checkpoints_and_says_so(tmp_path, capsys):
    path = tmp_path / "one"
    with pytest.raises(KeyError), RunFolder(path) as folder:
        work(folder)
        raise KeyError
    assert f"continue with --resume {path}" in capsys.readouterr().err
    with pytest.raises(FileExistsError, match=r"continue with --resume .*--overwrite"):
        RunFolder(path).__enter__()
    with RunFolder(path, resume=True) as folder:
        assert (folder / "checkpoint" / "training.npz").read_text() == "half"
        (folder / "metrics.json").write_text("{}")
    assert everything_under(tmp_path) == {"one", "one/metrics.json"}


def test_the_command_to_resume_can_be_pasted(tmp_path, capsys):
    path = tmp_path / "with space" / "one"
    with pytest.raises(KeyError), RunFolder(path) as folder:
        work(folder)
        raise KeyError
    assert f"--resume '{path}'" in capsys.readouterr().err


def test_versions_are_checked_without_the_data(tmp_path):
    with RunFolder(tmp_path / "one") as folder:
        checkpoints = begin(folder, {}, "command", ENVIRONMENT, {"rows": 5})
        check_versions(checkpoints, ENVIRONMENT)
        with pytest.raises(ValueError, match=r"keras '4' instead of '3'$"):
            check_versions(checkpoints, other(versions={"keras": "4"}))


def test_a_new_run_can_be_begun_in_place_of_an_unfinished_one(tmp_path):
    path = tmp_path / "one"
    with pytest.raises(KeyError), RunFolder(path) as folder:
        work(folder)
        raise KeyError
    with RunFolder(path, overwrite=True) as folder:
        assert everything_under(folder) == {"lock"}


def test_a_run_that_was_only_begun_leaves_nothing(tmp_path):
    path = tmp_path / "one"
    with pytest.raises(KeyError), RunFolder(path) as folder:
        checkpoints = begin(folder, {}, "command", ENVIRONMENT, {})
        for name in (".one.lock", ".training.npz.partial"):
            (checkpoints / name).touch()
        raise KeyError
    assert everything_under(tmp_path) == set()


def test_an_interrupted_run_stays_until_the_resumed_one_is_finished(tmp_path):
    path = tmp_path / "one"
    with RunFolder(path) as folder:
        work(folder)
        (folder / "metrics.json").write_text('{"interrupted": true}')
    with RunFolder(path, resume=True) as folder:
        assert "true" in (path / "metrics.json").read_text()
        assert everything_under(folder) == {
            "lock",
            "checkpoint",
            "checkpoint/origin.json",
            "checkpoint/training.npz",
        }
        (folder / "metrics.json").write_text('{"interrupted": false}')
    assert "false" in (path / "metrics.json").read_text()
    assert everything_under(tmp_path) == {"one", "one/metrics.json"}


def test_a_resume_that_is_refused_leaves_the_interrupted_run_alone(tmp_path, capsys):
    path = tmp_path / "one"
    with RunFolder(path) as folder:
        work(folder)
        (folder / "metrics.json").write_text('{"interrupted": true}')
    before = everything_under(tmp_path)
    newer = other(versions={"keras": "4"})
    with (
        pytest.raises(ValueError, match="keras '4' instead of '3'"),
        RunFolder(path, resume=True) as folder,
    ):
        begin(folder, {"units": 3}, "command", newer, {"rows": 5})
    assert everything_under(tmp_path) == before
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("finished", [False, True])
def test_there_must_be_something_to_resume(tmp_path, finished):
    path = tmp_path / "one"
    if finished:
        path.mkdir()
        (path / "metrics.json").write_text("{}")
    message = "one is finished" if finished else "there is none at .*one"
    with pytest.raises(FileNotFoundError, match=message):
        RunFolder(path, resume=True).__enter__()
    with pytest.raises(FileNotFoundError, match=message):
        origin_of(path)
    assert path.exists() == finished


@pytest.mark.parametrize("renamed", [0, 1, 2])
def test_a_kill_while_the_folder_takes_its_name_loses_no_run(tmp_path, renamed):
    """The old run and the new one stay, whichever rename was the last."""
    path = tmp_path / "one"
    path.mkdir()
    (path / "metrics.json").write_text("old")
    partial, old = tmp_path / ".one.partial", tmp_path / ".one.old"
    with pytest.raises(KeyError), RunFolder(path, overwrite=True) as folder:
        work(folder)
        raise KeyError
    if renamed:
        path.rename(old)
    if renamed == 2:
        partial.rename(path)
    if renamed < 2:
        with RunFolder(path, resume=True) as folder:
            assert (path / "metrics.json").read_text() == "old"
            assert (folder / "checkpoint" / "training.npz").read_text() == "half"
    else:
        with pytest.raises(FileExistsError):
            RunFolder(path).__enter__()
    assert (path / "checkpoint" / "training.npz").read_text() == "half"
    assert not old.exists()


@pytest.mark.parametrize(
    ("environment", "data", "message"),
    [
        (other(backend="jax"), {"rows": 5}, "backend 'jax' instead of 'te"),
        (other(devices=4), {"rows": 5}, "devices 4 instead of 1"),
        (ENVIRONMENT, {"rows": 6}, "data: rows 6 instead of 5"),
    ],
)
def test_a_run_resumes_with_the_same_versions_and_data_only(
    tmp_path, environment, data, message
):
    with pytest.raises(KeyError), RunFolder(tmp_path / "one") as folder:
        work(folder)
        raise KeyError
    with (
        pytest.raises(ValueError, match=message),
        RunFolder(tmp_path / "one", resume=True) as folder,
    ):
        begin(folder, {}, "", environment, data)
    assert origin_of(tmp_path / "one")["settings"] == {"units": 3}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_finished_run_that_is_killed_around_its_rename_is_not_lost(
    tmp_path, monkeypatch, moment
):
    """The checkpoint goes only once the run has its name."""
    path, rename = tmp_path / "one", Path.rename

    class KilledError(BaseException):
        pass

    def killed(self, target):
        if moment == "after":
            rename(self, target)
        raise KilledError

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KilledError), RunFolder(path) as folder:
        work(folder)
        (folder / "metrics.json").write_text("{}")
    monkeypatch.undo()
    assert origin_of(path)["settings"] == {"units": 3}
    if moment == "after":
        assert (path / "metrics.json").exists()
