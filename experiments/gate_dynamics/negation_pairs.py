"""Pairs of sentences: an adjective alone, and with "not" before it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pair:
    """A sentence with an adjective, and the same with "not" before it.

    Attributes:
        before: The words before the adjective.
        adjective: The word that decides what the sentence says.
        after: The words after it.
        positive: Whether the sentence praises, without the "not".
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


PAIRS = tuple(
    Pair(*parts, positive)
    for positive, all_parts in (
        (
            True,
            (
                ("The acting in this film was", "good", "from start to end."),
                ("I think the story is", "great", "and we talked about it."),
                ("The last half hour is", "excellent", "in my opinion."),
                ("To me the music was", "beautiful", "in every scene."),
                ("This movie is", "funny", "and I saw it twice."),
                ("The two leads are", "brilliant", "together."),
                ("Her performance was", "wonderful", "in the second part."),
                ("The dialogue between them is", "interesting", "to listen to."),
                ("What they did with the book is", "amazing", "on the screen."),
                ("The way it was filmed is", "perfect", "for such a tale."),
            ),
        ),
        (
            False,
            (
                ("The acting in this film was", "bad", "from start to end."),
                ("I think the story is", "terrible", "and we talked about it."),
                ("The last half hour is", "boring", "in my opinion."),
                ("To me the music was", "awful", "in every scene."),
                ("This movie is", "stupid", "and I saw it twice."),
                ("The two leads are", "dull", "together."),
                ("Her performance was", "poor", "in the second part."),
                ("The dialogue between them is", "horrible", "to listen to."),
                ("What they did with the book is", "ridiculous", "on the screen."),
                ("The way it was filmed is", "weak", "for such a tale."),
            ),
        ),
    )
    for parts in all_parts
)
