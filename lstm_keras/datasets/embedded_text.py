"""English prose that comes with every Python: the documentation behind `help()`."""

import re
from collections.abc import Iterator
from itertools import chain

_COLUMNS = 70  # line width of the documentation

_BLANK = re.compile(r"\n\s*\n")
_BULLET = r"(?:[*-]|\[\d+\]|\d+\.)\s+"
_ITEM = re.compile(rf"\n(?=\s*{_BULLET})")
_MARK = re.compile(rf"\A\s*(?:{_BULLET})?")
_FOOTNOTE = re.compile(r"\s+\[\d+\]")
_BROKEN_WORD = re.compile(r"(?<=\w-)\n\s*(?=\w)")
_EMPHASIS = re.compile(r"(?<![\w*])(\*{1,2})(\w(?:[^*\"]*?[\w:.])?)\1")
_CODE_QUOTE = re.compile('["`]')
# Grammar, sessions, comments, tables, directives, underlines.
_NO_PROSE = re.compile(
    r"::=|>>>|(?:^|\s)\s#|[|+]--|^\.\.\s|={3}|\*{3}|-{4}", re.MULTILINE
)
_SENTENCES = re.compile(r"""[A-Z“‘("*`].*[.:!?]["*`”’)]*""", re.DOTALL)
_WORD = re.compile(r"[(“‘]*[A-Za-z]+(?:[’/-][A-Za-z]+)*[)”’.,;:!?]*")


def read_prose() -> Iterator[str]:
    """Yield the paragraphs of this Python's documentation, on one line, without code.

    The sections come in alphabetical order. Repeated paragraphs come once.
    """
    from pydoc_data.topics import topics  # here, since it is large

    blocks = chain.from_iterable(_BLANK.split(topics[name]) for name in sorted(topics))
    items = chain.from_iterable(map(_ITEM.split, blocks))
    yield from dict.fromkeys(filter(None, map(_prose, items)))


def _prose(item: str) -> str:
    """Return a paragraph on one line, or "" for titles, grammar and code."""
    if _NO_PROSE.search(item):
        return ""
    text = _FOOTNOTE.sub("", _MARK.sub("", _without_term(item))).rstrip()
    if not _SENTENCES.fullmatch(text):
        return ""
    text = _CODE_QUOTE.sub("", _EMPHASIS.sub(r"\2", _BROKEN_WORD.sub("", text)))
    words = text.split()
    plain = sum(_WORD.fullmatch(word) is not None for word in words)
    return " ".join(words) if len(words) >= 5 and plain >= 0.6 * len(words) else ""


def _without_term(item: str) -> str:
    """Remove the term of a definition: a short line before an indented one."""
    first, _, rest = item.strip("\n").partition("\n")
    indents = [len(line) - len(line.lstrip()) for line in (first, rest)]
    if indents[0] < indents[1] and len(f"{first} {rest.split()[0]}") <= _COLUMNS:
        return rest
    return item
