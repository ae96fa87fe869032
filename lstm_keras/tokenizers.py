"""Text to tokens."""

import html
import re
import unicodedata
from collections.abc import Callable


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


def check_tokenizer(tokenizer: str) -> None:
    """Raises a `ValueError` for what is no name of `TOKENIZERS`."""
    if tokenizer not in TOKENIZERS:
        raise ValueError(
            f"expected a tokenizer of {sorted(TOKENIZERS)}; received {tokenizer!r}"
        )


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
    check_tokenizer(tokenizer)
    if not isinstance(text, str):
        raise TypeError(f"expected a string; received {text!r}")
    return TOKENIZERS[tokenizer](text)
