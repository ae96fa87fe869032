"""How a "not" changes what an adjective contributes, over pairs of sentences."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import lstm_keras
from experiments.common.terminal import stages
from experiments.gate_dynamics.metrics import PairCounts
from lstm_keras.runs import SentimentRun


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


@dataclass(frozen=True)
class MeasuredPair:
    """A pair of sentences, and the contributions of its adjective.

    Attributes:
        pair: The sentences.
        contributions: By method the contribution of the adjective in the plain
            sentence, and of "not" and the adjective in the negated one.
    """

    pair: Pair
    contributions: dict[str, tuple[float, float]]


def check_pairs(run: SentimentRun) -> None:
    """Refuse a model that would truncate the pairs' sentences.

    Raises:
        ValueError: It reads too few words.
    """
    longest = max(len(run.vocabulary.encode(pair.negated)) for pair in PAIRS)
    read = run.config["maxlen"]
    if read < longest:
        raise ValueError(
            f"expected a run that reads {longest} words, for the pairs of sentences "
            f"(--parts sentence leaves them out); received maxlen={read}"
        )


def known_pairs(run: SentimentRun) -> list[Pair]:
    """Return the pairs whose two sentences differ for the model: it knows the words."""
    return [
        pair for pair in PAIRS if {"not", pair.adjective} <= {*run.vocabulary.words}
    ]


def measure_pairs(run: SentimentRun) -> list[MeasuredPair]:
    """Measure what each known adjective contributes, alone and with "not" before it."""
    measured = []
    for pair in stages(known_pairs(run), lambda pair: f"Negation: {pair.adjective}"):
        plain = _phrase(run, pair, pair.plain, [pair.adjective])
        negated = _phrase(run, pair, pair.negated, ["not", pair.adjective])
        both = {method: (plain[method], negated[method]) for method in plain}
        measured.append(MeasuredPair(pair, both))
    return measured


def pair_counts(measured: Sequence[MeasuredPair]) -> dict[str, PairCounts]:
    """Count the pairs whose two contributions differ in sign, by method."""
    counts = {}
    for method in measured[0].contributions if measured else ():
        both = [(one.pair.positive, *one.contributions[method]) for one in measured]
        changed = [(positive, plain) for positive, plain, n in both if plain * n < 0]
        counts[method] = PairCounts(
            pairs=len(measured),
            changed=len(changed),
            as_read=sum(positive == (plain > 0) for positive, plain in changed),
        )
    return counts


def pair_csv_rows(measured: Sequence[MeasuredPair]) -> list[dict]:
    """Return a row for each pair and method."""
    return [
        {
            "plain": one.pair.plain,
            "negated": one.pair.negated,
            "adjective": one.pair.adjective,
            "positive": one.pair.positive,
            "method": method,
            "adjective_contribution": plain,
            "not_adjective_contribution": negated,
            "changed": plain * negated < 0,
        }
        for one in measured
        for method, (plain, negated) in one.contributions.items()
    ]


def _phrase(
    run: SentimentRun, pair: Pair, text: str, phrase: Sequence[str]
) -> dict[str, float]:
    """Return the contribution of a phrase to a text, by each supported method."""
    _, words = run.read(text)
    end = len(words) - (len(run.vocabulary.encode(pair.after)) - 1)
    start = end - len(phrase)
    sums = {
        method: float(lstm_keras.attribute(run, text, method).scores[start:end].sum())
        for method in ("prefix", "gradient")
    }
    with contextlib.suppress(ValueError):  # `read_sentence` says why not
        ((part, _),) = lstm_keras.decompose_phrases(run, text, [(start, end)])
        sums["decomposition"] = part
    return sums
