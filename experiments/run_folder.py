"""The folder in which a run keeps its results: whole, or not there at all.

A run that is going on works in a hidden folder beside, `.NAME.partial`, which takes the
run's name at the end. What it has done so far lies there in `checkpoint/`, so that a
run that was killed can go on; a run that was interrupted and could still write its
report keeps that folder, too.
"""

import contextlib
import os
import shlex
import shutil
import sys
from pathlib import Path

import filelock

from experiments.runner import ctrl_c_ignored, option
from experiments.training import DivergedError
from experiments.whole_files import read_json, sync, write_json

CHECKPOINT = "checkpoint"
ORIGIN = "origin.json"
LOCK = "lock"


def output_option():
    """Declare `--output`, a field of an experiment's settings."""
    return option("runs", "where the run folders go", group="output")


def name_option(otherwise: str):
    """Declare `--name`, likewise; `otherwise` says what it is if it is not given."""
    return option(
        None, f"name of the run folder (without it: {otherwise})", group="output"
    )


def overwrite_option():
    """Declare `--overwrite`, likewise."""
    return option(False, "replace a run of that name", group="output")


class RunFolder:
    """A folder that appears under its name only when everything in it is written.

    Used as a context manager. The files are written to the hidden folder, which takes
    the run's name when the block ends. If the block fails, the hidden folder stays if
    something was trained, and is removed otherwise.

    Only one process at a time can hold the folder of a name.

    Args:
        path: The folder to make.
        overwrite: Whether a folder of that name is replaced, and an unfinished run of
            that name thrown away.
        resume: Whether to go on with an unfinished run of that name.

    Raises:
        FileExistsError: There is a run of that name, finished or not, and it is neither
            to be replaced nor to be resumed; or what is to be replaced is no run.
        FileNotFoundError: There is nothing to resume.
        BlockingIOError: Another process makes this run at the moment.
        OSError: The place cannot be written to.
    """

    def __init__(self, path: Path, overwrite: bool = False, resume: bool = False):
        self.path = Path(path)
        self.overwrite = overwrite
        self.resume = resume
        self._partial = partial_path(self.path)
        self._old = self.path.with_name(f".{self.path.name}.old")

    def __enter__(self) -> Path:
        """Return the hidden folder to write into."""
        self._claim()
        try:
            self._finish_exchange()
            if self.resume:
                self._take_up()
            else:
                self._check_new()
                self._clear(keep=())
        except BaseException:
            self._give_up()
            raise
        return self._partial

    def __exit__(self, kind, error, traceback) -> None:
        """Give the folder its name, or give it up if there was an error."""
        ours = self._is_ours()
        if error is not None:
            self._give_up()
            if ours and _holds_work(self._partial):
                print(f"\n{self._what_is_kept(error)}", file=sys.stderr)
            return
        if not ours:
            self._lock.release()
            raise FileNotFoundError(
                f"expected {self._partial}, in which the run was made; it was removed "
                "meanwhile"
            )
        try:
            with ctrl_c_ignored():
                self._take_name()
        except OSError as error:
            raise OSError(
                f"expected to name the finished run {self.path}; it lies in "
                f"{self._partial}: {error}"
            ) from error
        finally:
            self._lock.release()

    def _claim(self) -> None:
        """Make the hidden folder ours; the lock ends with the process."""
        try:
            self._partial.mkdir(parents=True, exist_ok=True)
            # Only the lock file itself may appear: FileLock would make its folder anew.
            self._lock = filelock.FileLock(self._partial / LOCK, timeout=0)
            self._lock.acquire()
            self._locked = _identity(self._partial / LOCK)
        except filelock.Timeout as error:
            raise BlockingIOError(
                f"expected a run that nobody else is making; {self.path} is being made "
                "by another process (wait for it, or choose another --name)"
            ) from error
        except OSError as error:
            raise OSError(
                f"expected a folder that can be written to at {self.path.parent}; "
                f"received: {error}"
            ) from error

    def _is_ours(self) -> bool:
        """Whether it is the folder that we locked.

        It may have been removed, and made anew by another process.
        """
        with contextlib.suppress(OSError):
            return _identity(self._partial / LOCK) == self._locked
        return False

    def _finish_exchange(self) -> None:
        """Put right what a kill between two renames of `_take_name` has left."""
        if not self._old.is_dir():
            return
        if self.path.exists():
            shutil.rmtree(self._old)
        else:
            self._old.rename(self.path)

    def _check_new(self) -> None:
        if os.path.lexists(self.path) and not self.overwrite:
            raise FileExistsError(
                f"expected a new run folder; {self.path} exists already "
                "(choose another --name, or --overwrite it)"
            )
        if os.path.lexists(self.path) and not (self.path / "metrics.json").is_file():
            raise FileExistsError(
                f"expected a run to overwrite; {self.path} holds no metrics.json"
            )
        if not self.overwrite and _holds_work(self._partial):
            raise FileExistsError(
                f"expected a run that was not begun yet; {self._partial} holds what "
                f"was done of {self.path} (go on with {self._resume}, or begin "
                "anew with --overwrite)"
            )

    def _take_up(self) -> None:
        """Leave the checkpoint of the unfinished run, and nothing else, in the folder.

        What was left by a kill comes first: it is newer than a report.
        """
        if _has_checkpoint(self._partial):
            self._clear(keep=(CHECKPOINT,))
            return
        if not _has_checkpoint(self.path):
            raise FileNotFoundError(_nothing_to_resume(self.path))
        self._clear(keep=())
        copy = self._partial / "copy"
        shutil.copytree(self.path / CHECKPOINT, copy)
        copy.rename(self._partial / CHECKPOINT)

    def _clear(self, keep: tuple[str, ...]) -> None:
        for path in self._partial.iterdir():
            if path.name in (LOCK, *keep):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _give_up(self) -> None:
        """Leave what is worth it; the error on its way says what happened."""
        with contextlib.suppress(OSError):
            if self._is_ours() and not _holds_work(self._partial):
                shutil.rmtree(self._partial)
        self._lock.release()

    @property
    def _resume(self) -> str:
        return f"--resume {shlex.quote(str(self.path))}"

    def _what_is_kept(self, error: BaseException) -> str:
        if isinstance(error, DivergedError):  # it would again
            return f"The last finite state is kept in {self._partial / CHECKPOINT}"
        return f"What was done is kept; go on with {self._resume}"

    def _take_name(self) -> None:
        for folder, _, files in os.walk(self._partial):
            for name in files:
                sync(Path(folder, name))
            sync(Path(folder))
        if (self.overwrite or self.resume) and self.path.exists():
            self.path.rename(self._old)
        try:
            self._partial.rename(self.path)
        except OSError:
            # Not in a `finally`: if this fails, too, the old run must stay where it is.
            if self._old.is_dir():
                self._old.rename(self.path)
            raise
        sync(self.path.parent)
        # Only now: until it has its name, a kill must not cost what was trained.
        if not _interrupted(self.path):
            shutil.rmtree(self.path / CHECKPOINT, ignore_errors=True)
        (self.path / LOCK).unlink(missing_ok=True)
        if self._old.is_dir():
            shutil.rmtree(self._old)


def begin(
    folder: Path, settings: dict, command: str, environment: dict, data: dict
) -> Path:
    """Make the checkpoint of a new run, or see that a resumed one may go on.

    Args:
        folder: What `RunFolder` gave.
        settings: What `--resume` reads them from.
        command: That of the run.
        environment: `runner.environment()`; backend, versions and number of devices
            must be the same.
        data: Facts of the data, which must be the same.

    Returns:
        The folder of the checkpoint, in which trainings are kept.

    Raises:
        ValueError: The run was begun with other versions or data.
    """
    path = folder / CHECKPOINT / ORIGIN
    needed = _needed(environment) | {f"data: {k}": v for k, v in data.items()}
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        origin = {"settings": settings, "command": command, "needed": needed}
        write_json(path, origin)
        return path.parent
    _check_same(read_json(path)["needed"], needed)
    return path.parent


def check_versions(checkpoint: Path, environment: dict) -> None:
    """Refuse to go on with a run in another environment than it was begun in.

    Args:
        checkpoint: What `begin` returned.
        environment: `runner.environment()`.

    Raises:
        ValueError: Backend, versions or number of devices are others.
    """
    begun, needed = read_json(checkpoint / ORIGIN)["needed"], _needed(environment)
    _check_same({name: begun.get(name) for name in needed}, needed)


def _needed(environment: dict) -> dict:
    kind = {name: environment[name] for name in ("backend", "devices")}
    return kind | environment["versions"]


def _check_same(begun: dict, needed: dict) -> None:
    differ = [
        f"{key} {needed.get(key)!r} instead of {begun.get(key)!r}"
        for key in {**begun, **needed}
        if begun.get(key) != needed.get(key)
    ]
    if differ:
        raise ValueError(
            "expected the versions and data with which the run was begun; received "
            f"{', '.join(differ)}"
        )


def origin_of(path: Path) -> dict:
    """Return what an unfinished run was begun with: see `begin`.

    Args:
        path: The run's folder, whether it is there or only its hidden one.

    Raises:
        FileNotFoundError: There is no unfinished run.
        ValueError: Its file is broken.
    """
    for folder in (partial_path(path), path):
        if _has_checkpoint(folder):
            file = folder / CHECKPOINT / ORIGIN
            origin = read_json(file)
            if not {"settings", "command", "needed"} <= set(origin):
                raise ValueError(
                    f"expected the origin of a run in {file}; received {origin!r:.80}"
                )
            return origin
    raise FileNotFoundError(_nothing_to_resume(path))


def partial_path(path: Path) -> Path:
    """Return the hidden folder in which a run is made."""
    return path.with_name(f".{path.name}.partial")


def run_path(output: str, experiment: str, name: str) -> Path:
    """Return `output/experiment/name`, refusing a name that is no single folder name.

    Raises:
        ValueError: The name is empty, starts with a dot or holds a path separator.
    """
    if not name or name.startswith(".") or Path(name).name != name or "\\" in name:
        raise ValueError(f"expected a plain folder name as --name; received {name!r}")
    return Path(output) / experiment / name


def _identity(path: Path) -> tuple[int, int]:
    """What no other file has, as long as this one is open."""
    found = path.stat()
    return found.st_dev, found.st_ino


def _has_checkpoint(folder: Path) -> bool:
    return (folder / CHECKPOINT / ORIGIN).is_file()


def _holds_work(folder: Path) -> bool:
    """Whether anything was trained; a run that only was begun is not worth keeping."""
    files = (folder / CHECKPOINT).rglob("*")
    return _has_checkpoint(folder) and any(
        path.is_file()
        and path.name != ORIGIN
        and path.suffix not in (".lock", ".partial")
        for path in files
    )


def _interrupted(folder: Path) -> bool:
    """Whether a run says that it has not come to its end, or nothing at all."""
    path = folder / "metrics.json"
    return not path.is_file() or bool(read_json(path).get("interrupted"))


def _nothing_to_resume(path: Path) -> str:
    if (path / "metrics.json").is_file():
        return f"expected an unfinished run to resume; {path} is finished"
    return f"expected an unfinished run to resume; there is none at {path}"
