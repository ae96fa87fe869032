"""The decomposition against the published equations, written out unit by unit."""

import itertools
import math

import numpy as np
import pytest

from lstm_keras.interpret.decomposition import decompose_states
from lstm_keras.reference import lstm_forward
from tests.helpers.equality import FEATURES, TIME, UNITS, normal
from tests.helpers.models import MASK

X = normal(TIME, FEATURES)
KERNEL = 0.7 * normal(FEATURES, 4 * UNITS, seed=1)
RECURRENT_KERNEL = 0.7 * normal(UNITS, 4 * UNITS, seed=2)
BIAS = 0.7 * normal(4 * UNITS, seed=3)
WEIGHTS = (KERNEL, RECURRENT_KERNEL, BIAS)

every_phrase = [
    list(range(start, end)) for start, end in itertools.combinations(range(TIME + 1), 2)
]
with_or_without_bias = pytest.mark.parametrize("bias", [BIAS, None], ids=["b", "no b"])
every_mask = pytest.mark.parametrize("mask", [None, *MASK], ids=str)


def steps_of(*phrases):
    steps = np.zeros((len(phrases), TIME), bool)
    for row, phrase in zip(steps, phrases, strict=True):
        row[list(phrase)] = True
    return steps


def shares(function, summands, first=()):
    """Equation 25: what each summand adds, averaged over all orders of the summands.

    Those named in `first` come before all others.
    """
    totals = dict.fromkeys(summands, 0.0)
    orders = list(itertools.permutations([s for s in summands if s not in first]))
    for order in orders:
        # The first one has the function's value, not what it adds to that of 0.
        so_far, before = 0.0, 0.0
        for name in (*first, *order):
            so_far += summands[name]
            totals[name] += function(so_far) - before
            before = function(so_far)
    return {name: total / len(orders) for name, total in totals.items()}


def literally(phrase, bias=BIAS, mask=None):
    """beta and gamma of the last h by the published equations, number by number."""
    bias = np.zeros(4 * UNITS) if bias is None else bias
    beta, gamma = [0.0] * UNITS, [0.0] * UNITS
    beta_c, gamma_c = [0.0] * UNITS, [0.0] * UNITS
    for t in range(TIME):
        if mask is not None and not mask[t]:
            continue
        new = []
        for unit in range(UNITS):
            gates = []
            for block in range(4):
                column = block * UNITS + unit
                of_input = sum(X[t, n] * KERNEL[n, column] for n in range(FEATURES))
                parts = {"bias": bias[column], "phrase": 0.0, "rest": 0.0}
                for n in range(UNITS):
                    parts["phrase"] += beta[n] * RECURRENT_KERNEL[n, column]
                    parts["rest"] += gamma[n] * RECURRENT_KERNEL[n, column]
                parts["phrase" if t in phrase else "rest"] += of_input
                gates.append(parts)
            i, f, g, o = (
                shares(math.tanh if n == 2 else logistic, parts, first=["bias"])
                for n, parts in enumerate(gates)
            )
            # Every product of two summands is the phrase's or the rest's.
            of_phrase = of_rest = 0.0
            for one, other in itertools.product(i, g):
                product = i[one] * g[other]
                names = {one, other}
                not_phrases = t not in phrase if names == {"bias"} else "rest" in names
                of_phrase += 0.0 if not_phrases else product
                of_rest += product if not_phrases else 0.0
            for name, share in f.items():
                if name == "rest":
                    of_rest += share * beta_c[unit]
                else:
                    of_phrase += share * beta_c[unit]
                of_rest += share * gamma_c[unit]
            both = shares(math.tanh, {"beta": of_phrase, "gamma": of_rest})
            shown = sum(o.values())
            new.append(
                (shown * both["beta"], shown * both["gamma"], of_phrase, of_rest)
            )
        beta, gamma, beta_c, gamma_c = zip(*new, strict=True)
    return np.array(beta), np.array(gamma)


def logistic(z):
    return 1 / (1 + math.exp(-z))


@with_or_without_bias
@every_mask
def test_the_two_parts_sum_to_the_state_of_the_reference(bias, mask):
    beta, gamma = decompose_states(
        X, KERNEL, RECURRENT_KERNEL, bias, steps_of(*every_phrase), mask
    )
    every = None if mask is None else mask[None]
    forward = lstm_forward(X[None], KERNEL, RECURRENT_KERNEL, bias, mask=every)
    assert beta.shape == gamma.shape == (len(every_phrase), UNITS)
    expected = np.broadcast_to(forward.h_last, beta.shape)
    np.testing.assert_allclose(beta + gamma, expected, rtol=0, atol=1e-12)


@with_or_without_bias
@every_mask
@pytest.mark.parametrize(
    "phrase", [[], [3], [0, 1, 2], [4, 5, 6], [1, 4, 6], [*range(TIME)]], ids=str
)
def test_the_parts_are_those_of_the_published_equations(phrase, bias, mask):
    found = decompose_states(X, KERNEL, RECURRENT_KERNEL, bias, steps_of(phrase), mask)
    for (actual,), expected in zip(found, literally(phrase, bias, mask), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


def test_phrases_are_independent_and_may_be_lists():
    phrases = steps_of([2], [0, 6], [])
    together = decompose_states(X, *WEIGHTS, phrases)
    for number, phrase in enumerate(phrases):
        alone = decompose_states(
            X.tolist(), *(w.tolist() for w in WEIGHTS), [phrase.tolist()]
        )
        for all_parts, part in zip(together, alone, strict=True):
            np.testing.assert_allclose(all_parts[number], part[0], rtol=0, atol=1e-14)


def test_large_weights_do_not_overflow():
    with np.errstate(over="raise", invalid="raise"):
        beta, gamma = decompose_states(
            1e3 * X, KERNEL, RECURRENT_KERNEL, BIAS, steps_of([1], [2, 3])
        )
    expected = lstm_forward(1e3 * X[None], *WEIGHTS).h_last[0]
    np.testing.assert_allclose(beta + gamma, np.tile(expected, (2, 1)), 0, 1e-12)
