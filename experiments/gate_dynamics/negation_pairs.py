"""Pairs of sentences: an adjective alone, and with "not" before it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pair:
    """A sentence with an adjective, and the same with "not" before it.

    Attributes:
        before: The words before the adjective.
        adjective: The adjective.
        after: The words after it.
        positive: Whether the sentence without "not" praises.
    """

    before: str
    adjective: str
    after: str
    positive: bool

    @property
    def plain(self) -> str:
        """The sentence without "not"."""
        return f"{self.before} {self.adjective} {self.after}"

    @property
    def negated(self) -> str:
        """The sentence with "not"."""
        return f"{self.before} not {self.adjective} {self.after}"


_TEMPLATES = (
    ("The acting in this film was", "good", "bad", "from start to end."),
    ("I think the story is", "great", "terrible", "and we talked about it."),
    ("The last half hour is", "excellent", "boring", "in my opinion."),
    ("To me the music was", "beautiful", "awful", "in every scene."),
    ("This movie is", "funny", "stupid", "and I saw it twice."),
    ("The two leads are", "brilliant", "dull", "together."),
    ("Her performance was", "wonderful", "poor", "in the second part."),
    ("The dialogue between them is", "interesting", "horrible", "to listen to."),
    ("What they did with the book is", "amazing", "ridiculous", "on the screen."),
    ("The way it was filmed is", "perfect", "weak", "for such a tale."),
)

PAIRS = tuple(
    Pair(before, praise if positive else blame, after, positive)
    for positive in (True, False)
    for before, praise, blame, after in _TEMPLATES
)
