"""Metrics of a language model, from what it says of every token of a text.

A text is one array of ids in which `END` closes each segment (a sentence, a line).
Every token, `END` and `OOV` too, is predicted and counted once.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from lstm_keras.evaluation import calibration_bins
from lstm_keras.preprocessing import END, FIRST_WORD, OOV


@dataclass(frozen=True, eq=False)
class TokenScores:
    """What a model says of every token of a text, in the text's order.

    Attributes:
        targets: The tokens, int32 (n,).
        log_probability: Of each token, float32 (n,), in nats.
        rank: How many tokens the model finds more probable, int32 (n,).
        top_probability: Of the most probable token at each place, float32 (n,).

    Raises:
        ValueError: No token, unequal lengths, or numbers out of range.
    """

    targets: np.ndarray
    log_probability: np.ndarray
    rank: np.ndarray
    top_probability: np.ndarray

    def __post_init__(self):
        shapes = {name: np.shape(value) for name, value in vars(self).items()}
        if len(set(shapes.values())) > 1 or len(self.targets.shape) != 1:
            raise ValueError(f"expected arrays of one shape (n,); received {shapes}")
        if not len(self.targets):
            raise ValueError("expected at least one token; received none")
        if not (np.isfinite(self.log_probability) & (self.log_probability <= 0)).all():
            raise ValueError(
                "expected finite log-probabilities of at most 0; received "
                f"{self.log_probability.min()} to {self.log_probability.max()}"
            )


@dataclass(frozen=True)
class LanguageModelResult:
    """What a language model achieved on one text.

    Attributes:
        name: the model, as a report shows it.
        tokens: how many tokens are counted.
        loss: mean negative log-likelihood in nats per token.
        perplexity: exp(loss).
        bits_per_word: the loss in bits.
        accuracy: share of the tokens that were the most probable.
        top5_accuracy: share that were among the five most probable.
        prefix_accuracy: accuracy without each segment's first token and its end: of the
            words that the usual tutorial predicts from prefixes; None if there is none.
        oov_rate: share of all tokens, the ends too, that are out of vocabulary.
    """

    name: str
    tokens: int
    loss: float
    perplexity: float
    bits_per_word: float
    accuracy: float
    top5_accuracy: float
    prefix_accuracy: float | None
    oov_rate: float

    def to_dict(self) -> dict:
        """Return the result as plain Python values that JSON can hold."""
        return asdict(self)


def evaluate_language_model(scores: TokenScores, *, name: str) -> LanguageModelResult:
    """Compute every metric of one model on one text."""
    loss = -float(np.mean(scores.log_probability, dtype=np.float64))
    right = scores.rank == 0
    of_prefixes = (positions(scores.targets) > 1) & (scores.targets != END)
    return LanguageModelResult(
        name=name,
        tokens=len(scores.targets),
        loss=loss,
        perplexity=float(np.exp(loss)),
        bits_per_word=loss / float(np.log(2)),
        accuracy=float(right.mean()),
        top5_accuracy=float((scores.rank < 5).mean()),
        prefix_accuracy=float(right[of_prefixes].mean()) if of_prefixes.any() else None,
        oov_rate=float((scores.targets == OOV).mean()),
    )


def positions(ids: np.ndarray) -> np.ndarray:
    """Return the place of every token in its segment, from 1 on."""
    places = np.arange(len(ids))
    starts = np.concatenate([[True], ids[:-1] == END])
    return places - np.maximum.accumulate(np.where(starts, places, 0)) + 1


def accuracy_by_position(
    scores: TokenScores, least: int = 50
) -> list[dict[str, int | float]]:
    """Return the accuracy by the place in the segment.

    Args:
        scores: Of a text.
        least: Places are taken together until they have so many tokens.

    Returns:
        For each group "first" and "last" place, from 1 on, "tokens", and "accuracy" and
        "top5_accuracy".
    """
    places = positions(scores.targets)
    counts = np.bincount(places)
    groups, first = [], 1
    for last in range(1, len(counts)):
        rest = counts[last + 1 :].sum()
        if counts[first : last + 1].sum() >= least and (rest >= least or not rest):
            groups.append((first, last))
            first = last + 1
    if first < len(counts):
        groups.append((first, len(counts) - 1))
    rows = []
    for first, last in groups:
        ranks = scores.rank[(first <= places) & (places <= last)]
        rows.append(
            {
                "first": first,
                "last": last,
                "tokens": len(ranks),
                "accuracy": float((ranks == 0).mean()),
                "top5_accuracy": float((ranks < 5).mean()),
            }
        )
    return rows


def loss_by_frequency(
    scores: TokenScores, counts: np.ndarray
) -> list[dict[str, int | float | str]]:
    """Return the loss by how often a token occurs in the training text.

    Args:
        scores: Of a text.
        counts: Of the ids in the training text, (vocabulary,).

    Returns:
        For each power of ten "frequency" in words, "tokens" and mean "loss" in nats;
        then the same of the ends and of what is out of vocabulary.
    """
    words = scores.targets >= FIRST_WORD
    decades = np.floor(np.log10(np.maximum(counts[scores.targets], 1))).astype(int)
    groups = {
        f"{10**decade:,} to {10 ** (decade + 1) - 1:,}": words & (decades == decade)
        for decade in range(decades.max() + 1)
    }
    groups["end"] = scores.targets == END
    groups["out of vocabulary"] = scores.targets == OOV
    return [
        {
            "frequency": name,
            "tokens": int(chosen.sum()),
            "loss": -float(np.mean(scores.log_probability[chosen], dtype=np.float64)),
        }
        for name, chosen in groups.items()
        if chosen.any()
    ]


def top_calibration(scores: TokenScores) -> list[dict[str, float | int | None]]:
    """Return how often the most probable token is right, by its probability.

    The bins are those of `evaluation.calibration_bins`.
    """
    return calibration_bins(scores.rank == 0, scores.top_probability)


def nearest_neighbours(
    vectors: np.ndarray, words: Sequence[str], chosen: Sequence[str], count: int = 8
) -> list[dict]:
    """Return the words whose vectors point most nearly in the same direction.

    Args:
        vectors: The embedding (vocabulary, size); word k has the id k + `FIRST_WORD`.
        words: The vocabulary's words.
        chosen: The words to look at.
        count: Most neighbours of each.

    Returns:
        For each chosen "word" its "neighbours", each with "word" and "cosine".

    Raises:
        ValueError: A chosen word is not in the vocabulary.
    """
    ids = {word: i for i, word in enumerate(words)}
    if unknown := [word for word in chosen if word not in ids]:
        raise ValueError(f"expected words of the vocabulary; received {unknown}")
    directions = np.asarray(vectors, np.float64)[FIRST_WORD : FIRST_WORD + len(words)]
    directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
    rows = []
    for word in chosen:
        cosines = directions @ directions[ids[word]]
        cosines[ids[word]] = -np.inf
        best = np.argsort(-cosines, kind="stable")[: min(count, len(words) - 1)]
        near = [{"word": words[i], "cosine": float(cosines[i])} for i in best]
        rows.append({"word": word, "neighbours": near})
    return rows
