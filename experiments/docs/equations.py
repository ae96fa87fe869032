"""Typeset the equations of docstrings, which are plain text in the code."""

import re

import griffe

# Indented lines of a docstring, and what makes equations of them.
BLOCK = re.compile(r"(?:(?<=\n\n)|\A)(?:    .+\n?)+")
EQUATION = re.compile(r"[\w^{}()+ -]+ \+?= ")

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


class Equations(griffe.Extension):
    """Let blocks of equations in docstrings be TeX."""

    def on_object(self, *, obj: griffe.Object, **kwargs) -> None:
        """Replace the blocks in the docstring of an object."""
        if obj.docstring:
            obj.docstring.value = BLOCK.sub(_typeset, obj.docstring.value)


def tex(line: str) -> str:
    """Return the TeX of one line of equations."""
    shown = TOKEN.sub(lambda found: WORDS.get(found[0], rf"\text{{{found[0]}}}"), line)
    shown = re.sub(r"d\((.+?(?:\})?)\)", r"\\mathrm{d}\1", shown)
    return re.sub(" {3,}", r" \\qquad ", shown)


def _typeset(found: re.Match) -> str:
    lines = [line.strip() for line in found[0].strip("\n").split("\n")]
    if not all(EQUATION.match(line) for line in lines):
        return found[0]
    return "".join(f"$$ {tex(line)} $$\n\n" for line in lines)
