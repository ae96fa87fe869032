"""Stream the lines and paragraphs of text files, plain or compressed."""

import lzma
import re
import zlib
from collections.abc import Iterable, Iterator
from io import TextIOWrapper
from itertools import chain, count
from pathlib import Path
from typing import IO

from lstm_keras.datasets.review_files import OPENERS

# The longest paragraph of a novel has some 100,000 characters; a file with longer lines
# is not a text, or is a compression bomb.
MAX_LINE = 1 << 22
MAX_TEXT = 1 << 32

_COMPRESSED = {".gz", ".bz2", ".xz"}
# Invalid UTF-8, as Python's "surrogateescape" marks it, and the zeros of binary files
# and of UTF-16.
_NO_TEXT = re.compile("[\0\udc80-\udcff]")


def read_lines(path: str | Path) -> Iterator[str]:
    r"""Read a text line by line.

    Lines end at "\n", "\r\n" or "\r", which is removed, as is a byte order mark.

    Args:
        path: A UTF-8 file of any name, compressed if it ends in `.gz`, `.bz2` or `.xz`;
            or a folder, whose files `*.txt`, `*.txt.gz`, `*.txt.bz2` and `*.txt.xz` are
            read in alphabetical order, with a blank line after each.

    Returns:
        The lines. Reading them raises a `ValueError` that names the file (and the line)
        if it is not UTF-8 text, is damaged or truncated, has a line of more than
        `MAX_LINE` characters, or is longer than `MAX_TEXT`.

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
        raise ValueError(f"{path} is not a complete {suffix} file: {error}") from error


def _decoded(file: IO[bytes], path: Path) -> Iterator[str]:
    # Decoding accepts any bytes, so that the error below can name the line.
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
    """Join consecutive lines that are not blank by spaces.

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
