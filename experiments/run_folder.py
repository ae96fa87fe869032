"""The folder in which a run keeps its results: whole, or not there at all."""

import csv
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from experiments.runner import option


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

    Used as a context manager. The files are written to a hidden folder beside it, which
    takes the run's name when the block ends, and is removed if the block fails.

    Args:
        path: The folder to make.
        overwrite: Whether a folder of that name is replaced.

    Raises:
        FileExistsError: The folder exists and `overwrite` is false, or what exists is
            not a run.
        OSError: The place cannot be written to.
    """

    def __init__(self, path: Path, overwrite: bool = False):
        self.path = Path(path)
        self.overwrite = overwrite

    def __enter__(self) -> Path:
        """Return the hidden folder to write into."""
        if os.path.lexists(self.path) and not self.overwrite:
            raise FileExistsError(
                f"expected a new run folder; {self.path} exists already "
                "(choose another --name, or --overwrite it)"
            )
        if os.path.lexists(self.path) and not (self.path / "metrics.json").is_file():
            raise FileExistsError(
                f"expected a run to overwrite; {self.path} holds no metrics.json"
            )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._partial = Path(
                tempfile.mkdtemp(dir=self.path.parent, prefix=f".{self.path.name}.")
            )
        except OSError as error:
            raise OSError(
                f"expected a folder that can be written to at {self.path.parent}; "
                f"received: {error}"
            ) from error
        self._partial.chmod(0o755)
        return self._partial

    def __exit__(self, kind, error, traceback) -> None:
        """Give the folder its name, or remove it if there was an error."""
        if error is not None:
            shutil.rmtree(self._partial)
            return
        try:
            self._take_name()
        except OSError as error:
            raise OSError(
                f"expected to name the finished run {self.path}; it lies in "
                f"{self._partial}: {error}"
            ) from error

    def _take_name(self) -> None:
        if not (self.overwrite and self.path.exists()):
            self._partial.rename(self.path)
            return
        old = Path(tempfile.mkdtemp(dir=self.path.parent, prefix=".old."))
        self.path.rename(old / self.path.name)
        try:
            self._partial.rename(self.path)
        except OSError:
            # Not in a `finally`: if this fails, too, the old run must stay where it is.
            (old / self.path.name).rename(self.path)
            old.rmdir()
            raise
        shutil.rmtree(old)


def run_path(output: str, experiment: str, name: str) -> Path:
    """Return `output/experiment/name`, refusing a name that is no single folder name.

    Raises:
        ValueError: The name is empty, starts with a dot or holds a path separator.
    """
    if not name or name.startswith(".") or Path(name).name != name or "\\" in name:
        raise ValueError(f"expected a plain folder name as --name; received {name!r}")
    return Path(output) / experiment / name


def write_json(path: Path, content) -> None:
    """Write a JSON file that a person can read, too."""
    path.write_text(
        json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n",
        encoding="utf-8",
    )


def write_csv(path: Path, rows: Sequence[dict]) -> None:
    """Write rows of equal keys as CSV with a header."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=rows[0])
        writer.writeheader()
        writer.writerows(rows)
