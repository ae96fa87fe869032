"""Language models from word counts, the baselines of a network.

Both models give every id except `PADDING` and `START` a probability above 0. A text is
one array of ids in which `END` closes each segment (a sentence, a line). With
`stream=False` histories begin anew with `START` in each segment; with `stream=True`
only the whole text begins with `START`.
"""

import numpy as np

from lstm_keras.evaluation.language import TokenScores
from lstm_keras.preprocessing.vocabulary import END, OOV, START, check_whole

# A trigram is the number (u * V + v) * V + w, which must stay below 2**63.
MAX_VOCABULARY = 2**21 - 1

# Two probabilities are equal if their ratio may be due to rounding.
TIE = 1 + 1e-9

SCORED_AT_ONCE = 1 << 18  # tokens, which need about 50 MB


class UnigramModel:
    """Word frequencies, regardless of the history.

    Counts are increased by one (Laplace's rule of succession), which has no parameter
    to choose: P(w) = (c(w) + 1) / (N + number of predictable ids).

    Args:
        counts: Those of the predictable ids (vocabulary_size - 2,), from `OOV` on.
    """

    def __init__(self, counts: np.ndarray):
        self._counts = counts
        self._probability = (counts + 1) / (counts + 1).sum()

    @classmethod
    def fit(
        cls, ids: np.ndarray, vocabulary_size: int, *, stream: bool
    ) -> "UnigramModel":
        """Fit the model to a text; see `KneserNeyTrigram.fit`. `stream` is ignored."""
        ids = _check(ids, vocabulary_size)
        return cls(np.bincount(ids, minlength=vocabulary_size)[OOV:])

    def score(self, ids: np.ndarray, *, stream: bool) -> TokenScores:
        """Score a text; see `KneserNeyTrigram.score`. `stream` is ignored."""
        words = _check(ids, OOV + len(self._counts)) - OOV
        ascending = np.sort(self._counts)
        not_above = np.searchsorted(ascending, self._counts[words], "right")
        top = np.full(len(words), self._probability.max())
        return _scores(ids, self._probability[words], len(ascending) - not_above, top)


class KneserNeyTrigram:
    """A trigram model with interpolated Kneser-Ney smoothing.

    Equation 19 of Chen and Goodman, "An empirical study of smoothing techniques for
    language modeling" (1999), after Kneser and Ney (1995), for a history h and h' =
    h without its first word:

        P(w | h) = max(c(h w) - D, 0) / c(h ·) + D N1+(h ·) / c(h ·) P(w | h')

    c is the number of occurrences of trigrams, and the number of distinct preceding
    words of shorter n-grams; bigrams that begin with `START`, which nothing precedes,
    are counted by occurrence, too. N1+(h ·) is the number of distinct words after h.
    The unigrams are interpolated with the uniform distribution over predictable ids.
    After a history that never occurred P(w | h) = P(w | h'). Each length has one
    discount D = n1 / (n1 + 2 n2), where n1 and n2 are the numbers of its n-grams with
    counts 1 and 2; if either is 0 (in a tiny text), D is 0.5.

    Args:
        orders: The unigrams, bigrams and trigrams.
        vocabulary_size: Number of ids, including the four special ones.
    """

    def __init__(self, orders: "list[_Order]", vocabulary_size: int):
        self._orders = orders
        self._vocabulary_size = vocabulary_size

    @classmethod
    def fit(
        cls, ids: np.ndarray, vocabulary_size: int, *, stream: bool
    ) -> "KneserNeyTrigram":
        """Fit the model to a text.

        Args:
            ids: The training text (tokens,), whole numbers.
            vocabulary_size: Number of ids, including the four special ones.
            stream: Whether histories continue across `END`.

        Raises:
            ValueError: `ids` is not a text (tokens,), an id is not predictable, or the
                vocabulary size is not from 4 to `MAX_VOCABULARY`.
        """
        size = vocabulary_size
        ids = _check(ids, size)
        history = _histories(ids, size, stream)
        grams = history * size + ids
        # A first word is preceded only by START: that is a bigram, not a trigram.
        first = history == START * size + START
        triples, counts = np.unique(grams[~first], return_counts=True)
        beginnings = grams[first] % size**2
        pairs = np.concatenate([triples % size**2, beginnings])
        pairs, pair_counts = np.unique(pairs, return_counts=True)
        words, word_counts = np.unique(pairs % size, return_counts=True)
        model = cls([], size)
        for keys, key_counts in (
            (words, word_counts),
            (pairs, pair_counts),
            (triples, counts),
        ):
            shorter, _ = model._probabilities(keys // size, keys % size)
            model._orders.append(_Order(keys, key_counts, size, shorter))
        return model

    def score(self, ids: np.ndarray, *, stream: bool) -> TokenScores:
        """Score a text, exactly and over the whole vocabulary.

        Args:
            ids: The text (tokens,), whole numbers.
            stream: Whether histories continue across `END`, as in training.

        Raises:
            ValueError: `ids` is not a text (tokens,), or an id is not predictable.
        """
        words = _check(ids, self._vocabulary_size)
        history = _histories(words, self._vocabulary_size, stream)
        parts = []
        for start in range(0, len(words), SCORED_AT_ONCE):
            part = slice(start, start + SCORED_AT_ONCE)
            probability, top = self._probabilities(history[part], words[part])
            parts.append((probability, self._ranks(history[part], probability), top))
        return _scores(ids, *map(np.concatenate, zip(*parts, strict=True)))

    def _contexts(self, history: np.ndarray) -> "list[tuple[_Order, np.ndarray]]":
        """Return each order and its contexts: the last 0, 1 or 2 words of a history."""
        return [
            (order, order.find(history % self._vocabulary_size**words))
            for words, order in enumerate(self._orders)
        ]

    def _probabilities(
        self, history: np.ndarray, words: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the probability of each word after its history, and the highest."""
        probability = np.full(len(words), 1 / (self._vocabulary_size - OOV))
        top = probability
        size = self._vocabulary_size
        for length, (order, context) in enumerate(self._contexts(history)):
            gram = history % size**length * size + words
            probability = order.share(gram) + order.left[context] * probability
            # A word that does not follow the history has `left` of what it had; for
            # one that does, this is less than what it has.
            top = np.maximum(order.highest[context], order.left[context] * top)
        return probability, top

    def _ranks(self, history: np.ndarray, probability: np.ndarray) -> np.ndarray:
        """Return the number of words above `probability` after each history.

        Among the words that do not follow a history, those above a threshold t are the
        words above t / left after the shorter history, less those of them that do
        follow. So a few bisections replace a sum over the vocabulary.
        """
        threshold = probability * TIE
        rank = np.zeros(len(history), np.int64)
        for order, context in reversed(self._contexts(history)):
            rank += order.count_above(context, threshold, order.ascending)
            threshold = threshold / order.left[context]
            rank -= order.count_above(context, threshold, order.ascending_shorter)
        predictable = self._vocabulary_size - OOV
        return rank + predictable * (1 / predictable > threshold)


class _Order:
    """The n-grams of one length, sorted by context.

    Each table has one more entry at its end, for unseen contexts and n-grams.

    Args:
        keys: The distinct n-grams as numbers context * base + word, ascending.
        counts: The count of each n-gram.
        base: Number of ids.
        shorter: The probability of each n-gram's word after the shorter history.
    """

    def __init__(
        self, keys: np.ndarray, counts: np.ndarray, base: int, shorter: np.ndarray
    ):
        self._keys = keys
        self._contexts, starts = np.unique(keys // base, return_index=True)
        self._bounds = np.concatenate([starts, [len(keys)] * 2])
        types = np.diff(self._bounds[:-1])
        context = np.repeat(np.arange(len(types)), types)
        totals = np.bincount(context, counts, len(types))
        discount = _discount(counts)
        shares = (counts - discount) / totals[context]
        left = discount * types / totals
        probability = shares + left[context] * shorter
        self._shares = np.append(shares, 0.0)
        self.left = np.append(left, 1.0)
        self.ascending = probability[np.lexsort((probability, context))]
        self.ascending_shorter = shorter[np.lexsort((shorter, context))]
        self.highest = np.append(self.ascending[self._bounds[1:-1] - 1], 0.0)

    def find(self, contexts: np.ndarray) -> np.ndarray:
        """Return the index of each context in the tables."""
        return _find(self._contexts, contexts)

    def share(self, keys: np.ndarray) -> np.ndarray:
        """Return the first term of each n-gram's probability."""
        return self._shares[_find(self._keys, keys)]

    def count_above(
        self, context: np.ndarray, threshold: np.ndarray, ascending: np.ndarray
    ) -> np.ndarray:
        """Return the number of words after each context that are above its threshold.

        Args:
            context: Indices (n,) from `find`.
            threshold: Probabilities (n,).
            ascending: The n-grams' probabilities, ascending within each context.
        """
        low, high = self._bounds[context], self._bounds[context + 1]
        stop = high
        while (unsure := low < high).any():
            middle = (low + high) // 2
            above = unsure.copy()
            above[unsure] = ascending[middle[unsure]] > threshold[unsure]
            high = np.where(above, middle, high)
            low = np.where(unsure & ~above, middle + 1, low)
        return stop - low


def _discount(counts: np.ndarray) -> float:
    """Return the discount of n-grams with these counts."""
    once, twice = (counts == 1).sum(), (counts == 2).sum()
    return once / (once + 2 * twice) if once and twice else 0.5


def _find(ascending: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the index of each wanted number, or the length if it is missing."""
    index = np.searchsorted(ascending, wanted)
    found = np.append(ascending, -1)[index] == wanted
    return np.where(found, index, len(ascending))


def _histories(ids: np.ndarray, size: int, stream: bool) -> np.ndarray:
    """Return the two words before each token as one number."""
    before = np.concatenate([[START], ids[:-1]])
    if not stream:
        before[before == END] = START
    second = np.concatenate([[START], before[:-1]])
    second[before == START] = START
    return second * size + before


def _check(ids: np.ndarray, vocabulary_size: int) -> np.ndarray:
    """Return the ids, checked, as int64, for products beyond int32."""
    check_whole("vocabulary_size", vocabulary_size, END + 1)
    if vocabulary_size > MAX_VOCABULARY:
        raise ValueError(
            f"expected at most {MAX_VOCABULARY:,} ids; received {vocabulary_size:,}"
        )
    ids = np.asarray(ids)
    if ids.ndim != 1 or not len(ids) or ids.dtype.kind not in "iu":
        raise ValueError(
            "expected a text (tokens,) of whole numbers; "
            f"received {ids.dtype} {ids.shape}"
        )
    if ids.min() < OOV or ids.max() >= vocabulary_size:
        raise ValueError(
            f"expected ids from {OOV} to {vocabulary_size - 1}; "
            f"received {ids.min()} to {ids.max()}"
        )
    return ids.astype(np.int64)


def _scores(
    ids: np.ndarray, probability: np.ndarray, rank: np.ndarray, top: np.ndarray
) -> TokenScores:
    return TokenScores(
        targets=np.asarray(ids, np.int32),
        log_probability=np.log(probability).astype(np.float32),
        rank=rank.astype(np.int32),
        top_probability=top.astype(np.float32),
    )
