"""Turn text into padded word ids: count words, encode, pad; see the package for ids."""

import json
import numbers
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, count, repeat
from pathlib import Path

import numpy as np

from lstm_keras.preprocessing.tokenizers import (
    SIGN_KEEPERS,
    TOKENIZERS,
    UNKNOWN,
    check_tokenizer,
    join_tokens,
    tokenize,
)

PADDING = 0
"""Id that fills a row up, and is never a word."""
START = 1
"""Id that begins a text."""
OOV = 2
"""Id of every word that is not in the vocabulary."""
END = 3
"""Id that ends a sentence or line, for language models."""
FIRST_WORD = 4
"""Id of the vocabulary's first word."""
START_NAME = "[START]"
"""How `START` is shown among the words of a text."""

_FORMAT, _VERSION = "lstm_keras.vocabulary", 1


def _strings(texts: Iterable[str]) -> Iterator[str]:
    """Yield the texts, checking each."""
    if isinstance(texts, str):
        raise TypeError("expected a sequence of texts; received one string")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"expected strings; received text {index}: {text!r}")
        yield text


def check_whole(name: str, value: int, least: int) -> None:
    """Raise a `ValueError` unless `value` is a whole number of at least `least`."""
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


class Vocabulary:
    """Words and their ids, with the tokenizer that splits a text into words.

    Word `k` (from 0) has the id `k + FIRST_WORD`. `len(vocabulary)` is the number of
    ids, including the special ones: the `input_dim` of an embedding.

    Args:
        words: Distinct, non-empty words, the most frequent first.
        tokenizer: A name in `tokenizers.TOKENIZERS`.

    Raises:
        ValueError: There are no words, or one is empty, repeated or not a string.
    """

    def __init__(self, words: Iterable[str], tokenizer: str = "words"):
        check_tokenizer(tokenizer)
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
        """Count the words of `texts` and rank them by frequency.

        Words of equal count keep the order of their first occurrence, as in the Keras
        tokenizer: the same texts in the same order give the same ids, and the IMDB
        reviews give those of Keras.

        Args:
            texts: The training texts.
            max_size: Maximum number of ids, including the `FIRST_WORD` special ones.
            min_count: Minimum count of a word.
            tokenizer: A name in `tokenizers.TOKENIZERS`.

        Raises:
            TypeError: A text is not a string.
            ValueError: An argument is invalid, or no word is left.
        """
        check_tokenizer(tokenizer)
        check_whole("min_count", min_count, 1)
        if max_size is not None:
            check_whole("max_size", max_size, FIRST_WORD + 1)
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
        """Return the id of a word, `OOV` if it is not in the vocabulary."""
        return self._ids.get(word, OOV)

    def limit(self, num_words: int) -> "Vocabulary":
        """Return the vocabulary of the ids below `num_words`, as Keras's argument."""
        check_whole("num_words", num_words, FIRST_WORD + 1)
        return Vocabulary(self.words[: num_words - FIRST_WORD], self.tokenizer)

    def encode(self, text: str) -> np.ndarray:
        """Return the ids of a text, int32 (1 + tokens,), `START` first."""
        tokens = tokenize(text, self.tokenizer)
        ids = map(self._ids.get, tokens, repeat(OOV))
        return np.fromiter(chain((START,), ids), np.int32, len(tokens) + 1)

    def encode_all(self, texts: Iterable[str]) -> list[np.ndarray]:
        """Encode every text."""
        return [self.encode(text) for text in _strings(texts)]

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Return the text of ids (time,), without padding and start.

        Words are joined by `tokenizers.join_tokens`. An id without a word becomes
        "[UNK]", and `END` a line break with the tokenizers for language models ("text",
        "text_cased", "whitespace").

        Raises:
            ValueError: `ids` are not 1-D whole numbers in [0, len(self)).
        """
        lines: list[list[str]] = [[]]
        for i in _as_ids(ids).tolist():
            if not 0 <= i < len(self):
                raise ValueError(f"expected ids in [0, {len(self)}); received {i}")
            if i >= FIRST_WORD:
                lines[-1].append(self.words[i - FIRST_WORD])
            elif i == END and self.tokenizer in SIGN_KEEPERS:
                lines.append([])
            elif i not in (PADDING, START):
                lines[-1].append(UNKNOWN)
        return "\n".join(join_tokens(line, self.tokenizer) for line in lines)

    def save(self, path: str | Path) -> None:
        """Write the vocabulary as JSON, atomically."""
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
        """Read a vocabulary that `save` wrote.

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
            return cls(content["words"], content["tokenizer"])
        except KeyError as error:
            raise ValueError(f"{path} is not a vocabulary: it lacks {error}") from error
        # RecursionError: JSON that is nested too deeply.
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"{path} is not a vocabulary: {error}") from error


def limit_ids(ids: np.ndarray, num_words: int) -> np.ndarray:
    """Replace every id from `num_words` on by `OOV`, preserving shape and dtype."""
    check_whole("num_words", num_words, FIRST_WORD + 1)
    ids = np.asarray(ids)
    return np.where(ids < num_words, ids, ids.dtype.type(OOV))


def pad(
    sequences: Sequence[np.ndarray],
    maxlen: int,
    *,
    padding: str = "pre",
    truncating: str = "pre",
) -> np.ndarray:
    """Truncate and pad id sequences to one length.

    Args:
        sequences: n arrays (time,) of ids.
        maxlen: Length of every row.
        padding: "pre" or "post": where `PADDING` is added.
        truncating: "pre" or "post": where ids beyond `maxlen` are removed.

    Returns:
        int32 (n, maxlen).

    Raises:
        ValueError: An argument is invalid, or a sequence is not 1-D whole numbers.
    """
    check_whole("maxlen", maxlen, 1)
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


def length_mask(
    lengths: Sequence[int] | np.ndarray,
    maxlen: int | None = None,
    *,
    padding: str = "post",
) -> np.ndarray:
    """Return the mask of padded sequences, given their lengths.

    It is the mask of a layer's call, for instance with a ragged tensor:

        layer(x.to_tensor(), mask=length_mask(x.row_lengths()))

    Args:
        lengths: Number of steps of each of n sequences; 0 masks a whole sequence.
        maxlen: Number of columns; by default the greatest length.
        padding: "post" or "pre": where the padding is. The default of `pad` is "pre".

    Returns:
        bool (n, maxlen), False at padding.

    Raises:
        ValueError: An argument is invalid, or the lengths are not 1-D whole numbers
            from 0 to `maxlen`.
    """
    if padding not in ("pre", "post"):
        raise ValueError(f'expected padding "pre" or "post"; received {padding!r}')
    lengths = np.asarray(lengths)
    if lengths.ndim != 1 or (lengths.size and lengths.dtype.kind not in "iu"):
        raise ValueError(
            "expected lengths (batch,) as whole numbers; "
            f"received {lengths.dtype} {lengths.shape}"
        )
    longest = int(lengths.max(initial=0))
    if maxlen is None:
        maxlen = longest
    check_whole("maxlen", maxlen, 0)
    if longest > maxlen or lengths.min(initial=0) < 0:
        raise ValueError(
            f"expected lengths from 0 to maxlen, {maxlen}; "
            f"received {lengths.min()} to {longest}"
        )
    steps = np.arange(maxlen)  # from the end that has no padding
    return (steps if padding == "post" else steps[::-1]) < lengths[:, np.newaxis]
