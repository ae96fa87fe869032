"""Text to padded word ids: tokenize, count, encode, pad.

Ids follow `keras.datasets.imdb` at `index_from=3`: 0 pads, 1 starts every text,
2 stands for a word outside the vocabulary, 3 is unused, and the words come from 4
on, the most frequent first.
"""

import html
import json
import numbers
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, count, repeat
from pathlib import Path

import numpy as np

PADDING, START, OOV = 0, 1, 2
FIRST_WORD = 4

_FORMAT, _VERSION = "lstm_keras.vocabulary", 1


def _combining_marks() -> str:
    r"""All combining marks, as ranges for a character class (`\w` leaves them out)."""
    spans: list[list[int]] = []
    for code in range(0x20000):  # beyond lie only the variation selectors
        if unicodedata.category(chr(code)).startswith("M"):
            if spans and spans[-1][1] == code - 1:
                spans[-1][1] = code
            else:
                spans.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in spans)


_MARKS = _combining_marks()
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z0-9]{2,31});")
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_APOSTROPHE = re.compile("[´‘’ʼ׳]")
_INVISIBLE = re.compile("[\u00ad\ufe00-\ufe0f\U000e0100-\U000e01ef]")
# Normalization takes time quadratic in a run of marks. Unicode's own bound for
# real text is 30 (UAX #15, stream-safe format). Long runs of any signs are found
# first: the marks are a slow class to search all text for.
_SIGNS = re.compile(r"[^\w\s]{31,}")
_EXCESS_MARKS = re.compile(f"([{_MARKS}]{{30}})[{_MARKS}]+")
# Ideographs, which no space separates, and the signs that normalization turns into
# letters or digits and so would glue to the word before ("7½", "film™").
_ALONE = re.compile(
    "[\u2f00-\u2fdf\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"
    "\u00bc-\u00be\u2150-\u215f\u2120\u2122]"
)

_NUMBER = r"\d++(?:[.,/:]\d++)+"
_ASCII_TOKEN = re.compile(rf"{_NUMBER}|\w+(?:'\w+)*", re.ASCII)  # twice as fast
_LETTERS = rf"\w[\w{_MARKS}\u200c\u200d]*"  # with the joiners of Persian and Hindi
_PICTURE = "[\u231a-\u23ff\u2600-\u27bf\u2b50\u2b55\U0001f000-\U0001faff]"
_EMOJI = f"{_PICTURE}[\U0001f3fb-\U0001f3ff]?"  # with its skin tone
_TOKEN = re.compile(
    rf"{_NUMBER}|{_LETTERS}(?:'{_LETTERS})*"
    rf"|[\U0001f1e6-\U0001f1ff]{{2}}|{_EMOJI}(?:\u200d{_EMOJI})*"
)

_KERAS_SIGNS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
_KERAS_FILTER = str.maketrans(dict.fromkeys(_KERAS_SIGNS, " "))


def _split_words(text: str) -> list[str]:
    if "&" in text:
        text = _ENTITY.sub(lambda entity: html.unescape(entity.group()), text)
    text = _TAG.sub(" ", text)
    if text.isascii():
        token = _ASCII_TOKEN
    else:
        token = _TOKEN
        text = _APOSTROPHE.sub("'", _INVISIBLE.sub("", text))
        text = _SIGNS.sub(lambda run: _EXCESS_MARKS.sub(r"\1", run[0]), text)
        text = _ALONE.sub(r" \g<0> ", text)
        text = unicodedata.normalize("NFKC", text).replace("\u2044", "/")
    return token.findall(text.replace("`", "'").replace("_", " ").lower())


def _split_keras(text: str) -> list[str]:
    # At single spaces only, as Keras does: "\x85" and "\xa0" stay inside a word.
    return [*filter(None, text.lower().translate(_KERAS_FILTER).split(" "))]


TOKENIZERS: dict[str, Callable[[str], list[str]]] = {
    "words": _split_words,
    "keras": _split_keras,
}


def _strings(texts: Iterable[str]) -> Iterator[str]:
    """The texts, each one checked."""
    if isinstance(texts, str):
        raise TypeError("expected a sequence of texts; received one string")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"expected strings; received text {index}: {text!r}")
        yield text


def _check_name(tokenizer: str) -> None:
    if tokenizer not in TOKENIZERS:
        raise ValueError(
            f"expected a tokenizer of {sorted(TOKENIZERS)}; received {tokenizer!r}"
        )


def _check_whole(name: str, value: int, least: int) -> None:
    if (
        isinstance(value, bool)
        or not isinstance(value, numbers.Integral)
        or value < least
    ):
        raise ValueError(
            f"expected {name} as a whole number of at least {least}; received {value!r}"
        )


def _as_ids(ids: Sequence[int] | np.ndarray) -> np.ndarray:
    ids = np.asarray(ids)
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise ValueError(
            f"expected ids (time,) as whole numbers; received {ids.dtype} {ids.shape}"
        )
    return ids


def tokenize(text: str, tokenizer: str = "words") -> list[str]:
    """Splits a text into its tokens.

    "words" takes any script. HTML entities are resolved and tags dropped; text is
    NFKC-normalized and lower-cased. A token is a word with its combining marks and
    inner apostrophes ("don't", whichever apostrophe was typed), a number with its
    inner signs ("10/10", "3.5"), one Han character, or one emoji. Other signs
    separate. Scripts without spaces other than Han (kana, Thai) stay in runs.

    "keras" is the filter with which `keras.datasets.imdb` was made: lower case,
    ASCII punctuation but for the apostrophe becomes spaces, as do tab and newline,
    and spaces split. A line break `<br />` gives the token "br".

    Raises:
        TypeError: `text` is not a string.
        ValueError: The tokenizer is neither "words" nor "keras".
    """
    _check_name(tokenizer)
    if not isinstance(text, str):
        raise TypeError(f"expected a string; received {text!r}")
    return TOKENIZERS[tokenizer](text)


class Vocabulary:
    """Words and their ids, with the tokenizer that finds the words in a text.

    Word `k` (from 0) has the id `k + FIRST_WORD`. `len(vocabulary)` counts all ids,
    the special ones included: the `input_dim` of an embedding.

    Args:
        words: Distinct, non-empty words, the most frequent first.
        tokenizer: "words" or "keras".

    Raises:
        ValueError: No words, or a word that is empty, repeated or not a string.
    """

    def __init__(self, words: Iterable[str], tokenizer: str = "words"):
        _check_name(tokenizer)
        self.words = tuple(words)
        self.tokenizer = tokenizer
        if not self.words:
            raise ValueError("expected at least one word; received none")
        for word in self.words:
            if not isinstance(word, str) or not word:
                raise ValueError(f"expected non-empty strings; received {word!r}")
        self._ids = dict(zip(self.words, count(FIRST_WORD), strict=False))
        if len(self._ids) < len(self.words):
            twice = Counter(self.words).most_common(1)[0][0]
            raise ValueError(f"expected distinct words; received {twice!r} twice")

    @classmethod
    def build(
        cls,
        texts: Iterable[str],
        *,
        max_size: int | None = None,
        min_count: int = 1,
        tokenizer: str = "words",
    ) -> "Vocabulary":
        """Counts the words of `texts` and ranks them by frequency.

        Words of equal count keep the order in which they first occur, which is the
        rule of the Keras tokenizer: the same texts in the same order give the same
        ids, and on the IMDB reviews they are the ids of Keras.

        Args:
            texts: The training texts.
            max_size: Most ids, the `FIRST_WORD` special ones included.
            min_count: Least count of a word.
            tokenizer: "words" or "keras".

        Raises:
            TypeError: A text is not a string.
            ValueError: A bad argument, or no word is left.
        """
        _check_name(tokenizer)
        _check_whole("min_count", min_count, 1)
        if max_size is not None:
            _check_whole("max_size", max_size, FIRST_WORD + 1)
            max_size -= FIRST_WORD
        split = TOKENIZERS[tokenizer]
        counts = Counter(chain.from_iterable(map(split, _strings(texts))))
        ranked = counts.most_common(max_size)
        return cls((word for word, n in ranked if n >= min_count), tokenizer)

    def __len__(self) -> int:
        return FIRST_WORD + len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self._ids

    def id_of(self, word: str) -> int:
        """The id of a word, `OOV` for one that is not in the vocabulary."""
        return self._ids.get(word, OOV)

    def limit(self, num_words: int) -> "Vocabulary":
        """The vocabulary of the ids below `num_words`, as Keras's `num_words`."""
        _check_whole("num_words", num_words, FIRST_WORD + 1)
        return Vocabulary(self.words[: num_words - FIRST_WORD], self.tokenizer)

    def encode(self, text: str) -> np.ndarray:
        """Ids of a text: int32 (1 + tokens,), `START` first."""
        tokens = tokenize(text, self.tokenizer)
        ids = map(self._ids.get, tokens, repeat(OOV))
        return np.fromiter(chain((START,), ids), np.int32, len(tokens) + 1)

    def encode_all(self, texts: Iterable[str]) -> list[np.ndarray]:
        """`encode` of every text."""
        return [self.encode(text) for text in _strings(texts)]

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Words of ids (time,), joined by spaces; padding and start are left out.

        An id without a word becomes "[UNK]".

        Raises:
            ValueError: `ids` is not 1-D of whole numbers in [0, len(self)).
        """
        words = []
        for i in _as_ids(ids).tolist():
            if not 0 <= i < len(self):
                raise ValueError(f"expected ids in [0, {len(self)}); received {i}")
            if i >= FIRST_WORD:
                words.append(self.words[i - FIRST_WORD])
            elif i not in (PADDING, START):
                words.append("[UNK]")
        return " ".join(words)

    def save(self, path: str | Path) -> None:
        """Writes JSON, beside `path` first, so that no half file is ever left."""
        path = Path(path)
        content = {
            "format": _FORMAT,
            "version": _VERSION,
            "tokenizer": self.tokenizer,
            "words": self.words,
        }
        part = path.with_name(path.name + ".part")
        try:
            part.write_text(json.dumps(content), encoding="utf-8")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> "Vocabulary":
        """Reads what `save` wrote.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: The file is not a vocabulary; the message names it.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            if not isinstance(content, dict) or content.get("format") != _FORMAT:
                raise ValueError(f"expected the format {_FORMAT!r}")
            if content.get("version") != _VERSION:
                raise ValueError(
                    f"expected version {_VERSION}; received {content.get('version')!r}"
                )
            if not isinstance(content.get("words"), list):
                raise ValueError("expected a list of words")
            return cls(content["words"], content.get("tokenizer"))
        # RecursionError: JSON nested beyond what the parser takes.
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"{path} is not a vocabulary: {error}") from error


def limit_ids(ids: np.ndarray, num_words: int) -> np.ndarray:
    """Replaces every id from `num_words` on by `OOV`; shape and type stay."""
    _check_whole("num_words", num_words, FIRST_WORD + 1)
    ids = np.asarray(ids)
    return np.where(ids < num_words, ids, ids.dtype.type(OOV))


def pad(
    sequences: Sequence[np.ndarray],
    maxlen: int,
    *,
    padding: str = "pre",
    truncating: str = "pre",
) -> np.ndarray:
    """Cuts and pads id sequences to one length.

    Args:
        sequences: n arrays (time,) of ids.
        maxlen: Length of every row.
        padding: "pre" or "post": where `PADDING` is added.
        truncating: "pre" or "post": where ids beyond `maxlen` are taken away.

    Returns:
        int32 (n, maxlen).

    Raises:
        ValueError: A bad argument, or a sequence that is not 1-D of whole numbers.
    """
    _check_whole("maxlen", maxlen, 1)
    for name, value in {"padding": padding, "truncating": truncating}.items():
        if value not in ("pre", "post"):
            raise ValueError(f'expected {name} "pre" or "post"; received {value!r}')
    padded = np.full((len(sequences), maxlen), PADDING, np.int32)
    for row, sequence in zip(padded, sequences, strict=True):
        ids = _as_ids(sequence)
        ids = ids[-maxlen:] if truncating == "pre" else ids[:maxlen]
        if padding == "pre":
            row[maxlen - len(ids) :] = ids
        else:
            row[: len(ids)] = ids
    return padded
