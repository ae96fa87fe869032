"""Short made-up film reviews in which the order of the words decides.

A small grammar with polarity, `embedded_reviews.toml`, writes the reviews. Every
template serves both labels, so that most words occur about equally often in both; what
tells the labels apart is who says a thing, whether it is denied, what was only
expected, and what comes last. A fifth of the reviews are short remarks, "boring" for
instance. The templates of the test split, and most names in it, are new.
"""

import random
import re
import tomllib
from importlib import resources
from typing import Any

import numpy as np

# For each slot its choices, or those of each label: (negative, positive).
Grammar = dict[str, list[str] | tuple[list[str], list[str]]]


def _by_label(words: dict[str, dict[str, list[str]]]) -> Grammar:
    return {kind: (each["negative"], each["positive"]) for kind, each in words.items()}


_TABLES: dict[str, Any] = tomllib.loads(
    (resources.files(__package__) / "embedded_reviews.toml").read_text("utf-8")
)
SENTIMENT = _by_label(_TABLES["sentiment"])
UNSEEN_SENTIMENT = _by_label(_TABLES["unseen_sentiment"])
TRAIN: Grammar = _TABLES["train"]
TEST: Grammar = {"review": TRAIN["review"]} | _TABLES["test"]
GRAMMARS: dict[str, Grammar] = {
    "train": SENTIMENT | _TABLES["both"] | TRAIN,
    "test": SENTIMENT | UNSEEN_SENTIMENT | _TABLES["both"] | TEST,
}
CONTRACTIONS = {  # in half of the reviews
    r"\b(is|was|do|does|did|could|would) not\b": r"\1n't",
    r"\bwill not\b": "won't",
    r"\bcannot\b": "can't",
    r"(^|that |\W )([Ii]t) is\b": r"\1\2's",
}
SLOT = re.compile(r"\{(-?)(\w+)\}")


def generate_reviews(
    split: str, size: int, seed: int = 0
) -> tuple[list[str], np.ndarray]:
    """Write `size` different reviews, negative and positive in turn.

    The same arguments give the same reviews everywhere, and a smaller `size` gives the
    first of them.

    Args:
        split: "train" or "test"; the two share neither templates nor reviews.
        size: How many reviews; at least 1.
        seed: Seed of the generator.

    Returns:
        The texts, and their labels: int32 `(size,)`, 0 negative and 1 positive.

    Raises:
        ValueError: `split` is unknown or `size` is not a positive whole number.
    """
    if split not in GRAMMARS:
        raise ValueError(f"expected split 'train' or 'test'; received split={split!r}")
    if not isinstance(size, int) or size < 1:
        raise ValueError(f"expected a size of at least 1; received size={size!r}")
    rng = random.Random(f"{split} {seed}")
    labels = np.arange(size, dtype=np.int32) % 2
    texts: dict[str, None] = {}  # a set that keeps its order
    for label in labels.tolist():
        text = _write_review(GRAMMARS[split], label, rng)
        while text in texts:
            text = _write_review(GRAMMARS[split], label, rng)
        texts[text] = None
    return list(texts), labels


def _write_review(grammar: Grammar, label: int, rng: random.Random) -> str:
    text = _expand("{review}", label, grammar, rng, used=set())
    if rng.random() < 0.5:
        for words, contraction in CONTRACTIONS.items():
            text = re.sub(words, contraction, text)
    text = re.sub(r"(?i)\b(a) (?!unique)(?=[aeiou])", r"\1n ", text)
    return re.sub(r"(?:^|(?<=[.?] ))[a-z]", lambda match: match[0].upper(), text)


def _expand(
    template: str, polarity: int, grammar: Grammar, rng: random.Random, used: set[str]
) -> str:
    """Fill the slots of `template`; no choice is made twice in a review."""

    def fill(match: re.Match) -> str:
        sign, kind = match.groups()
        slot_polarity = 1 - polarity if sign else polarity
        choices = grammar[kind]
        if isinstance(choices, tuple):
            choices = choices[slot_polarity]
        choices = [choice for choice in choices if choice not in used] or choices
        # Of random's methods, only random() promises the same numbers in every Python.
        choice = choices[int(rng.random() * len(choices))]
        used.add(choice)
        return _expand(choice, slot_polarity, grammar, rng, used)

    return SLOT.sub(fill, template)
