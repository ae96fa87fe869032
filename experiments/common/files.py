"""Atomic writes: a file is complete or absent, even after a crash or a power cut."""

import contextlib
import csv
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path


@contextlib.contextmanager
def atomic_write(path: Path, mode: str = "w", **options) -> Iterator:
    """Open a file that appears under its name only once it is complete and on disk.

    Until then it has a hidden name beside it. If the block fails, an existing file of
    that name stays as it is.

    Args:
        path: The file.
        mode: "w" for text in UTF-8, "wb" for bytes.
        **options: Of `open`.

    Raises:
        OSError: It cannot be written; the message names it and says why.
    """
    partial = path.with_name(f".{path.name}.partial")
    if "b" not in mode:
        options["encoding"] = "utf-8"
    try:
        with partial.open(mode, **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync(path.parent)
    except OSError as error:
        _remove(partial)
        reason = error.strerror or error
        raise OSError(f"expected to write {path}; received: {reason}") from error
    except BaseException:
        _remove(partial)
        raise


def write_json(path: Path, content) -> None:
    """Write an indented JSON file."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_write(path) as file:
        file.write(text + "\n")


def write_csv(path: Path, rows: Sequence[dict]) -> None:
    """Write rows of equal keys as CSV with a header."""
    with atomic_write(path, newline="") as file:
        writer = csv.DictWriter(file, fieldnames=rows[0])
        writer.writeheader()
        writer.writerows(rows)


def read_json(path: Path) -> dict:
    """Read a JSON object.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds something else; the message names it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"expected JSON in {path}; received {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"expected a JSON object in {path}; received {content!r:.80}")
    return content


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    try:
        number = os.open(path, os.O_RDONLY)
    except PermissionError:  # Windows opens no folders
        return
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # the error that led here says more
        path.unlink(missing_ok=True)
