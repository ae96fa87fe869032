"""Lines and paragraphs of text files, plain or compressed, never held in memory."""

import lzma
import re
import zlib
from collections.abc import Iterable, Iterator
from io import TextIOWrapper
from itertools import chain, count
from pathlib import Path
from typing import IO

from lstm_keras.datasets.review_files import OPENERS

# The longest paragraph of a novel has some 100,000 characters; a file with longer
# lines is no text, or a compression bomb.
MAX_LINE = 1 << 22
MAX_TEXT = 1 << 32

_COMPRESSED = {".gz", ".bz2", ".xz"}
# Bytes that are no UTF-8, as Python's "surrogateescape" marks them, and the zeros of
# binary files and of UTF-16.
_NO_TEXT = re.compile("[\0\udc80-\udcff]")


def read_lines(path: str | Path) -> Iterator[str]:
    r"""Reads a text line by line.

    Lines end at "\n", "\r\n" or "\r", which is left out, as is a byte order mark.

    Args:
        path: A UTF-8 file of any name, compressed if it ends in `.gz`, `.bz2` or `.xz`;
            or a folder, of which the files `*.txt`, `*.txt.gz`, `*.txt.bz2` and
            `*.txt.xz` are read in the order of their names, with a blank line after
            each.

    Returns:
        The lines. Reading them raises a `ValueError` that names the file (and the line)
        for what is no UTF-8 text, a broken or truncated archive, a line of more than
        `MAX_LINE` characters and a file of more than `MAX_TEXT`.

    Raises:
        FileNotFoundError: There is no such file or folder.
        ValueError: The folder has no such files.
    """
    path = Path(path)
    if path.is_file():
        return _lines(path)
    if not path.is_dir():
        raise FileNotFoundError(f"expected a text file or a folder; received {path}")
    files = [file for file in sorted(path.iterdir()) if _is_text(file)]
    if not files:
        names = [file.name for file in sorted(path.iterdir())]
        raise ValueError(
            f"expected files *.txt (.gz, .bz2, .xz) in {path}; received {names!s:.200}"
        )
    return chain.from_iterable(chain(_lines(file), ("",)) for file in files)


def _is_text(file: Path) -> bool:
    name = Path(file.stem) if file.suffix.lower() in _COMPRESSED else file
    return name.suffix.lower() == ".txt" and file.is_file()


def _lines(path: Path) -> Iterator[str]:
    suffix = path.suffix.lower()
    if suffix not in _COMPRESSED:
        with path.open("rb") as file:
            yield from _decoded(file, path)
        return
    try:
        with OPENERS[suffix](path, "rb") as file:
            yield from _decoded(file, path)
    except (lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        raise ValueError(f"{path} is not a whole {suffix} file: {error}") from error


def _decoded(file: IO[bytes], path: Path) -> Iterator[str]:
    # Decoding never fails here, so that an error can name its line.
    with TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape") as text:
        read = 0
        for number in count(1):
            line = text.readline(MAX_LINE + 1)
            if not line:
                return
            read += len(line)
            where = f"{path}, line {number}"
            if len(line) > MAX_LINE:
                raise ValueError(f"{where}: expected at most {MAX_LINE} characters")
            if read > MAX_TEXT:
                raise ValueError(f"{where}: expected a text of at most {MAX_TEXT}")
            if wrong := _NO_TEXT.search(line):
                byte = ord(wrong[0]) & 0xFF
                raise ValueError(
                    f"{where}: expected UTF-8 text; received the byte {byte:#04x} "
                    f"after {wrong.start()} characters"
                )
            yield line.removesuffix("\n")


def paragraphs(lines: Iterable[str]) -> Iterator[str]:
    """Joins consecutive lines that are not blank by spaces.

    Raises:
        ValueError: A paragraph has more than `MAX_LINE` characters.
    """
    parts: list[str] = []
    length = 0
    for line in chain(lines, ("",)):
        if line := line.strip():
            parts.append(line)
            length += len(line) + 1
            if length > MAX_LINE:
                raise ValueError(
                    f"expected paragraphs of at most {MAX_LINE} characters, with blank "
                    f"lines between them; received {' '.join(parts)!r:.100}"
                )
        elif parts:
            yield " ".join(parts)
            parts, length = [], 0
