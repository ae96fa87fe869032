"""A trained sentiment model on a sentence, word by word."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import lstm_keras
from experiments.common.terminal import stage
from experiments.gate_dynamics.metrics import (
    Contributions,
    NotPossible,
    PairCounts,
    SentenceMetrics,
)
from experiments.gate_dynamics.negation_pairs import PAIRS, Pair
from lstm_keras.interpret import METHODS, Attribution, LayerTrace
from lstm_keras.runs import SentimentRun

GATES = ("i", "f", "o", "g", "c", "h")

MOVING = 8  # number of units in `metrics.json`


@dataclass(frozen=True)
class Reading:
    """Prediction, gates and attributions of a model at each word of a text.

    Attributes:
        words: The words that the model reads.
        probabilities: The probability of positive after each word.
        attributions: The attribution by method, or why it is not possible.
        traces: Gates and states by layer.
    """

    words: Sequence[str]
    probabilities: list[float]
    attributions: dict[str, Attribution | str]
    traces: dict[str, LayerTrace]

    @property
    def possible(self) -> dict[str, Attribution]:
        """The attributions that the model supports."""
        return {
            method: one
            for method, one in self.attributions.items()
            if not isinstance(one, str)
        }

    def moving_units(self, trace: LayerTrace) -> list[tuple[int, float]]:
        """Return all units, those whose cell state changes most first.

        Returns:
            Unit and the sum of |c_t - c_{t-1}| over the words.
        """
        c = trace.c[0]
        if trace.backwards:
            before = np.concatenate([c[1:], trace.c0])
        else:
            before = np.concatenate([trace.c0, c[:-1]])
        moved = np.abs(c - before)[-len(self.words) :].sum(axis=0)
        return [(int(unit), float(moved[unit])) for unit in np.argsort(-moved)]

    def metrics(self) -> SentenceMetrics:
        """Return the numbers for `metrics.json`."""
        return SentenceMetrics(
            words=len(self.words),
            probability=self.probabilities[-1],
            attributions={
                method: NotPossible(not_possible=one)
                if isinstance(one, str)
                else Contributions(
                    output=one.output,
                    baseline=one.baseline,
                    rest=one.rest,
                    scores=dict(enumerate(one.scores.round(6).tolist())),
                )
                for method, one in self.attributions.items()
            },
            units_that_move_most={
                name: self.moving_units(trace)[:MOVING]
                for name, trace in self.traces.items()
            },
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays of `gates.npz`."""
        return {
            f"{layer}/{name}": array
            for layer, trace in self.traces.items()
            for name, array in trace.arrays().items()
        }

    def page_data(self) -> dict:
        """Return the data of the interactive view, as plain values."""
        return {
            "words": list(self.words),
            "probabilities": [round(p, 4) for p in self.probabilities],
            "methods": {
                method: one.scores.round(4).tolist()
                for method, one in self.possible.items()
            },
            "layers": [
                {
                    "name": name,
                    "order": [unit for unit, _ in self.moving_units(trace)],
                    **{
                        gate: getattr(trace, gate)[0, -len(self.words) :]
                        .round(3)
                        .tolist()
                        for gate in GATES
                    },
                }
                for name, trace in self.traces.items()
            ],
        }


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


def open_run(path: str) -> SentimentRun:
    """Return the sentiment run of a folder.

    Raises:
        ValueError: The folder contains no such run.
    """
    run = lstm_keras.load_run(path)
    if not isinstance(run, SentimentRun):
        raise ValueError(
            "expected --run as a run of experiments.imdb_sentiment; received "
            f"{run.config['experiment']} in {path}"
        )
    return run


def check_pairs(run: SentimentRun) -> None:
    """Refuse a model that would truncate the pairs' sentences.

    Raises:
        ValueError: It reads too few words.
    """
    longest = max(len(run.vocabulary.encode(pair.negated)) for pair in PAIRS)
    if run.config["maxlen"] < longest:
        raise ValueError(
            f"expected a run that reads {longest} words, for the pairs of sentences "
            f"(--no-pairs leaves them out); received maxlen={run.config['maxlen']}"
        )


def read_sentence(run: SentimentRun, text: str) -> Reading:
    """Return what the model does on a text.

    Raises:
        ValueError: The text contains no word.
    """
    ids, words = run.read(text)
    if len(words) < 2:  # a START alone
        raise ValueError(f"expected a --text with at least one word; received {text!r}")
    attributions: dict[str, Attribution | str] = {}
    for method in METHODS:
        with stage(f"Attribution: {method}"):
            try:
                attributions[method] = lstm_keras.attribute(run, text, method)
            except ValueError as error:
                attributions[method] = str(error)
    with stage("Gates"):
        traces = dict(lstm_keras.trace_gates(run.model, np.asarray(ids)[None]))
    after_each = _probability(attributions["prefix"].outputs)
    return Reading(words, after_each.tolist(), attributions, traces)


def measure_pairs(run: SentimentRun) -> list[MeasuredPair]:
    """Measure the contribution of each adjective, alone and with "not" before it."""
    measured = []
    for number, pair in enumerate(PAIRS, start=1):
        with stage(f"Pair {number} of {len(PAIRS)}"):
            plain = _phrase(run, pair, pair.plain, [pair.adjective])
            negated = _phrase(run, pair, pair.negated, ["not", pair.adjective])
        both = {method: (plain[method], negated[method]) for method in plain}
        measured.append(MeasuredPair(pair, both))
    return measured


def pair_counts(measured: Sequence[MeasuredPair]) -> dict[str, PairCounts]:
    """Count the pairs in which "not" changes the sign, by method."""
    counts = {}
    for method in measured[0].contributions:
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


def _probability(logits: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(logits)))
