"""Load texts for language models from various sources as flat arrays of ids."""

import numbers
import platform
import sys
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain, count
from pathlib import Path

import numpy as np

from lstm_keras.datasets.embedded_text import read_prose
from lstm_keras.datasets.reviews import load_training_texts
from lstm_keras.datasets.text_files import paragraphs, read_lines
from lstm_keras.preprocessing.tokenizers import TOKENIZERS, check_tokenizer
from lstm_keras.preprocessing.vocabulary import (
    END,
    FIRST_WORD,
    OOV,
    Vocabulary,
    check_whole,
)

_EMBEDDED_NOTE = (
    "The embedded text comes with Python and differs from version to version: compare "
    "only results of the same version."
)

SPLITS = ("lines", "paragraphs", "stream")

# A text may take most of the memory: it is stored once, and operations that need
# several times its size in NumPy (int64 counts, masks) work on pieces of this size.
PIECE = 1 << 20

PROGRESS_STEP = 20_000_000  # tokens between two calls of `progress`


@dataclass(frozen=True, eq=False)
class Corpus:
    """A training text, a held-out text, and the vocabulary of the former.

    Both texts are one array of the ids of each segment (a line or a paragraph) with
    `END` after it, without `PADDING` and `START`. Those of a stream are views of one
    array. Read backwards, the last token but the final `END` comes first.

    Attributes:
        name: A description of the text, such as "text (novel.txt)".
        source: A path, "imdb" or "embedded".
        train: int32 (tokens,).
        held_out: int32 (tokens,), may be empty.
        vocabulary: The words of `train`.
        split: "lines", "paragraphs" or "stream".
        backwards: Whether the tokens are in reverse order.
        note: A line that the user should see, or "".
    """

    name: str
    source: str
    train: np.ndarray
    held_out: np.ndarray
    vocabulary: Vocabulary
    split: str
    backwards: bool = False
    note: str = ""

    @property
    def stream(self) -> bool:
        """Whether the segments are one continuous text, not separate texts."""
        return self.split == "stream"

    @cached_property
    def counts(self) -> np.ndarray:
        """The number of occurrences of each id in `train`, int64 (vocabulary,)."""
        return _count(self.train, len(self.vocabulary))

    @property
    def facts(self) -> dict:
        """Tokens (including `END`), segments and OOV rate of each part, and ids."""
        parts = {
            "train": self.counts,
            "held_out": _count(self.held_out, len(self.vocabulary)),
        }
        facts = {}
        for name, counts in parts.items():
            tokens = int(counts.sum())
            facts[name] = {
                "tokens": tokens,
                "segments": int(counts[END]),
                "oov_rate": float(counts[OOV] / tokens) if tokens else None,
            }
        return {**facts, "vocabulary": len(self.vocabulary)}


def load_text(
    source: str | Path = "embedded",
    *,
    held_out: float = 0.1,
    held_out_source: str | Path | None = None,
    split: str = "lines",
    tokenizer: str | None = None,
    min_count: int = 2,
    max_vocab: int | None = None,
    limit: int | None = None,
    backwards: bool = False,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Corpus:
    """Load a text as ids.

    This needs memory for four bytes per token and for the distinct words; more if
    `seed` chooses the held-out segments.

    The text is split before its words are counted: words that occur only in the
    held-out part, or too rarely, become `OOV`. Words are ranked by their count in the
    training part, and by first occurrence there if equal.

    Args:
        source: "embedded", the documentation that comes with every Python; "imdb", the
            reviews of `reviews.load_training_texts`, each as one line; or a path for
            `text_files.read_lines`.
        held_out: Fraction of the segments that is held out: segments chosen by `seed`,
            or the end of the text if `split` is "stream"; 0 for none.
        held_out_source: A separate source for the held-out text.
        split: What a segment is. "lines": each line that contains a word. "paragraphs":
            lines up to a blank one. "stream": each line, including blank ones, of a
            continuous text.
        tokenizer: A name in `TOKENIZERS`; by default "html" for "imdb", else "text".
        min_count: Minimum count of a word in the vocabulary.
        max_vocab: Maximum number of ids, including the `FIRST_WORD` special ones.
        limit: Maximum number of words read from a source; the rest is ignored.
        backwards: Whether to reverse each part of the text, for a model that predicts
            the word before.
        seed: Chooses the held-out segments.
        progress: Called with the number of tokens read so far from a source after every
            `PROGRESS_STEP` tokens.

    Raises:
        FileNotFoundError: There is no such source.
        ValueError: An argument is invalid, a file cannot be read, or the text is too
            short.
    """
    if tokenizer is None:
        tokenizer = "html" if source == "imdb" else "text"
    _check_options(held_out, split, tokenizer, min_count, max_vocab, limit, seed)
    words: dict[str, int] = defaultdict(count(FIRST_WORD).__next__)
    read = partial(
        _read,
        words=words,
        split=split,
        tokenizer=tokenizer,
        limit=limit,
        progress=progress,
    )
    name, train = read(source)
    if len(train) - _segments(train) < 2:
        raise ValueError(f"expected a text of at least two words; received {name}")
    if held_out_source is None:
        train, rest = _divide(train, held_out, seed, block=split == "stream")
    else:
        other, rest = read(held_out_source)
        name = f"{name}, held out {other}"
        if not len(rest):
            raise ValueError(f"expected words in the held-out text; received {other}")
    train_words, new_ids = _rank(train, list(words), min_count, max_vocab)
    if not train_words:
        raise ValueError(
            f"expected words with a count of {min_count} or more in the training part; "
            f"received {name}"
        )
    for ids in chain(_pieces(train), _pieces(rest)):
        ids[:] = new_ids[ids]
    if backwards:
        train, rest = map(_reversed, (train, rest))
    return Corpus(
        name=name,
        source=str(source),
        train=train,
        held_out=rest,
        vocabulary=Vocabulary(train_words, tokenizer),
        split=split,
        backwards=backwards,
        note=_EMBEDDED_NOTE if source == "embedded" else "",
    )


def _check_options(held_out, split, tokenizer, min_count, max_vocab, limit, seed):
    check_tokenizer(tokenizer)
    if split not in SPLITS:
        raise ValueError(f"expected a split of {list(SPLITS)}; received {split!r}")
    if (
        isinstance(held_out, bool)
        or not isinstance(held_out, numbers.Real)
        or not 0 <= held_out < 1
    ):
        raise ValueError(f"expected held_out in [0, 1); received {held_out!r}")
    check_whole("min_count", min_count, 1)
    check_whole("seed", seed, 0)
    if max_vocab is not None:
        check_whole("max_vocab", max_vocab, FIRST_WORD + 1)
    if limit is not None:
        check_whole("limit", limit, 2)


def _read(
    source: str | Path,
    words: dict[str, int],
    split: str,
    tokenizer: str,
    limit: int | None,
    progress: Callable[[int], None] | None,
) -> tuple[str, np.ndarray]:
    """Return a source's name and ids; a new word gets the next free id in `words`."""
    name, segments = _open(source)
    # The lines of the named sources are paragraphs.
    if split == "paragraphs" and source not in ("embedded", "imdb"):
        segments = paragraphs(segments)
    ids = array("i")
    left = sys.maxsize if limit is None else limit
    reported = 0
    for segment in segments:
        tokens = TOKENIZERS[tokenizer](segment)[:left]
        if tokens or split == "stream":
            ids.extend(map(words.__getitem__, tokens))
            ids.append(END)
        left -= len(tokens)
        if progress and len(ids) // PROGRESS_STEP > reported:
            reported = len(ids) // PROGRESS_STEP
            progress(len(ids))
        if not left:
            break
    return name, np.asarray(ids)  # shares the memory


def _open(source: str | Path) -> tuple[str, Iterator[str]]:
    """Return a source's name and lines."""
    if source == "embedded":
        return f"Python {platform.python_version()} documentation", read_prose()
    if source == "imdb":
        name, reviews = load_training_texts()
        return name, iter(reviews)
    return f"text ({Path(source).resolve().name})", read_lines(source)


def _divide(
    ids: np.ndarray, share: float, seed: int, *, block: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Hold out a share of the segments: the last ones (`block`), or random ones.

    From a text of a single segment a block takes the last tokens.
    """
    segments = _segments(ids)
    if block and share and segments == 1:  # a text without line ends
        start = round((1 - share) * len(ids))
        if not 0 < start < len(ids):
            raise ValueError(
                f"expected enough tokens to hold out a share of {share}; received "
                f"{len(ids)}"
            )
        return ids[:start], ids[start:]
    chosen = round(share * segments)
    if share and not 0 < chosen < segments:
        raise ValueError(
            f"expected enough segments to hold out a share of {share}; received "
            f"{segments}"
        )
    if block:
        start = _start_after(ids, segments - chosen)
        return ids[:start], ids[start:]
    held_out = np.arange(segments) >= segments - chosen
    held_out = np.random.default_rng(seed).permutation(held_out)
    mask = np.repeat(held_out, np.diff(np.flatnonzero(ids == END), prepend=-1))
    return ids[~mask], ids[mask]


def _reversed(ids: np.ndarray) -> np.ndarray:
    """Return the tokens in reverse order, with a final `END` at the end again."""
    end = len(ids) - (len(ids) > 0 and ids[-1] == END)
    return np.concatenate([ids[:end][::-1], ids[end:]])


def _pieces(ids: np.ndarray) -> Iterator[np.ndarray]:
    """Return views of at most `PIECE` tokens each."""
    return (ids[start : start + PIECE] for start in range(0, len(ids), PIECE))


def _segments(ids: np.ndarray) -> int:
    """Return the number of `END` ids."""
    return sum(int(np.count_nonzero(piece == END)) for piece in _pieces(ids))


def _start_after(ids: np.ndarray, segments: int) -> int:
    """Return the position after the first `segments` segments."""
    start = 0
    for piece in _pieces(ids):
        ends = np.flatnonzero(piece == END)
        if segments <= len(ends):
            return start + int(ends[segments - 1]) + 1
        segments -= len(ends)
        start += len(piece)
    raise AssertionError("a text of fewer segments than it has")


def _count(ids: np.ndarray, size: int) -> np.ndarray:
    """Return the number of occurrences of each id below `size`, int64 (size,)."""
    counts = np.zeros(size, np.int64)
    for piece in _pieces(ids):
        counts += np.bincount(piece, minlength=size)
    return counts


def _rank(
    train: np.ndarray, words: list[str], min_count: int, max_vocab: int | None
) -> tuple[list[str], np.ndarray]:
    """Return the vocabulary's words, and the new id for each id of `_read`."""
    counts = _count(train, FIRST_WORD + len(words))
    counts[END] = 0
    first = np.zeros(len(counts), np.int64)
    for start in reversed(range(0, len(train), PIECE)):
        piece = train[start : start + PIECE][::-1]  # the last of equal ids is stored
        first[piece] = np.arange(start, start + len(piece))[::-1]
    ranked = np.lexsort((first, -counts))
    known = ranked[: np.count_nonzero(counts >= min_count)]
    known = known[: None if max_vocab is None else max_vocab - FIRST_WORD]
    new_ids = np.full(len(counts), OOV, np.int32)
    new_ids[END] = END
    new_ids[known] = np.arange(FIRST_WORD, FIRST_WORD + len(known))
    return [words[i] for i in known - FIRST_WORD], new_ids
