"""Read reviews from a folder, a tar archive or a CSV.

Nothing is written, and malicious files are refused.
"""

import bz2
import csv
import gzip
import lzma
import posixpath
import re
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

# Far above the real data (longest review 14 kB; 100,000 members; 0.4 GB), but low
# enough to refuse a malicious file before it takes too much memory or time.
MAX_REVIEW_BYTES = 1 << 20
MAX_MEMBERS = 500_000
MAX_ARCHIVE_BYTES = 2 << 30

_LABELS = {"neg": 0, "pos": 1}
_REVIEW = re.compile(r"(?:.*/)?aclImdb/(train|test)/(neg|pos)/([0-9]{1,9})_[0-9]+\.txt")
_TRAINING_TEXT = re.compile(
    r"(?:.*/)?aclImdb/train/(neg|pos|unsup)/([0-9]{1,9})_[0-9]+\.txt"
)
OPENERS: dict[str, Callable[..., Any]] = {
    ".tar": open,
    ".gz": gzip.open,
    ".tgz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}
_SENTIMENTS = {"negative": 0, "neg": 0, "0": 0, "positive": 1, "pos": 1, "1": 1}
# What damaged archives raise; the last three come from malformed headers.
_DAMAGED = (
    tarfile.TarError,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    RecursionError,
)

Review = tuple[tuple[str, ...], str]  # the groups in its file name, and its text
Texts = dict[str, tuple[list[str], np.ndarray]]  # split -> texts and labels


class _TarStream:
    """A file for tarfile that bounds each read and remembers the last.

    tarfile reads extended headers of any length at once.
    """

    def __init__(self, file: IO[bytes]):
        self._file = file
        self.seek = file.seek
        self.tell = file.tell
        self.last = b""

    def read(self, size: int) -> bytes:
        if not 0 <= size <= MAX_REVIEW_BYTES + tarfile.BLOCKSIZE:
            raise tarfile.ReadError(f"a block of {size} bytes")
        self.last = self._file.read(size)
        return self.last


def read_archive(path: Path) -> Texts:
    """Read the labelled reviews of the official archive, in memory.

    Raises:
        ValueError: It is damaged, truncated, malicious or without reviews.
    """
    return _by_split(_read_members(path, _REVIEW), path)


def read_folder(path: Path) -> Texts:
    """Read the unpacked archive: `aclImdb`, or the folder that contains it.

    Raises:
        ValueError: A file is not a review in UTF-8, or a split has no reviews.
    """
    return _by_split(_read_files(path, _REVIEW), path)


def read_training_texts(path: Path) -> list[str]:
    """Read the training reviews of the archive or its folder, with labels or without.

    They are sorted by number, so that those of each kind are spread over the text.

    Raises:
        ValueError: As `read_archive`, or there are none.
    """
    read = _read_files if path.is_dir() else _read_members
    texts = {
        (int(number), kind): text for (kind, number), text in read(path, _TRAINING_TEXT)
    }
    if not texts:
        raise ValueError(
            f"expected reviews in aclImdb/train/{{neg,pos,unsup}} of {path}; received "
            "none"
        )
    return [texts[key] for key in sorted(texts)]


def _read_members(path: Path, pattern: re.Pattern) -> Iterator[Review]:
    """Yield the groups of `pattern` in each member's name, and its text."""
    seen = set()
    try:
        with OPENERS[path.suffix.lower()](path, "rb") as file:
            stream: Any = _TarStream(file)
            with tarfile.open(fileobj=stream, mode="r:") as tar:
                for number, member in enumerate(tar):
                    where = f"{path}, member {member.name!r}"
                    _check_member(member, number, where)
                    match = pattern.fullmatch(posixpath.normpath(member.name))
                    if match:
                        _check_review(member, where)
                        if match.groups() in seen:
                            raise ValueError(f"{where}: received it twice")
                        seen.add(match.groups())
                        data = tar.extractfile(member).read()  # type: ignore[union-attr]
                        yield match.groups(), _decode(data, where)
            # tarfile treats a damaged header as the end.
            if stream.last != bytes(tarfile.BLOCKSIZE):
                raise ValueError(f"{path}: damaged or truncated: no end mark")
            while file.read(1 << 16):  # up to the checksum
                if file.tell() > MAX_ARCHIVE_BYTES:
                    raise ValueError(f"{path}: longer than {MAX_ARCHIVE_BYTES} bytes")
    except _DAMAGED as error:
        if str(error).startswith(str(path)):  # raised above
            raise
        raise ValueError(f"{path} is not a complete tar archive: {error}") from error


def _check_member(member: tarfile.TarInfo, number: int, where: str) -> None:
    if member.name.startswith("/") or ".." in member.name.split("/"):
        raise ValueError(f"{where}: expected a name inside the archive")
    if number >= MAX_MEMBERS:
        raise ValueError(f"{where}: expected at most {MAX_MEMBERS} members")
    if not 0 <= member.size <= MAX_ARCHIVE_BYTES - member.offset_data:
        raise ValueError(f"{where}: expected at most {MAX_ARCHIVE_BYTES} bytes in all")


def _check_review(member: tarfile.TarInfo, where: str) -> None:
    if not member.isreg():
        raise ValueError(f"{where}: expected a regular file")
    if member.size > MAX_REVIEW_BYTES:
        raise ValueError(f"{where}: expected at most {MAX_REVIEW_BYTES} bytes")


def _read_files(path: Path, pattern: re.Pattern) -> Iterator[Review]:
    """Yield the same as `_read_members`, from a folder."""
    root = path / "aclImdb" if (path / "aclImdb").is_dir() else path
    # Shorter names first, which is the order of the numbers.
    files = sorted(root.glob("t*/*/*.txt"), key=lambda file: (len(file.name), file))
    for file in files:
        match = pattern.fullmatch(f"aclImdb/{file.relative_to(root).as_posix()}")
        if match and file.is_file():
            if file.stat().st_size > MAX_REVIEW_BYTES:
                raise ValueError(f"{file}: expected at most {MAX_REVIEW_BYTES} bytes")
            yield match.groups(), _decode(file.read_bytes(), str(file))


def _decode(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{where}: expected UTF-8; {error}") from error


def _by_split(found_reviews: Iterable[Review], path: Path) -> Texts:
    reviews = {
        (split, _LABELS[label], int(number)): text
        for (split, label, number), text in found_reviews
    }
    counts = Counter((split, label) for split, label, _ in reviews)
    found = {
        f"{split}/{name}": counts[split, label]
        for split in ("train", "test")
        for name, label in _LABELS.items()
    }
    if not all(found.values()):
        raise ValueError(
            f"expected reviews in aclImdb/{{train,test}}/{{neg,pos}} of {path}; "
            f"received {found}"
        )
    keys = sorted(reviews)
    texts = {}
    for split in ("train", "test"):
        own = [key for key in keys if key[0] == split]
        labels = np.array([label for _, label, _ in own], np.int32)
        texts[split] = [reviews[key] for key in own], labels
    return texts


def read_csv(
    path: Path, test_fraction: float, rng: np.random.Generator
) -> tuple[Texts, str]:
    """Return the distinct reviews of a CSV by split, and a note about repeated ones."""
    labels_of: dict[str, int] = {}
    rows = contradictions = 0
    usual_limit = csv.field_size_limit(MAX_REVIEW_BYTES)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, strict=True)
            header = [name.strip().lower() for name in next(lines, [])]
            if not {"review", "sentiment"} <= set(header):
                raise ValueError(
                    f"{path}, line 1: expected the columns review and sentiment; "
                    f"received {header}"
                )
            if len(set(header)) < len(header):
                raise ValueError(
                    f"{path}, line 1: expected distinct columns; received {header}"
                )
            for row in filter(None, lines):
                fields = dict(zip(header, row, strict=False))
                label = _SENTIMENTS.get(fields.get("sentiment", "").strip().lower())
                if label is None or len(row) != len(header):
                    raise ValueError(
                        f"{path}, line {lines.line_num}: expected a review and a "
                        f"sentiment of {list(_SENTIMENTS)}; received {row!r:.200}"
                    )
                contradictions += labels_of.setdefault(fields["review"], label) != label
                rows += 1
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected UTF-8; received {error}") from error
    except csv.Error as error:
        raise ValueError(f"{path}, near line {lines.line_num}: {error}") from error
    finally:
        csv.field_size_limit(usual_limit)

    texts = list(labels_of)
    labels = np.array(list(labels_of.values()), np.int32)
    test: list[int] = []
    for label in (0, 1):
        own = rng.permutation(np.flatnonzero(labels == label))
        share = round(test_fraction * len(own))
        if not 0 < share < len(own):
            raise ValueError(
                f"expected reviews of both sentiments for training and test in {path}; "
                f"received {len(own)} distinct ones with label {label}"
            )
        test.extend(own[:share])
    is_test = np.isin(np.arange(len(texts)), test)
    splits = {
        split: ([texts[i] for i in np.flatnonzero(chosen)], labels[chosen])
        for split, chosen in {"train": ~is_test, "test": is_test}.items()
    }
    repeats = rows - len(texts)
    note = (
        f"{repeats} rows of {path} repeat an earlier review, {contradictions} of them "
        "with the other sentiment, and are left out."
    )
    return splits, note if repeats else ""


def has_review_columns(path: Path) -> bool:
    """Whether a CSV's first line names the columns that `read_csv` needs."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        header = file.readline(1000).lower().replace('"', "").split(",")
    return {"review", "sentiment"} <= {name.strip() for name in header}
