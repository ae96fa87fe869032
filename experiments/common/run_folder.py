"""The folder of a run, which appears under its name only when it is complete.

A running run works in a hidden folder beside it, `.NAME.partial`, which is renamed at
the end. Its checkpoints are in `checkpoint/` there, so that a killed run can be
resumed; a run that was interrupted and could still write its report keeps them, too.
"""

import contextlib
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import filelock

from experiments.common.errors import DivergedError
from experiments.common.files import read_json, sync, write_json
from experiments.common.result import Environment
from experiments.common.signals import ctrl_c_ignored

CHECKPOINT = "checkpoint"
ORIGIN = "origin.json"
LOCK = "lock"


class RunFolder:
    """A folder that appears under its name only when everything in it has been written.

    Use it as a context manager, which gives the hidden folder to write into and renames
    it when the block ends. If the block fails, the hidden folder stays if it contains a
    checkpoint, and is removed otherwise.

    Only one process at a time can hold the folder of a name.

    Args:
        path: The folder to make.
        overwrite: Whether a folder of that name is replaced, and an unfinished run of
            that name deleted.
        resume: Whether to continue an unfinished run of that name.

    Raises:
        FileExistsError: There is a run of that name, finished or not, and neither
            `overwrite` nor `resume`; or what is to be replaced is not a run.
        FileNotFoundError: There is nothing to resume.
        BlockingIOError: Another process is making this run.
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
                self._reuse_checkpoints()
            else:
                self._check_new()
                self._clear(keep=())
        except BaseException:
            self._release()
            raise
        return self._partial

    def __exit__(self, kind, error, traceback) -> None:
        """Rename the folder, or release it if there was an error."""
        ours = self._is_ours()
        if error is not None:
            self._release()
            if ours and _has_progress(self._partial):
                print(f"\n{self._hint(error)}", file=sys.stderr)
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
        """Lock the hidden folder; the lock ends with the process."""
        try:
            self._partial.mkdir(parents=True, exist_ok=True)
            self._lock = filelock.FileLock(self._partial / LOCK, timeout=0)
            self._lock.acquire()
            self._locked = _identity(self._partial / LOCK)
        except filelock.Timeout as error:
            raise BlockingIOError(
                f"{self.path} is being made by another process (wait for it, or choose "
                "another --name)"
            ) from error
        except OSError as error:
            raise OSError(
                f"expected a folder that can be written to at {self.path.parent}; "
                f"received: {error}"
            ) from error

    def _is_ours(self) -> bool:
        """Whether this is still the folder that was locked.

        It may have been removed, and created again by another process.
        """
        with contextlib.suppress(OSError):
            return _identity(self._partial / LOCK) == self._locked
        return False

    def _finish_exchange(self) -> None:
        """Repair what a kill between the two renames of `_take_name` has left."""
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
        if not self.overwrite and _has_progress(self._partial):
            raise FileExistsError(
                f"expected a new run; {self._partial} holds checkpoints of {self.path} "
                f"(continue with {self._resume}, or start again with --overwrite)"
            )

    def _reuse_checkpoints(self) -> None:
        """Leave the checkpoints of the unfinished run, and nothing else, in the folder.

        Those that a kill has left come first: they are newer than a report.
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

    def _release(self) -> None:
        """Keep checkpoints, if there are any, and release the lock."""
        with contextlib.suppress(OSError):
            if self._is_ours() and not _has_progress(self._partial):
                shutil.rmtree(self._partial)
        self._lock.release()

    @property
    def _resume(self) -> str:
        return f"--resume {shlex.quote(str(self.path))}"

    def _hint(self, error: BaseException) -> str:
        if isinstance(error, DivergedError):  # it would diverge again
            return f"The last finite checkpoint is in {self._partial / CHECKPOINT}"
        return f"A checkpoint was written; continue with {self._resume}"

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
        # Only now: until the run has its name, a kill must not cost the checkpoints.
        if not _interrupted(self.path):
            shutil.rmtree(self.path / CHECKPOINT, ignore_errors=True)
        (self.path / LOCK).unlink(missing_ok=True)
        if self._old.is_dir():
            shutil.rmtree(self._old)


def begin(
    folder: Path,
    settings: Mapping,
    command: str,
    environment: Environment,
    data: Mapping,
) -> Path:
    """Note what a new run starts from, or check that a resumed one starts the same.

    Args:
        folder: What `RunFolder` gave.
        settings: What `--resume` reads them from.
        command: That of the run.
        environment: Backend, versions and number of devices must be the same.
        data: Facts of the data, which must be the same.

    Returns:
        The folder for the checkpoints.

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


def check_versions(checkpoint: Path, environment: Environment) -> None:
    """Refuse to continue a run in another environment than it was begun in.

    Args:
        checkpoint: What `begin` returned.
        environment: The present one.

    Raises:
        ValueError: Backend, versions or number of devices are others.
    """
    begun, needed = read_json(checkpoint / ORIGIN)["needed"], _needed(environment)
    _check_same({name: begun.get(name) for name in needed}, needed)


def _needed(environment: Environment) -> dict:
    kind = {"backend": environment.backend, "devices": environment.devices}
    return kind | environment.versions


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
    """Return what `begin` noted of an unfinished run.

    Args:
        path: The run's folder, which may exist as the hidden one only.

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
    """Return what identifies a file as long as it is open."""
    found = path.stat()
    return found.st_dev, found.st_ino


def _has_checkpoint(folder: Path) -> bool:
    return (folder / CHECKPOINT / ORIGIN).is_file()


def _has_progress(folder: Path) -> bool:
    """Whether anything was trained; a run that was only begun is not worth keeping."""
    files = (folder / CHECKPOINT).rglob("*")
    return _has_checkpoint(folder) and any(
        path.is_file()
        and path.name != ORIGIN
        and path.suffix not in (".lock", ".partial")
        for path in files
    )


def _interrupted(folder: Path) -> bool:
    """Whether a run was interrupted, or has no metrics that say so."""
    path = folder / "metrics.json"
    return not path.is_file() or bool(read_json(path).get("interrupted"))


def _nothing_to_resume(path: Path) -> str:
    if (path / "metrics.json").is_file():
        return f"expected an unfinished run to resume; {path} is finished"
    return f"expected an unfinished run to resume; there is none at {path}"
