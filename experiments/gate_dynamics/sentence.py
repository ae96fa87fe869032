"""A trained sentiment model on a sentence, word by word."""

import base64
import dataclasses
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import lstm_keras
from experiments.common.terminal import stage
from experiments.gate_dynamics.metrics import (
    Contributions,
    NotPossible,
    SentenceMetrics,
)
from lstm_keras.interpret import METHODS, Attribution, LayerTrace
from lstm_keras.preprocessing.vocabulary import START_NAME
from lstm_keras.runs import SentimentRun

GATES = ("i", "f", "o", "g", "c", "h")

MOVING = 8  # number of units in `metrics.json`
AROUND = 20  # number of words in the figure of the finding


@dataclass(frozen=True)
class Reading:
    """Prediction, gates and attributions of a model at each word of a text.

    Attributes:
        words: The words that the model reads, behind the `START_NAME` of the text if it
            reads its beginning.
        label: What `SentimentRun.predict` says of the text.
        probabilities: The probability of positive after each word.
        attributions: The attribution by method, or why it is not possible.
        traces: Gates and states by layer.
    """

    words: Sequence[str]
    label: str
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

    @property
    def turn(self) -> int:
        """The place of the first "not", or else of the word with the largest score."""
        if "not" in self.words[1:]:
            return self.words.index("not", 1)
        changes = np.abs(self.possible["prefix"].scores)
        return 1 + int(changes[1:].argmax())

    def before(self, trace: LayerTrace) -> np.ndarray:
        """Return the cell state before each word, `(words, units)`."""
        c = trace.c[0]
        whole = [c[1:], trace.c0] if trace.backwards else [trace.c0, c[:-1]]
        return np.concatenate(whole)[-len(self.words) :]

    def of_words(self, array: np.ndarray) -> np.ndarray:
        """Return a trace's values at the words, `(words, units)`."""
        return array[0, -len(self.words) :]

    def moving_units(self, trace: LayerTrace) -> list[tuple[int, float]]:
        """Return all units, those whose cell state changes most first.

        Returns:
            Unit and the sum of |c_t - c_{t-1}| over the words.
        """
        moved = np.abs(self.of_words(trace.c) - self.before(trace)).sum(axis=0)
        return [(int(unit), float(moved[unit])) for unit in np.argsort(-moved)]

    def turning_unit(self, trace: LayerTrace) -> int:
        """Return the unit whose tanh c, which the output gate lets out, turns most."""
        after, before = self.of_words(trace.c), self.before(trace)
        return int(np.abs(np.tanh(after) - np.tanh(before))[self.turn].argmax())

    def around_turn(self, trace: LayerTrace) -> tuple[LayerTrace, Sequence[str], int]:
        """Return trace and words around the turn, and its place among them."""
        first = max(0, min(self.turn - AROUND // 2, len(self.words) - AROUND))
        near = slice(first, first + AROUND)
        steps = {
            name: self.of_words(getattr(trace, name))[None, near]
            for name in (*GATES, "mask")
        }
        return dataclasses.replace(trace, **steps), self.words[near], self.turn - first

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
            "first": 0 if self.words[0] == START_NAME else 1,
            "chosen": self.turn,
            "probabilities": [round(p, 4) for p in self.probabilities],
            "methods": {
                method: one.scores.round(4).tolist()
                for method, one in self.possible.items()
            },
            "layers": [
                {
                    "name": name,
                    "unit": self.turning_unit(trace),
                    "order": [unit for unit, _ in self.moving_units(trace)],
                    **{
                        gate: packed(self.of_words(getattr(trace, gate)))
                        for gate in GATES
                    },
                }
                for name, trace in self.traces.items()
            ],
        }


def packed(array: np.ndarray) -> dict:
    """Return an array, row by row, as base64 of 16-bit integers, and their unit.

    As plain numbers, gates and states of 500 words and 256 units would take twice as
    much of the page.
    """
    step = float(np.abs(array).max()) / 32767 or 1.0
    integers = np.rint(array / step).astype("<i2")
    return {"step": step, "integers": base64.b64encode(integers.tobytes()).decode()}


def read_sentence(run: SentimentRun, text: str) -> Reading:
    """Return what the model does on a text.

    Raises:
        ValueError: The model knows no word of the text.
    """
    ids, words = run.read(text)
    label = run.predict(text).label
    if label is None:
        raise ValueError(
            "expected a --text with at least one word that the model reads and knows; "
            f"received {text!r}"
        )
    attributions = {}
    for method in METHODS:
        with stage(f"Attribution: {method}"):
            attributions[method] = attribution(run, text, method)
    with stage("Gates"):
        traces = dict(lstm_keras.trace_gates(run.model, np.asarray(ids)[None]))
    after_each = _probability(attributions["prefix"].outputs)
    return Reading(words, label, after_each.tolist(), attributions, traces)


def attribution(run: SentimentRun, text: str, method: str) -> Attribution | str:
    """Return an attribution, or why there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that gradients do not sum up is said below
        try:
            found = lstm_keras.attribute(run, text, method)
        except ValueError as error:
            return str(error)
    if method == "gradient" and not found.is_complete:
        return (
            f"the gradients leave {found.rest:.2g} of the difference of "
            f"{found.output - found.baseline:.2g} unexplained, so what they give each "
            "word means little"
        )
    return found


def _probability(logits: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(logits)))
