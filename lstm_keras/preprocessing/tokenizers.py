"""Split text into tokens, and join tokens to text."""

import html
import re
import unicodedata
from collections.abc import Callable, Iterable
from itertools import pairwise

import numpy as np


def _combining_marks() -> str:
    r"""Return all combining marks, which `\w` lacks, as ranges of a character class."""
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
_APOSTROPHE = re.compile("[´‘’׳]")
_INVISIBLE = re.compile("[\u00ad\ufe00-\ufe0f\U000e0100-\U000e01ef]")
# Normalization takes quadratic time in a run of marks. Unicode's own bound for real
# text is 30 (UAX #15, stream-safe format). Long runs of any signs are found first,
# since the marks are a slow class to search for.
_SIGNS = re.compile(r"[^\w\s]{31,}")
_EXCESS_MARKS = re.compile(f"([{_MARKS}]{{30}})[{_MARKS}]+")
# Signs that normalization would turn into letters or digits of the word before ("7½",
# "film™"), and ideographs, which no space separates.
_ALONE = re.compile("[\u00bc-\u00be\u2150-\u215f\u2120\u2122]")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd]")

_NUMBER = r"\d++(?:[.,/:]\d++)+"
_ASCII_TOKEN = re.compile(rf"{_NUMBER}|\w+(?:'\w+)*", re.ASCII)  # twice as fast
_LETTERS = rf"\w[\w{_MARKS}\u200c\u200d]*"  # with the joiners of Persian and Hindi
_PICTURE = "[\u231a-\u23ff\u2600-\u27bf\u2b50\u2b55\U0001f000-\U0001faff]"
_EMOJI = f"{_PICTURE}[\U0001f3fb-\U0001f3ff]?"  # with its skin tone
_PICTURES = rf"[\U0001f1e6-\U0001f1ff]{{2}}|{_EMOJI}(?:\u200d{_EMOJI})*"
_TOKEN = re.compile(rf"{_NUMBER}|{_LETTERS}(?:'{_LETTERS})*|{_PICTURES}")

# Control characters, direction marks, lone surrogates: nothing to predict.
_SILENT = (
    "\0-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff"
)
_SIGN = rf"\.++|-++|!++|\?++|\*++|=++|~++|'++|`++|[^\w\s{_SILENT}]"
_URL = rf"""(?i:https?://|www\.)[^\s<>"{_SILENT}]*[^\s<>"{_SILENT}.,;:!?)\]}}']"""
# "e.g.", "U.S."; the lower case of one letter, "İ", has two characters.
_ABBREVIATION = r"(?:[^\W\d_]\u0307?\.){2,}+(?!\w)"
_CAPITAL = "A-ZÀ-ÖØ-ÞΑ-ΩЀ-Я"
_DOT = rf"\.(?:(?![{_CAPITAL}])|(?<=[{_CAPITAL}]\.))"  # not that of "end.The"


def _text_token(letters: str) -> str:
    """Return the pattern of "text" tokens, given that of a run of letters."""
    part = rf"(?:{_NUMBER}(?:{letters})?+|{letters})"
    word = rf"{part}(?:(?:['-]|{_DOT}){part})*+(?:@{letters}(?:[.-]{letters})++)?+"
    return rf"{_URL}|{_ABBREVIATION}|{word}"


_ASCII_TEXT = re.compile(_text_token(r"\w++") + f"|{_SIGN}", re.ASCII)
_TEXT = re.compile(_text_token(_LETTERS + "+") + f"|{_PICTURES}|{_SIGN}")

_KERAS_SIGNS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
_KERAS_FILTER = str.maketrans(dict.fromkeys(_KERAS_SIGNS, " "))


def _normalized(text: str) -> str:
    """Return the text with a single form of each apostrophe, letter and digit."""
    text = _APOSTROPHE.sub("'", _INVISIBLE.sub("", text))
    text = _SIGNS.sub(lambda run: _EXCESS_MARKS.sub(r"\1", run[0]), text)
    text = unicodedata.normalize("NFKC", _ALONE.sub(r" \g<0> ", text))
    text = text.replace("\u2044", "/").replace("ʼ", "'")
    return _HAN.sub(r" \g<0> ", text)


def _without_html(text: str) -> str:
    if "&" in text:
        text = _ENTITY.sub(lambda entity: html.unescape(entity.group()), text)
    return _TAG.sub(" ", text)


def _split_words(text: str) -> list[str]:
    text = _without_html(text)
    if text.isascii():
        return _ASCII_TOKEN.findall(_plain(text))
    # NFC, since lower case decomposes some letters.
    return _TOKEN.findall(unicodedata.normalize("NFC", _plain(_normalized(text))))


def _plain(text: str) -> str:
    return text.replace("`", "'").replace("_", " ").lower()


def _split_cased(text: str) -> list[str]:
    if text.isascii():
        return _ASCII_TEXT.findall(text)
    return _TEXT.findall(_normalized(text))


def _split_text(text: str) -> list[str]:
    # Split before lower-casing: capitals tell a sentence's end from an inner dot.
    tokens = [token.lower() for token in _split_cased(text)]
    if text.isascii():
        return tokens
    return [unicodedata.normalize("NFC", token) for token in tokens]


def _split_html(text: str) -> list[str]:
    return _split_text(_without_html(text))


def _split_keras(text: str) -> list[str]:
    # At single spaces only, as Keras does: "\x85" and "\xa0" stay inside a word.
    return [*filter(None, text.lower().translate(_KERAS_FILTER).split(" "))]


TOKENIZERS: dict[str, Callable[[str], list[str]]] = {
    "words": _split_words,
    "keras": _split_keras,
    "text": _split_text,
    "html": _split_html,
    "text_cased": _split_cased,
    "whitespace": str.split,
}
"""The tokenizers by name: each a function from a text to its tokens."""


SIGN_KEEPERS = ("text", "html", "text_cased", "whitespace")  # for language models
UNKNOWN = "[UNK]"  # replaces a word that is not in the vocabulary
_CLOSING = frozenset(", . ; : ! ? … ) ] } ’ ” »".split())
_OPENING = frozenset("( [ { ‘ “ « ¿ ¡".split())
_AROUND = frozenset("\"'()[]{}‘’“”«»")  # may precede a sentence's first word
_LINKS = {"@-@": "-", "@,@": ",", "@.@": "."}  # in WikiText
_ENDING = re.compile(r"'[^\W\d_]+|n't")  # as white space tokens: "it 's", "do n't"
_STARTING = re.compile(r"[^\W\d_](?:[^\W_]|['-])*")  # can be capitalized


def check_tokenizer(tokenizer: str) -> None:
    """Raise a `ValueError` unless `tokenizer` is a name in `TOKENIZERS`."""
    if tokenizer not in [*TOKENIZERS]:  # a list, for values that can't be hashed
        raise ValueError(
            f"expected a tokenizer of {sorted(TOKENIZERS)}; received {tokenizer!r}"
        )


def tokenize(text: str, tokenizer: str = "words") -> list[str]:
    """Split a text into its tokens.

    "words" supports any script. HTML entities are resolved and tags dropped; text is
    NFKC-normalized and lower-cased. A token is a word with its combining marks and
    inner apostrophes ("don't", whichever apostrophe was typed), a number with its
    inner signs ("10/10", "3.5"), one Han character, or one emoji. Other signs
    separate. Other scripts without spaces (kana, Thai) are not split.

    "keras" is the filter that `keras.datasets.imdb` was made with: text is lower-cased,
    ASCII punctuation except the apostrophe becomes spaces, as do tab and newline, and
    spaces split. A line break `<br />` gives the token "br".

    "text" is for language models: it preserves all signs but control characters. Text
    is NFKC-normalized and lower-cased, as in "words", but HTML is not interpreted. A
    token is a word with its inner apostrophes, hyphens and dots ("don't",
    "state-of-the-art", "sys.stdout"), an abbreviation ("e.g."), a number with its inner
    signs, a URL or an e-mail address, one Han character, one emoji, any other sign, or
    a run of one of ``.-!?*=~'` `` ("...").

    "html" is "text" after resolving HTML entities and dropping tags, as in "words": for
    language models of reviews. "text_cased" is "text" without lower-casing.
    "whitespace" only splits at white space, for text that is tokenized already, such as
    WikiText.

    Raises:
        TypeError: `text` is not a string.
        ValueError: `tokenizer` is not a name in `TOKENIZERS`.
    """
    check_tokenizer(tokenizer)
    if not isinstance(text, str):
        raise TypeError(f"expected a string; received {text!r}")
    return TOKENIZERS[tokenizer](text)


def join_tokens(tokens: Iterable[str], tokenizer: str = "text") -> str:
    """Join tokens to text as people write it.

    For the tokenizers in `SIGN_KEEPERS`, punctuation is attached to its word, straight
    quotes open and close in turn, and the "@-@" of WikiText becomes "-". For "text" and
    "html", sentences are capitalized again. Where a tokenizer other than
    "whitespace" would not split the result into the same tokens, the spaces remain.
    The tokens of "words" and "keras" are joined by spaces.

    Raises:
        ValueError: `tokenizer` is not a name in `TOKENIZERS`.
    """
    check_tokenizer(tokenizer)
    if tokenizer not in SIGN_KEEPERS:
        return " ".join(tokens)
    tokens = list(tokens)
    shown = _capitalized(tokens) if tokenizer in ("text", "html") else tokens
    spaced = _spaced(tokens)
    starts = [i for i, space in enumerate(spaced) if space]
    pieces = []
    for start, end in pairwise([*starts, len(tokens)]):
        piece = "".join(_LINKS.get(token, token) for token in shown[start:end])
        own = tokens[start:end]
        whole = tokenizer == "whitespace" or _splits_into(piece, own, tokenizer)
        pieces.extend([piece] if whole else own)
    return " ".join(pieces)


def shuffle_sentences(text: str, rng: np.random.Generator) -> str:
    """Shuffle the words of each sentence of a text, to see whether their order counts.

    Tokens are those of "html". A sentence ends at a run of ".", "!" or "?"; every sign
    stays in its place among the words. Of a text without signs the whole is shuffled,
    and "Mr." ends a sentence.
    """
    tokens, begun = tokenize(text, "html"), 0
    ends = [i for i, token in enumerate(tokens, 1) if not token.strip(".!?")]
    for end in [*ends, len(tokens)]:
        words = [i for i in range(begun, end) if any(map(str.isalnum, tokens[i]))]
        mixed = [tokens[words[i]] for i in rng.permutation(len(words))]
        for place, token in zip(words, mixed, strict=True):
            tokens[place] = token
        begun = end
    return " ".join(tokens)


def _spaced(tokens: list[str]) -> list[bool]:
    """Return whether a space precedes each token; True for the first."""
    spaced, before = [], ""
    is_open = {'"': False, "'": False}
    for token in tokens:
        sign = token
        if token in is_open:
            is_open[token] = not is_open[token]
            sign = "“" if is_open[token] else "”"
        spaced.append(not before or not _touch(before, sign))
        before = sign
    return spaced


def _touch(left: str, right: str) -> bool:
    return (
        right in _CLOSING
        or left in _OPENING
        or not right.strip(".!?")
        or "/" in (left, right)
        or left in _LINKS
        or right in _LINKS
        or (right == "%" and left[-1].isdigit())
        or (left in ("$", "£", "€") and right[0].isdigit())
        or bool(_ENDING.fullmatch(right))
    )


def _capitalized(tokens: list[str]) -> list[str]:
    shown, at_start = [], True
    for token in tokens:
        if not token.strip(".!?"):
            at_start = token != "..."
        elif token not in _AROUND:
            if at_start and _STARTING.fullmatch(token):
                token = token[0].upper() + token[1:]
            at_start = False
        shown.append(token)
    return shown


def _splits_into(text: str, tokens: list[str], tokenizer: str) -> bool:
    known = ["x" if token == UNKNOWN else token for token in tokens]
    return TOKENIZERS[tokenizer](text.replace(UNKNOWN, "x")) == known
