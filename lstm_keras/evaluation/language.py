"""Metrics of a language model, computed from its scores of every token of a text.

A text is one array of ids in which `END` closes each segment (a sentence, a line).
Every token, `END` and `OOV` too, is predicted and counted once.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np

from lstm_keras.evaluation.classification import calibration_bins
from lstm_keras.preprocessing.vocabulary import END, FIRST_WORD, OOV

_RANGES = {
    "targets": (OOV, np.inf),
    # In float32 the logarithm of a probability of 1 may be slightly positive.
    "log_probability": (-np.inf, 1e-5),
    "rank": (0, np.inf),
    "top_probability": (0, 1),
}

# A group of positions spans at least this fraction of its first one: 500 positions form
# fewer than 30 groups, and each of the first five is a group.
POSITION_SPREAD = 0.2


@dataclass(frozen=True, eq=False)
class TokenScores:
    """A model's scores of every token of a text, in order.

    Attributes:
        targets: the tokens, int32 (n,), without `PADDING` and `START`.
        log_probability: that of each token, float32 (n,), in nats.
        rank: number of tokens with a higher probability, int32 (n,); 0 is top-1.
        top_probability: that of the most probable token at each step, float32 (n,).

    Raises:
        ValueError: for no token, unequal shapes, or a number that is not finite or out
            of range.
    """

    targets: np.ndarray
    log_probability: np.ndarray
    rank: np.ndarray
    top_probability: np.ndarray

    def __post_init__(self):
        shapes = {name: np.shape(value) for name, value in vars(self).items()}
        shape = shapes["targets"]
        if set(shapes.values()) != {shape} or len(shape) != 1 or shape == (0,):
            raise ValueError(
                f"expected arrays of one shape (n,) with n >= 1; received {shapes}"
            )
        for name, (low, high) in _RANGES.items():
            values = getattr(self, name)
            if not (np.isfinite(values) & (low <= values) & (values <= high)).all():
                raise ValueError(
                    f"expected {name} finite and from {low} to {high}; "
                    f"received {values.min()} to {values.max()}"
                )


@dataclass(frozen=True)
class LanguageModelResult:
    """The metrics of a language model on one text.

    Attributes:
        name: the model's name in reports.
        tokens: number of tokens: words, `OOV` and `END`.
        loss: mean negative log-likelihood in nats per token.
        perplexity: exp(loss).
        bits_per_word: the loss in bits per token.
        accuracy: fraction of the tokens that are top-1, the most probable.
        top5_accuracy: fraction of the tokens that are among the five most probable.
        prefix_accuracy: top-1 accuracy over the words (and `OOV`) that are not the
            first of their segment, as reported by tutorials with left-padded prefixes;
            None if there are none.
        oov_rate: fraction of all tokens that are `OOV`.
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
    """Compute every metric of one model on one text.

    Args:
        scores: the model's scores of the text.
        name: the model's name.
    """
    loss = _mean_loss(scores.log_probability)
    top = scores.rank == 0
    prefixed = (_positions(scores.targets) > 1) & (scores.targets != END)
    return LanguageModelResult(
        name=name,
        tokens=len(top),
        loss=loss,
        perplexity=float(np.exp(loss)),
        bits_per_word=loss / float(np.log(2)),
        accuracy=float(top.mean()),
        top5_accuracy=float((scores.rank < 5).mean()),
        prefix_accuracy=float(top[prefixed].mean()) if prefixed.any() else None,
        oov_rate=float((scores.targets == OOV).mean()),
    )


def accuracy_by_position(
    scores: TokenScores, least: int = 50
) -> list[dict[str, int | float]]:
    """Compute the accuracy by a token's position in its segment, counted from 1.

    Positions are grouped until a group has `least` tokens and spans `POSITION_SPREAD`;
    the rest at the end joins the last group.

    Args:
        scores: the model's scores of a text, including `END` tokens.
        least: minimum number of tokens in a group, at least 1.

    Returns:
        For each group the "first" and "last" position in it, "tokens", "accuracy" and
        "top5_accuracy".

    Raises:
        ValueError: for `least` below 1.
    """
    if least < 1:
        raise ValueError(f"expected least >= 1; received least={least}")
    positions = _positions(scores.targets)
    lasts = _group_ends(np.bincount(positions)[1:], least)
    firsts = [1, *(last + 1 for last in lasts[:-1])]
    group = np.searchsorted(lasts, positions)
    tokens = np.bincount(group)
    top, top5 = (np.bincount(group, scores.rank < k) / tokens for k in (1, 5))
    return [
        {
            "first": first,
            "last": last,
            "tokens": int(tokens[i]),
            "accuracy": float(top[i]),
            "top5_accuracy": float(top5[i]),
        }
        for i, (first, last) in enumerate(zip(firsts, lasts, strict=True))
    ]


def loss_by_frequency(
    scores: TokenScores, counts: np.ndarray
) -> list[dict[str, int | float | str]]:
    """Compute the loss by a word's frequency in the training text.

    `END` and `OOV`, which are more frequent than most words, are separate groups.

    Args:
        scores: the model's scores of a text.
        counts: number of occurrences of each id in the training text, (vocabulary,).

    Returns:
        For each decade of counts, from 0, 1 and 2-9 on, then for "END" and "OOV":
        "frequency", the group's name; "tokens"; and "loss", their mean in nats. Groups
        without tokens are omitted.

    Raises:
        ValueError: for counts of another shape, below 0, or of too few ids.
    """
    counts = np.asarray(counts)
    if counts.ndim != 1 or len(counts) <= scores.targets.max() or counts.min() < 0:
        raise ValueError(
            "expected counts >= 0 of all ids, more than "
            f"{scores.targets.max()}; received shape {counts.shape} and minimum "
            f"{counts.min(initial=0)}"
        )
    count = np.where(scores.targets < FIRST_WORD, -1, counts[scores.targets])
    edges = [0, 1, 2]
    while edges[-1] <= count.max():
        edges.append(10 ** (len(edges) - 2))
    groups = {}
    for low, high in pairwise(edges):
        name = f"{low:,}" if high == low + 1 else f"{low:,}–{high - 1:,}"
        groups[name] = (low <= count) & (count < high)
    groups |= {"END": scores.targets == END, "OOV": scores.targets == OOV}
    return [
        {
            "frequency": name,
            "tokens": int(members.sum()),
            "loss": _mean_loss(scores.log_probability[members]),
        }
        for name, members in groups.items()
        if members.any()
    ]


def top_calibration(scores: TokenScores) -> list[dict[str, float | int | None]]:
    """Compare the probability of the most probable token with its accuracy.

    Returns:
        The bins of `calibration_bins`; "observed" is the top-1 accuracy.
    """
    return calibration_bins(scores.rank == 0, scores.top_probability)


def nearest_neighbours(
    vectors: np.ndarray, words: Sequence[str], chosen: Sequence[str], count: int = 8
) -> list[dict]:
    """Find the words whose vectors point most nearly in the same direction.

    Args:
        vectors: the embedding (vocabulary, size); word k has the id k + `FIRST_WORD`.
        words: the vocabulary's words.
        chosen: the words to look at.
        count: most neighbours of each, at least 1.

    Returns:
        For each chosen "word" its "neighbours", each a "word" and the "cosine" of the
        angle between the vectors, the most similar first. The cosine with a zero vector
        is 0.

    Raises:
        ValueError: for vectors of another shape, a chosen word that is not one of the
            words, or `count` below 1.
    """
    vectors = np.asarray(vectors, np.float64)
    if vectors.ndim != 2 or len(vectors) != FIRST_WORD + len(words):
        raise ValueError(
            f"expected vectors of shape ({FIRST_WORD + len(words)}, size); "
            f"received shape {vectors.shape}"
        )
    if count < 1:
        raise ValueError(f"expected count >= 1; received count={count}")
    index = {word: i for i, word in enumerate(words)}
    if unknown := [word for word in chosen if word not in index]:
        raise ValueError(f"expected words of the vocabulary; received {unknown}")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    directions = (vectors / np.where(lengths > 0, lengths, 1))[FIRST_WORD:]
    rows = []
    for word in chosen:
        cosines = directions @ directions[index[word]]
        order = np.argsort(-cosines, kind="stable")
        best = order[order != index[word]][:count]
        near = [{"word": words[i], "cosine": float(cosines[i])} for i in best]
        rows.append({"word": word, "neighbours": near})
    return rows


def _mean_loss(log_probability: np.ndarray) -> float:
    return -float(np.mean(log_probability, dtype=np.float64))


def _positions(ids: np.ndarray) -> np.ndarray:
    """Return the position of every token in its segment, counted from 1."""
    places = np.arange(len(ids))
    starts = np.concatenate([[True], ids[:-1] == END])
    return places - np.maximum.accumulate(np.where(starts, places, 0)) + 1


def _group_ends(tokens: np.ndarray, least: int) -> list[int]:
    """Return each group's last position, given the number of tokens at each."""
    ends, first, waiting = [], 1, 0
    for position, number in enumerate(tokens.tolist(), start=1):
        waiting += number
        if waiting >= least and position + 1 - first >= POSITION_SPREAD * first:
            ends.append(position)
            first, waiting = position + 1, 0
    return [*ends[:-1], len(tokens)] if waiting else ends
