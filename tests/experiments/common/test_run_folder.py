"""A run folder appears when it is complete, and no kill loses a run.

The oracle is what lies on the disk.
"""

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
    partial_path,
    run_path,
)

ENVIRONMENT = Environment(
    python="3.12",
    backend="tensorflow",
    versions={"keras": "3"},
    machine=Machine(cpu="", cores=1, platform=""),
)
FINISHED, INTERRUPTED = '{"interrupted": false}', '{"interrupted": true}'


def other(**facts):
    return dataclasses.replace(ENVIRONMENT, **facts)


def work(folder):
    """Write a checkpoint."""
    checkpoints = begin(folder, {"units": 3}, "command", ENVIRONMENT, {"rows": 5})
    (checkpoints / "training.npz").write_text("half")


def fail(path, working=work, **options):
    """Begin a run that fails."""
    with pytest.raises(KeyError), RunFolder(path, **options) as folder:
        working(folder)
        raise KeyError


def finished(path, **files):
    """A finished run."""
    path.mkdir()
    for name, text in {"metrics": FINISHED, **files}.items():
        (path / f"{name}.json").write_text(text)


def interrupted(path):
    """An interrupted run, which has a report."""
    with RunFolder(path) as folder:
        work(folder)
        (folder / "metrics.json").write_text(INTERRUPTED)


def everything_under(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "one"


def test_the_folder_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "runs" / "one"
    with RunFolder(path) as folder:
        (folder / "a.txt").write_text("a")
        assert not path.exists()
    assert (path / "a.txt").read_text() == "a"
    assert everything_under(tmp_path) == {"runs", "runs/one", "runs/one/a.txt"}


def test_a_run_that_fails_without_a_checkpoint_leaves_nothing(tmp_path):
    def only_begin(folder):
        (folder / "a.txt").write_text("a")
        checkpoints = begin(folder, {}, "command", ENVIRONMENT, {})
        for name in (".one.lock", ".training.npz.partial"):
            (checkpoints / name).touch()

    fail(tmp_path / "runs" / "speed" / "one", only_begin)
    assert everything_under(tmp_path) == set()
    # Folders of other runs stay.
    finished(tmp_path / "two")
    fail(tmp_path / "speed" / "one")
    fail(tmp_path / "speed" / "two", only_begin)
    assert {path.name for path in tmp_path.glob("*/*")} == {
        *("metrics.json", ".one.partial")
    }


def test_an_existing_folder_is_refused_before_any_work(tmp_path, path):
    path.mkdir()
    with pytest.raises(FileExistsError, match=r"one exists already.*--overwrite"):
        RunFolder(path).__enter__()
    (path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="expected a run to overwrite"):
        RunFolder(path, overwrite=True).__enter__()
    assert everything_under(tmp_path) == {"one", "one/notes.txt"}


def test_overwrite_replaces_a_run_once_the_new_one_is_complete(tmp_path, path):
    finished(path, old="old")
    before = everything_under(tmp_path)
    fail(path, lambda folder: (folder / "new.txt").write_text("new"), overwrite=True)
    assert everything_under(tmp_path) == before
    with RunFolder(path, overwrite=True) as folder:
        (folder / "new.txt").write_text("new")
        assert (path / "old.json").exists()
    assert everything_under(tmp_path) == {"one", "one/new.txt"}


def test_overwrite_replaces_a_link_to_a_run_and_keeps_what_it_points_to(tmp_path, path):
    finished(tmp_path / "real")
    path.symlink_to("real")
    for _ in range(2):
        with RunFolder(path, overwrite=True) as folder:
            (folder / "metrics.json").write_text("{}")
    assert not path.is_symlink()
    assert everything_under(tmp_path) == {
        *("one", "one/metrics.json", "real", "real/metrics.json")
    }


@pytest.mark.parametrize("working", [1, 0], ids=["one rename works", "no rename works"])
def test_the_old_run_is_kept_if_the_new_one_cannot_take_its_name(
    tmp_path, path, monkeypatch, working
):
    finished(path, metrics="old")
    rename, names = Path.rename, []

    def refuse(self, target):
        names.append(self.name)
        if self.name == ".one.partial" or (not working and len(names) > 1):
            raise OSError("no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    message = r"expected to name the finished run .*\.one\."
    with (
        pytest.raises(OSError, match=message),
        RunFolder(path, overwrite=True) as folder,
    ):
        (folder / "metrics.json").write_text("new")
    found = {file.read_text(): file for file in tmp_path.rglob("metrics.json")}
    assert found.keys() == {"old", "new"}
    assert (found["old"].parent == path) == working


def test_a_folder_that_appears_meanwhile_is_not_overwritten(tmp_path, path):
    with pytest.raises(OSError, match="it lies in"), RunFolder(path) as folder:
        (folder / "mine.txt").write_text("mine")
        path.mkdir()
        (path / "theirs.txt").write_text("theirs")
    assert (path / "theirs.txt").exists()
    assert len(list(tmp_path.rglob("mine.txt"))) == 1


def test_a_place_that_cannot_be_written_to_is_refused(tmp_path):
    (tmp_path / "runs").write_text("not a folder")
    places = [tmp_path / "runs" / "speed" / "one", Path("/proc/one")]
    for place in places if Path("/proc").is_dir() else places[:1]:
        with pytest.raises(OSError, match="expected a folder that can be written to"):
            RunFolder(place).__enter__()


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "/a", "a\\b"])
def test_a_name_that_is_no_folder_name_is_refused(name):
    assert run_path("runs", "speed", "one") == Path("runs/speed/one")
    with pytest.raises(ValueError, match="expected a plain folder name as --name"):
        run_path("runs", "speed", name)


# Two processes at once, and what a kill leaves.


@pytest.mark.parametrize("options", [{}, {"overwrite": True}, {"resume": True}])
def test_only_one_at_a_time_makes_a_run(path, options):
    with RunFolder(path) as folder:
        work(folder)
        with pytest.raises(BlockingIOError, match="one is being made by another"):
            RunFolder(path, **options).__enter__()
        assert (folder / "checkpoint" / "training.npz").read_text() == "half"
    assert (path / "checkpoint" / "training.npz").exists()


@pytest.mark.parametrize("error", [None, KeyError])
def test_a_run_whose_folder_was_removed_does_no_harm_to_the_next_one(
    error, path, capsys
):
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


def test_a_failed_run_leaves_its_checkpoints_and_says_how_to_resume(tmp_path, capsys):
    path = tmp_path / "with space" / "one"
    fail(path)
    assert f"continue with --resume '{path}'" in capsys.readouterr().err
    with pytest.raises(FileExistsError, match=r"continue with --resume .*--overwrite"):
        RunFolder(path).__enter__()
    with RunFolder(path, resume=True) as folder:
        assert (folder / "checkpoint" / "training.npz").read_text() == "half"
        (folder / "metrics.json").write_text(FINISHED)
    assert everything_under(path.parent) == {"one", "one/metrics.json"}


def test_versions_are_checked_without_the_data(path):
    with RunFolder(path) as folder:
        checkpoints = begin(folder, {}, "command", ENVIRONMENT, {"rows": 5})
        check_versions(checkpoints, ENVIRONMENT)
        with pytest.raises(ValueError, match=r"keras '4' instead of '3'$"):
            check_versions(checkpoints, other(versions={"keras": "4"}))


def test_a_new_run_can_be_begun_in_place_of_an_unfinished_one(path):
    fail(path)
    with RunFolder(path, overwrite=True) as folder:
        assert everything_under(folder) == {"lock"}


def test_an_interrupted_run_stays_until_the_resumed_one_is_finished(tmp_path, path):
    interrupted(path)
    with RunFolder(path, resume=True) as folder:
        assert (path / "metrics.json").read_text() == INTERRUPTED
        assert everything_under(folder) == {
            *("lock", "checkpoint", "checkpoint/origin.json"),
            "checkpoint/training.npz",
        }
        (folder / "metrics.json").write_text(FINISHED)
    assert (path / "metrics.json").read_text() == FINISHED
    assert everything_under(tmp_path) == {"one", "one/metrics.json"}


def test_a_resume_that_is_refused_leaves_the_interrupted_run_alone(
    tmp_path, path, capsys
):
    interrupted(path)
    before = everything_under(tmp_path)
    with pytest.raises(ValueError), RunFolder(path, resume=True) as folder:
        begin(folder, {}, "", other(versions={"keras": "4"}), {"rows": 5})
    assert everything_under(tmp_path) == before
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("there", [False, True])
def test_there_must_be_something_to_resume(path, there):
    if there:
        finished(path)
    message = "one is finished" if there else "there is none at .*one"
    with pytest.raises(FileNotFoundError, match=message):
        RunFolder(path, resume=True).__enter__()
    with pytest.raises(FileNotFoundError, match=message):
        origin_of(path)
    assert path.exists() == there


@pytest.mark.parametrize("renamed", [0, 1, 2])
def test_a_kill_while_the_folder_takes_its_name_loses_no_run(tmp_path, path, renamed):
    """The old run and the new one stay, whichever rename was the last."""
    finished(path)
    fail(path, overwrite=True)
    old = tmp_path / ".one.old"
    if renamed:
        path.rename(old)
    if renamed == 2:
        partial_path(path).rename(path)
        with pytest.raises(FileExistsError):
            RunFolder(path).__enter__()
    else:
        with RunFolder(path, resume=True) as folder:
            assert (path / "metrics.json").read_text() == FINISHED
            assert (folder / "checkpoint" / "training.npz").read_text() == "half"
    assert (path / "checkpoint" / "training.npz").read_text() == "half"
    assert not old.exists()


@pytest.mark.parametrize(
    ("environment", "data", "message"),
    [
        (other(backend="jax"), {"rows": 5}, "backend 'jax' instead of 'te"),
        (other(devices=4), {"rows": 5}, "devices 4 instead of 1"),
        (other(versions={"keras": "4"}), {"rows": 5}, "keras '4' instead of '3'"),
        (ENVIRONMENT, {"rows": 6}, "data: rows 6 instead of 5"),
    ],
)
def test_a_run_resumes_with_the_same_versions_and_data_only(
    path, environment, data, message
):
    fail(path)
    with (
        pytest.raises(ValueError, match=message),
        RunFolder(path, resume=True) as folder,
    ):
        begin(folder, {}, "", environment, data)
    assert origin_of(path)["settings"] == {"units": 3}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_finished_run_that_is_killed_around_its_rename_is_not_lost(
    path, monkeypatch, moment
):
    """The checkpoint goes only once the run has its name."""
    rename = Path.rename

    class KilledError(BaseException):
        pass

    def killed(self, target):
        if moment == "after":
            rename(self, target)
        raise KilledError

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KilledError), RunFolder(path) as folder:
        work(folder)
        (folder / "metrics.json").write_text(FINISHED)
    monkeypatch.undo()
    assert origin_of(path)["settings"] == {"units": 3}
    if moment == "after":
        assert (path / "metrics.json").exists()
