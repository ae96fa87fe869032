"""Movie reviews with a sentiment, from wherever they lie, as one kind of object.

The real ones are those of Maas et al., "Learning Word Vectors for Sentiment
Analysis" (2011): https://ai.stanford.edu/~amaas/data/sentiment/.
"""

import bz2
import csv
import gzip
import http.client
import lzma
import os
import posixpath
import re
import socket
import tarfile
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lstm_keras.embedded_reviews import generate_reviews
from lstm_keras.preprocessing import FIRST_WORD, TOKENIZERS, Vocabulary

# Far above the real data (longest review 14 kB; 100,000 members; 0.4 GB), and low
# enough that a hostile file is refused before it fills memory or hours.
MAX_REVIEW_BYTES = 1 << 20
MAX_MEMBERS = 500_000
MAX_ARCHIVE_BYTES = 2 << 30

DOWNLOAD_TIMEOUT = 15.0  # seconds without an answer

_LABELS = {"neg": 0, "pos": 1}
_REVIEW = re.compile(r"(?:.*/)?aclImdb/(train|test)/(neg|pos)/([0-9]{1,9})_[0-9]+\.txt")
_OPENERS = {
    ".tar": open,
    ".gz": gzip.open,
    ".tgz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}
_SENTIMENTS = {"negative": 0, "neg": 0, "0": 0, "positive": 1, "pos": 1, "1": 1}

_Texts = dict[str, tuple[list[str], np.ndarray]]  # split -> texts and labels


@dataclass(frozen=True, eq=False)
class Split:
    """Reviews and their labels.

    Attributes:
        texts: n texts.
        ids: n arrays int32 (time,): start id, then the ids of the full vocabulary.
        labels: int32 (n,), 0 negative and 1 positive.
    """

    texts: Sequence[str]
    ids: list[np.ndarray]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Reviews:
    """Training and test reviews, and the vocabulary of the training reviews.

    Attributes:
        name: The data in words, such as "IMDB (archive aclImdb_v1.tar.gz)".
        source: A path, "keras.datasets.imdb" or "embedded".
        train: The training split.
        test: The test split.
        vocabulary: Every word of the training split.
        real: False for generated reviews.
        note: A line that the user should see, or "".
    """

    name: str
    source: str
    train: Split
    test: Split
    vocabulary: Vocabulary
    real: bool
    note: str = ""

    @property
    def sizes(self) -> dict[str, int]:
        """Reviews in each split, and ids in the vocabulary."""
        return {
            "train": len(self.train),
            "test": len(self.test),
            "vocabulary": len(self.vocabulary),
        }


class _DecodedTexts(Sequence[str]):
    """Texts of reviews that exist as ids only, decoded when asked for."""

    def __init__(self, ids: list[np.ndarray], vocabulary: Vocabulary):
        self._ids = ids
        self._vocabulary = vocabulary

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return _DecodedTexts(self._ids[index], self._vocabulary)
        return self._vocabulary.decode(self._ids[index])


def load_reviews(
    data: str | Path = "auto",
    *,
    tokenizer: str | None = None,
    test_fraction: float = 0.5,
    seed: int = 0,
    limit: int | None = None,
) -> Reviews:
    """Loads reviews: "auto", "keras", "embedded" or a path.

    "auto" takes the first that is there: an unpacked folder, archive or CSV in
    `$LSTM_KERAS_DATA/imdb` or `$LSTM_KERAS_DATA`; `keras.datasets.imdb`, from its
    cache or by download; the embedded reviews, with the reason in `Reviews.note`.

    The other arguments are those of `load_imdb`.

    Raises:
        FileNotFoundError: `LSTM_KERAS_DATA` or `data` names nothing that exists.
        ConnectionError: `data` is "keras" and the download fails.
        ValueError: A bad argument, or a source that is broken or empty.
    """
    options = {"tokenizer": tokenizer, "seed": seed, "limit": limit}
    if data == "embedded":
        return load_embedded(**options)
    if data != "auto":
        return load_imdb(data, test_fraction=test_fraction, **options)
    if path := _find_local():
        return load_imdb(path, test_fraction=test_fraction, **options)
    if tokenizer in (None, "keras"):
        try:
            return load_imdb("keras", **options)
        except ConnectionError as error:
            reason = str(error)
    else:
        reason = "keras.datasets.imdb holds ids, not text to tokenize"
    note = (
        f"Using the small embedded reviews, not IMDB ({reason}). For the real ones put "
        "aclImdb_v1.tar.gz of https://ai.stanford.edu/~amaas/data/sentiment/ into a "
        "folder and set LSTM_KERAS_DATA to it."
    )
    return replace(load_embedded(**options), note=note)


def load_embedded(
    seed: int = 0,
    *,
    train_size: int = 4000,
    test_size: int = 1000,
    tokenizer: str | None = None,
    limit: int | None = None,
) -> Reviews:
    """Generates the embedded reviews: short, English, solved by word order."""
    _check_options(tokenizer, 0.5, seed, limit)
    texts = {
        "train": generate_reviews("train", train_size, seed),
        "test": generate_reviews("test", test_size, seed),
    }
    name = "embedded reviews (generated, not IMDB)"
    return _tokenized(name, "embedded", texts, tokenizer, limit, seed, real=False)


def load_imdb(
    source: str | Path,
    *,
    tokenizer: str | None = None,
    test_fraction: float = 0.5,
    seed: int = 0,
    limit: int | None = None,
) -> Reviews:
    """Loads the IMDB movie reviews.

    Reviews come in a fixed order, negative before positive and by number within
    (those of Keras in Keras's own shuffled order): shuffle them for training.

    Args:
        source: "keras" for `keras.datasets.imdb`, or the path of the official archive
            (`aclImdb*.tar`, `.tar.gz`, `.tar.xz`, `.tar.bz2`), of its unpacked folder,
            or of a CSV with the columns `review` and `sentiment`. An archive is read
            in memory; nothing is extracted.
        tokenizer: A name of `TOKENIZERS`; by default "words". Keras's reviews come
            tokenized and take "keras" only.
        test_fraction: Share of a CSV's reviews, which have no split, that are tested.
        seed: Chooses the CSV's test reviews and those that `limit` keeps.
        limit: Most reviews in each split; a larger split is cut to as many negative
            as positive ones. Unless the source is "keras", the vocabulary is that of
            the training reviews kept.

    Raises:
        FileNotFoundError: There is no such path.
        ConnectionError: Keras's files are not cached and cannot be downloaded.
        ValueError: A bad argument, or a source that is broken, truncated, hostile or
            without labelled reviews; the message names it.
    """
    _check_options(tokenizer, test_fraction, seed, limit)
    if source == "keras":
        if tokenizer not in (None, "keras"):
            raise ValueError(
                'expected the tokenizer "keras": keras.datasets.imdb is tokenized '
                f"already; received {tokenizer!r}"
            )
        return _load_keras(limit, seed)
    path = Path(source)
    note = ""
    if not path.exists():
        raise FileNotFoundError(
            f'expected "keras" or an existing path; received {path}'
        )
    if path.is_dir():
        kind, texts = "folder", _read_folder(path)
    elif path.suffix.lower() in _OPENERS:
        kind, texts = "archive", _read_archive(path)
    elif path.suffix.lower() == ".csv":
        kind = "CSV"
        texts, note = _read_csv(path, test_fraction, np.random.default_rng(seed))
    else:
        raise ValueError(
            f"expected a folder, a .csv file or a tar archive ({' '.join(_OPENERS)}); "
            f"received {path}"
        )
    name = f"IMDB ({kind} {path.resolve().name})"
    return _tokenized(name, str(path), texts, tokenizer, limit, seed, note=note)


def _check_options(tokenizer, test_fraction, seed, limit) -> None:
    if tokenizer is not None and tokenizer not in TOKENIZERS:
        raise ValueError(
            f"expected a tokenizer of {sorted(TOKENIZERS)}; received {tokenizer!r}"
        )
    if not 0 < test_fraction < 1:
        raise ValueError(
            f"expected a test_fraction between 0 and 1; received {test_fraction!r}"
        )
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"expected a seed of at least 0; received {seed!r}")
    if limit is not None and (not isinstance(limit, int) or limit < 2):
        raise ValueError(f"expected a limit of at least 2; received {limit!r}")


def _find_local() -> Path | None:
    """The reviews under `LSTM_KERAS_DATA`, if any."""
    root = os.environ.get("LSTM_KERAS_DATA")
    if not root:
        return None
    if not Path(root).is_dir():
        raise FileNotFoundError(
            f"expected a folder in LSTM_KERAS_DATA; received {root!r}"
        )
    for folder in (Path(root, "imdb"), Path(root)):
        named = sorted(folder.glob("aclImdb*"))
        found = [path for path in named if path.is_dir()]
        found += [path for path in named if path.suffix.lower() in _OPENERS]
        found += sorted(folder.glob("*.csv"))
        if found:
            return found[0]
    return None


def _balanced(labels: np.ndarray, limit: int | None, seed: int) -> np.ndarray:
    """Indices of at most `limit` reviews, half of each label, in their order."""
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    rng = np.random.default_rng(seed)
    each = [rng.permutation(np.flatnonzero(labels == label)) for label in (0, 1)]
    count = min(limit // 2, *map(len, each))
    return np.sort(np.concatenate([indices[:count] for indices in each]))


def _tokenized(
    name: str,
    source: str,
    texts: _Texts,
    tokenizer: str | None,
    limit: int | None,
    seed: int,
    *,
    real: bool = True,
    note: str = "",
) -> Reviews:
    for split, (reviews, labels) in texts.items():
        chosen = _balanced(labels, limit, seed)
        texts[split] = [reviews[i] for i in chosen], labels[chosen]
    vocabulary = Vocabulary.build(texts["train"][0], tokenizer=tokenizer or "words")
    train, test = (
        Split(reviews, vocabulary.encode_all(reviews), labels)
        for reviews, labels in (texts["train"], texts["test"])
    )
    return Reviews(name, source, train, test, vocabulary, real, note)


def _load_keras(limit: int | None, seed: int) -> Reviews:
    import keras  # here, so that the other sources load no backend

    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)  # Keras itself would wait for ever
    try:
        ranks = keras.datasets.imdb.get_word_index()
        # Without num_words Keras takes the last word for out-of-vocabulary.
        splits = keras.datasets.imdb.load_data(num_words=len(ranks) + FIRST_WORD)
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionError(f"no keras.datasets.imdb: {error}") from error
    except Exception as error:
        # Keras has no type of its own for a failed address or a wrong checksum.
        if not str(error).startswith(("URL fetch failure", "Incomplete or corrupted")):
            raise
        raise ConnectionError(f"no keras.datasets.imdb: {error}") from error
    finally:
        socket.setdefaulttimeout(timeout)

    vocabulary = Vocabulary(sorted(ranks, key=ranks.get), tokenizer="keras")
    train, test = (_keras_split(*split, vocabulary, limit, seed) for split in splits)
    name = "IMDB (keras.datasets.imdb)"
    return Reviews(name, "keras.datasets.imdb", train, test, vocabulary, real=True)


def _keras_split(sequences, labels, vocabulary, limit, seed) -> Split:
    chosen = _balanced(labels, limit, seed)
    ids = [np.asarray(sequences[i], np.int32) for i in chosen]
    return Split(_DecodedTexts(ids, vocabulary), ids, labels[chosen].astype(np.int32))


class _TarStream:
    """What tarfile reads from, with a bound on each read and memory of the last.

    tarfile reads an extended header whole, however long it says that it is.
    """

    def __init__(self, file):
        self._file = file
        self.seek = file.seek
        self.tell = file.tell
        self.last = b""

    def read(self, size: int) -> bytes:
        if not 0 <= size <= MAX_REVIEW_BYTES + tarfile.BLOCKSIZE:
            raise tarfile.ReadError(f"a block of {size} bytes")
        self.last = self._file.read(size)
        return self.last


class _RefusedError(ValueError):
    """A source that can be read but must not be taken."""


def _read_archive(path: Path) -> _Texts:
    reviews = {}
    try:
        with _OPENERS[path.suffix.lower()](path, "rb") as file:
            stream = _TarStream(file)
            with tarfile.open(fileobj=stream, mode="r:") as tar:
                for number, member in enumerate(tar):
                    where = f"{path}, member {member.name!r}"
                    if key := _member_key(member, number, where):
                        if key in reviews:
                            raise _RefusedError(f"{where}: received it twice")
                        data = tar.extractfile(member).read()
                        reviews[key] = _decode(data, where)
            # tarfile takes a damaged header for the end.
            if stream.last != bytes(tarfile.BLOCKSIZE):
                raise _RefusedError(f"{path}: damaged or truncated: no end mark")
            while file.read(1 << 16):  # up to the checksum
                if file.tell() > MAX_ARCHIVE_BYTES:
                    raise _RefusedError(
                        f"{path}: longer than {MAX_ARCHIVE_BYTES} bytes"
                    )
    except _RefusedError:
        raise
    except (
        *(tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError),
        *(ValueError, OverflowError, RecursionError),  # of malformed headers
    ) as error:
        raise ValueError(f"{path} is not a whole tar archive: {error}") from error
    return _by_split(reviews, path)


def _member_key(
    member: tarfile.TarInfo, number: int, where: str
) -> tuple[str, int, int] | None:
    """Split, label and number of a review; None for what is no labelled review."""
    if member.name.startswith("/") or ".." in member.name.split("/"):
        raise _RefusedError(f"{where}: expected a name inside the archive")
    if number >= MAX_MEMBERS:
        raise _RefusedError(f"{where}: expected at most {MAX_MEMBERS} members")
    if not 0 <= member.size <= MAX_ARCHIVE_BYTES - member.offset_data:
        raise _RefusedError(
            f"{where}: expected at most {MAX_ARCHIVE_BYTES} bytes in all"
        )
    key = _review_key(member.name)
    if key and not member.isreg():
        raise _RefusedError(f"{where}: expected a regular file")
    if key and member.size > MAX_REVIEW_BYTES:
        raise _RefusedError(f"{where}: expected at most {MAX_REVIEW_BYTES} bytes")
    return key


def _review_key(name: str) -> tuple[str, int, int] | None:
    match = _REVIEW.fullmatch(posixpath.normpath(name))
    return match and (match[1], _LABELS[match[2]], int(match[3]))


def _decode(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _RefusedError(f"{where}: expected UTF-8; {error}") from error


def _read_folder(path: Path) -> _Texts:
    root = path / "aclImdb" if (path / "aclImdb").is_dir() else path
    reviews = {}
    for file in root.glob("t*/*/*.txt"):
        key = _review_key(f"aclImdb/{file.relative_to(root).as_posix()}")
        if key and file.is_file():
            if file.stat().st_size > MAX_REVIEW_BYTES:
                raise ValueError(f"{file}: expected at most {MAX_REVIEW_BYTES} bytes")
            reviews[key] = _decode(file.read_bytes(), str(file))
    return _by_split(reviews, path)


def _by_split(reviews: dict[tuple[str, int, int], str], path: Path) -> _Texts:
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


def _read_csv(
    path: Path, test_fraction: float, rng: np.random.Generator
) -> tuple[_Texts, str]:
    """Splits the distinct reviews of a CSV; the second result tells of repeats."""
    labels_of: dict[str, int] = {}
    repeats = 0
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
            for row in filter(None, lines):
                fields = dict(zip(header, row, strict=False))
                label = _SENTIMENTS.get(fields.get("sentiment", "").strip().lower())
                if label is None or "review" not in fields:
                    raise ValueError(
                        f"{path}, line {lines.line_num}: expected a review and a "
                        f"sentiment of {list(_SENTIMENTS)}; received {row!r:.200}"
                    )
                repeats += fields["review"] in labels_of
                labels_of.setdefault(fields["review"], label)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}, near line {lines.line_num}: {error}") from error
    finally:
        csv.field_size_limit(usual_limit)

    texts = list(labels_of)
    labels = np.array(list(labels_of.values()), np.int32)
    test = []
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
    note = f"{repeats} rows of {path} repeat an earlier review and are left out."
    return splits, note if repeats else ""
