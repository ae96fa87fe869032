"""Docstrings for the site: equations as TeX, arguments of calls with their types."""

import re

import griffe

# Indented lines of a docstring, and what makes equations of them.
BLOCK = re.compile(r"(?:(?<=\n\n)|\A)(?:    .+\n?)+")
BETWEEN = re.compile(r"\n +| {3,}(?!\+?=)")
EQUATION = re.compile(r"[\w^{}()+ -]+ \+?= (?!.*\w\.\w)")

# The sections of a Keras layer's docstring that tell of a call.
CALL = re.compile(
    r"Call arguments:\n(?P<arguments>(?:    .+\n)+)\n"
    r"Returns of a call:\n(?P<results>(?:    .+\n?)+)\n*"
)

# What is upright text, or a sign with a name of its own, in an equation.
WORDS = {
    "sigmoid": r"\sigma",
    "tanh": r"\tanh",
    "beta": r"\beta",
    "gamma": r"\gamma",
    "units": r"\text{units}",
    "features": r"\text{features}",
    "*": r"\odot",
    "^T": r"^\top",
    "sum_t": r"\textstyle\sum_t ",
}
TOKEN = re.compile(r"sum_t|\^T|[a-z]{2,}|\*")


class Docstrings(griffe.Extension):
    """Let blocks of equations be TeX, and `call` tell of its arguments."""

    def on_class(self, *, cls: griffe.Class, **kwargs) -> None:
        """Move what a layer's docstring says about a call to its `call`."""
        found = CALL.search(cls.docstring.value) if cls.docstring else None
        if found:
            cls.docstring.value = cls.docstring.value.replace(found[0], "")
            cls.members[
                "call"
            ].docstring.value += (
                f"\n\nArgs:\n{found['arguments']}\nReturns:\n{found['results']}"
            )

    def on_object(self, *, obj: griffe.Object, **kwargs) -> None:
        """Replace the blocks in the docstring of an object."""
        if obj.docstring:
            obj.docstring.value = BLOCK.sub(_typeset, obj.docstring.value)


def tex(line: str) -> str:
    """Return the TeX of one line of equations."""
    shown = TOKEN.sub(lambda found: WORDS.get(found[0], rf"\text{{{found[0]}}}"), line)
    return re.sub(r"d\((.+?(?:\})?)\)", r"\\mathrm{d}\1", shown)


def _typeset(found: re.Match) -> str:
    equations = BETWEEN.split(found[0].strip())
    if not all(EQUATION.match(one) for one in equations):
        return found[0]
    return "".join(f"$$ {tex(one)} $$\n\n" for one in equations)
