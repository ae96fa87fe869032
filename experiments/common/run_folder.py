"""The folder of a run, which appears under its name only when it is complete.

Until then a run works in a hidden folder beside it, `.NAME.partial`, which is renamed
at the end. Its checkpoints are in `checkpoint/` there, from which a killed run can be
resumed. An interrupted run still writes its report, and keeps its checkpoints.
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
    """Context manager of a folder that appears under its name once it is complete.

    It gives the hidden folder to write into, and renames it when the block ends. If the
    block fails, the hidden folder stays if it contains a checkpoint, and is removed
    otherwise, as are parent folders that were made for it. Only one process at a time
    can hold it.

    Args:
        path: The folder.
        overwrite: Whether to replace an existing run of that name, finished or not.
        resume: Whether to continue an unfinished run of that name.

    Raises:
        FileExistsError: There is a run of that name, finished or not, and neither
            `overwrite` nor `resume`; or a folder to overwrite is not a run.
        FileNotFoundError: There is nothing to resume.
        BlockingIOError: Another process holds this run.
        OSError: The parent folder cannot be written to.
    """

    def __init__(self, path: Path, overwrite: bool = False, resume: bool = False):
        self.path = Path(path)
        self.overwrite = overwrite
        self.resume = resume
        self._partial = partial_path(self.path)
        self._old = self.path.with_name(f".{self.path.name}.old")
        self._copied: set[tuple] = set()  # checkpoints that are elsewhere, too

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
        """Rename the folder; after an error, keep or remove it."""
        ours = self._is_ours()
        if error is not None:
            self._release()
            if ours and self._has_new_progress():
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
            self._new_parents = [one for one in self.path.parents if not one.exists()]
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
        """Repair the state after a kill between the two renames of `_take_name`."""
        if not self._old.is_dir():
            return
        if self.path.exists():
            _remove(self._old)
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
        if not self.overwrite and _progress(self._partial):
            raise FileExistsError(
                f"expected a new run; {self._partial} holds checkpoints of {self.path} "
                f"(continue with {self._resume}, or start again with --overwrite)"
            )

    def _reuse_checkpoints(self) -> None:
        """Leave only the checkpoints of the unfinished run in the hidden folder.

        Those of a killed run are there already, and newer than those of a report.
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
        self._copied = _progress(self._partial)

    def _clear(self, keep: tuple[str, ...]) -> None:
        for path in self._partial.iterdir():
            if path.name not in (LOCK, *keep):
                _remove(path)

    def _release(self) -> None:
        """Release the lock, and remove the folder unless it has checkpoints."""
        with contextlib.suppress(OSError):
            if self._is_ours() and not self._has_new_progress():
                shutil.rmtree(self._partial)
                for parent in self._new_parents:
                    parent.rmdir()  # fails at the first that holds something else
        self._lock.release()

    def _has_new_progress(self) -> bool:
        return bool(_progress(self._partial) - self._copied)

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
            # Not in a `finally`, where the old run could be deleted if this fails, too.
            if self._old.is_dir():
                self._old.rename(self.path)
            raise
        sync(self.path.parent)
        # Last, since a kill before the rename must not lose the checkpoints.
        if not _interrupted(self.path):
            shutil.rmtree(self.path / CHECKPOINT, ignore_errors=True)
        (self.path / LOCK).unlink(missing_ok=True)
        if self._old.is_dir():
            _remove(self._old)


def begin(
    folder: Path,
    settings: Mapping,
    command: str,
    environment: Environment,
    data: Mapping,
) -> Path:
    """Record the origin of a new run, or check that a resumed one has the same.

    Args:
        folder: The hidden folder of the run.
        settings: Its settings, which `--resume` reads.
        command: Its command.
        environment: Backend and versions must be the same, and the number of devices
            but on JAX.
        data: Facts about the data, which must be the same.

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
    """Refuse to continue a run in an environment other than its own.

    Args:
        checkpoint: The folder that `begin` returned.
        environment: The present environment.

    Raises:
        ValueError: Backend, versions or number of devices differ.
    """
    begun, needed = read_json(checkpoint / ORIGIN)["needed"], _needed(environment)
    _check_same({name: begun.get(name) for name in needed}, needed)


def _needed(environment: Environment) -> dict:
    # On JAX the number of devices changes rounding alone.
    devices = 1 if environment.backend == "jax" else environment.devices
    kind = {"backend": environment.backend, "devices": devices}
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
    """Return the origin of an unfinished run, which `begin` recorded.

    Args:
        path: The run's folder, of which only the hidden one may exist.

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
    """Return `output/experiment/name`.

    Raises:
        ValueError: The name is empty, starts with a dot or holds a path separator.
    """
    if not name or name.startswith(".") or Path(name).name != name or "\\" in name:
        raise ValueError(f"expected a plain folder name as --name; received {name!r}")
    return Path(output) / experiment / name


def _identity(path: Path) -> tuple[int, int]:
    """Return device and inode, which identify a file while it is open."""
    found = path.stat()
    return found.st_dev, found.st_ino


def _has_checkpoint(folder: Path) -> bool:
    return (folder / CHECKPOINT / ORIGIN).is_file()


def _progress(folder: Path) -> set[tuple]:
    """Return the files that make a run worth keeping, with their times."""
    if not _has_checkpoint(folder):
        return set()
    return {
        (path.relative_to(folder), path.stat().st_mtime_ns)
        for path in (folder / CHECKPOINT).rglob("*")
        if path.is_file()
        and path.name != ORIGIN
        and path.suffix not in (".lock", ".partial")
    }


def _remove(path: Path) -> None:
    """Remove a file, a folder, or a link to one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _interrupted(folder: Path) -> bool:
    """Whether a run was interrupted, or lacks metrics."""
    path = folder / "metrics.json"
    return not path.is_file() or bool(read_json(path).get("interrupted"))


def _nothing_to_resume(path: Path) -> str:
    if (path / "metrics.json").is_file():
        return f"expected an unfinished run to resume; {path} is finished"
    return f"expected an unfinished run to resume; there is none at {path}"
