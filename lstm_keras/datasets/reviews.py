"""Load movie reviews with sentiment labels from various sources.

The real ones are those of Maas et al., "Learning Word Vectors for Sentiment
Analysis" (2011): https://ai.stanford.edu/~amaas/data/sentiment/.
"""

import http.client
import numbers
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from lstm_keras.datasets.embedded_reviews import generate_reviews
from lstm_keras.datasets.review_files import (
    OPENERS,
    Texts,
    has_review_columns,
    read_archive,
    read_csv,
    read_folder,
    read_training_texts,
)
from lstm_keras.preprocessing.tokenizers import check_tokenizer
from lstm_keras.preprocessing.vocabulary import FIRST_WORD, Vocabulary, check_whole

DOWNLOAD_TIMEOUT = 15.0  # seconds without a response
SITE = "https://ai.stanford.edu/~amaas/data/sentiment/"


@dataclass(frozen=True, eq=False)
class Split:
    """Reviews and their labels.

    Attributes:
        texts: n texts.
        ids: n arrays int32 (time,): `START`, then ids of the full vocabulary.
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
        name: A description of the data, such as "IMDB (archive aclImdb_v1.tar.gz)".
        source: A path, "keras.datasets.imdb" or "embedded".
        train: The training split.
        test: The test split.
        vocabulary: The vocabulary of the ids: all words of the training split, unless
            it is another's.
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
        """Numbers of reviews in each split, and of ids in the vocabulary."""
        return {
            "train": len(self.train),
            "test": len(self.test),
            "vocabulary": len(self.vocabulary),
        }

    def read_with(self, vocabulary: Vocabulary) -> "Reviews":
        """Return the same reviews with the ids of another vocabulary."""
        train, test = (
            replace(split, ids=vocabulary.encode_all(split.texts))
            for split in (self.train, self.test)
        )
        return replace(self, train=train, test=test, vocabulary=vocabulary)

    def with_labels(self, count: int, seed: int) -> "Reviews":
        """Return the reviews with fewer to train on: `count`, half of each label."""
        chosen = _balanced(self.train.labels, count, seed)
        train = Split(
            [self.train.texts[i] for i in chosen],
            [self.train.ids[i] for i in chosen],
            self.train.labels[chosen],
        )
        return replace(self, train=train)


class _DecodedTexts(Sequence[str]):
    """Texts of reviews that exist as ids only, decoded on access."""

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
    """Load reviews: "auto", "keras", "embedded" or a path.

    "auto" chooses the first available source: an unpacked folder, archive or CSV in
    `$LSTM_KERAS_DATA/imdb` or `$LSTM_KERAS_DATA`; `keras.datasets.imdb`, from its cache
    or by download; the embedded reviews, with the reason in `Reviews.note`.

    The other arguments are those of `load_imdb`.

    Raises:
        FileNotFoundError: `LSTM_KERAS_DATA` or `data` does not exist.
        ConnectionError: `data` is "keras" and the download fails.
        ValueError: An argument is invalid, or a source is damaged or empty.
    """
    _check_options(tokenizer, test_fraction, seed, limit)
    options: dict[str, Any] = {"tokenizer": tokenizer, "seed": seed, "limit": limit}
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
        reason = "keras.datasets.imdb contains ids, not text to tokenize"
    note = (
        f"Using the small embedded reviews, not IMDB ({reason}). For the real ones put "
        f"aclImdb_v1.tar.gz of {SITE} into a folder and set LSTM_KERAS_DATA to it."
    )
    return replace(load_embedded(**options), note=note)


def load_embedded(
    seed: int = 0,
    *,
    train_size: int = 20_000,
    test_size: int = 2000,
    tokenizer: str | None = None,
    limit: int | None = None,
) -> Reviews:
    """Generate the embedded reviews: short, English, decided by word order."""
    _check_options(tokenizer, 0.5, seed, limit)
    sizes = {"train": train_size, "test": test_size}
    texts = {
        split: generate_reviews(split, min(size, limit or size), seed)
        for split, size in sizes.items()
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
    """Load the IMDB movie reviews.

    Reviews come in a fixed order, negative before positive and by number within each
    (those of Keras in Keras's own shuffled order): shuffle them for training.

    Args:
        source: "keras" for `keras.datasets.imdb`, or the path of the official archive
            (`aclImdb*.tar`, `.tar.gz`, `.tar.xz`, `.tar.bz2`), of its unpacked folder,
            of a CSV with the columns `review` and `sentiment`, or of a folder that
            contains one of them. An archive is read in memory, not extracted.
        tokenizer: A name in `TOKENIZERS`; by default "words". Keras's reviews are
            tokenized already and need "keras".
        test_fraction: Fraction of a CSV's reviews in the test split.
        seed: Chooses the CSV's test reviews and those within `limit`.
        limit: Maximum number of reviews in each split; a larger split is reduced to
            equal numbers of negative and positive ones. Unless the source is "keras",
            the vocabulary is that of the remaining training reviews.

    Raises:
        FileNotFoundError: There is no such path.
        ConnectionError: Keras's files are not cached and cannot be downloaded.
        ValueError: An argument is invalid, or a source is damaged, truncated, malicious
            or without labelled reviews; the message names it.
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
    if path.is_dir() and not (path / "train").is_dir():
        path = _find_in(path) or path
    if path.is_dir():
        kind, texts = "folder", read_folder(path)
    elif path.suffix.lower() in OPENERS:
        kind, texts = "archive", read_archive(path)
    elif path.suffix.lower() == ".csv":
        kind = "CSV"
        texts, note = read_csv(path, test_fraction, np.random.default_rng(seed))
    else:
        raise ValueError(
            f"expected a folder, a .csv file or a tar archive ({' '.join(OPENERS)}); "
            f"received {path}"
        )
    name = f"{'reviews' if kind == 'CSV' else 'IMDB'} ({kind} {path.resolve().name})"
    return _tokenized(name, str(path), texts, tokenizer, limit, seed, note=note)


def load_training_texts() -> tuple[str, list[str]]:
    """Load the IMDB training reviews in `LSTM_KERAS_DATA` without their labels.

    They are for language models: the labelled training reviews and the unlabelled ones,
    by number, never the test reviews.

    Returns:
        A description of the data, and the reviews in HTML.

    Raises:
        FileNotFoundError: There is no archive or folder of it in `LSTM_KERAS_DATA`.
        ValueError: It is damaged, or without reviews.
    """
    path = _find_local()
    if path is None or path.suffix.lower() == ".csv":
        raise FileNotFoundError(
            f"expected aclImdb_v1.tar.gz of {SITE}, or its folder, in the folder that "
            f"LSTM_KERAS_DATA names; received {os.environ.get('LSTM_KERAS_DATA')!r}"
        )
    kind = "folder" if path.is_dir() else "archive"
    name = f"IMDB training reviews without labels ({kind} {path.resolve().name})"
    return name, read_training_texts(path)


def _check_options(
    tokenizer: str | None, test_fraction: float, seed: int, limit: int | None
) -> None:
    if tokenizer is not None:
        check_tokenizer(tokenizer)
    if not isinstance(test_fraction, numbers.Real) or not 0 < test_fraction < 1:
        raise ValueError(
            f"expected a test_fraction between 0 and 1; received {test_fraction!r}"
        )
    check_whole("seed", seed, 0)
    if limit is not None:
        check_whole("limit", limit, 2)


def _find_local() -> Path | None:
    """Return the path of reviews in `LSTM_KERAS_DATA`, if any."""
    root = os.environ.get("LSTM_KERAS_DATA")
    if not root:
        return None
    if not Path(root).is_dir():
        raise FileNotFoundError(
            f"expected a folder in LSTM_KERAS_DATA; received {root!r}"
        )
    return _find_in(Path(root, "imdb")) or _find_in(Path(root))


def _find_in(folder: Path) -> Path | None:
    """Return the path of an unpacked folder, archive or CSV of reviews, if any."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    named = [path for path in paths if path.name.startswith("aclImdb")]
    found = [path for path in named if path.is_dir()]
    found += [path for path in named if path.suffix.lower() in OPENERS]
    found += [
        path
        for path in paths
        if path.suffix.lower() == ".csv" and has_review_columns(path)
    ]
    return found[0] if found else None


def _balanced(labels: np.ndarray, limit: int | None, seed: int) -> np.ndarray:
    """Return the indices of at most `limit` reviews, half of each label, in order."""
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    rng = np.random.default_rng(seed)
    each = [rng.permutation(np.flatnonzero(labels == label)) for label in (0, 1)]
    count = min(limit // 2, *map(len, each))
    return np.sort(np.concatenate([indices[:count] for indices in each]))


def _tokenized(
    name: str,
    source: str,
    texts: Texts,
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
    try:
        vocabulary = Vocabulary.build(texts["train"][0], tokenizer=tokenizer or "words")
    except ValueError as error:
        raise ValueError(
            f"expected words in the reviews of {source}; {error}"
        ) from error
    train, test = (
        Split(reviews, vocabulary.encode_all(reviews), labels)
        for reviews, labels in (texts["train"], texts["test"])
    )
    return Reviews(name, source, train, test, vocabulary, real, note)


def _load_keras(limit: int | None, seed: int) -> Reviews:
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)  # Keras sets none
    try:
        ranks = keras.datasets.imdb.get_word_index()
        # Without num_words Keras replaces the last word by out-of-vocabulary.
        splits = keras.datasets.imdb.load_data(num_words=len(ranks) + FIRST_WORD)
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionError(f"no keras.datasets.imdb: {error}") from error
    except Exception as error:
        # Keras raises a plain Exception for a failed address or a wrong checksum.
        if not str(error).startswith(("URL fetch failure", "Incomplete or corrupted")):
            raise
        raise ConnectionError(f"no keras.datasets.imdb: {error}") from error
    finally:
        socket.setdefaulttimeout(timeout)

    vocabulary = Vocabulary(sorted(ranks, key=ranks.get), tokenizer="keras")
    train, test = (
        _keras_split(sequences, labels, vocabulary, limit, seed)
        for sequences, labels in splits
    )
    name = "IMDB (keras.datasets.imdb)"
    return Reviews(name, "keras.datasets.imdb", train, test, vocabulary, real=True)


def _keras_split(sequences, labels, vocabulary, limit, seed) -> Split:
    chosen = _balanced(labels, limit, seed)
    ids = [np.asarray(sequences[i], np.int32) for i in chosen]
    return Split(_DecodedTexts(ids, vocabulary), ids, labels[chosen].astype(np.int32))
