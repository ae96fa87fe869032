"""The choice of combinations, against a count of the pairs that occur in it."""

import itertools

import pytest

from tests.helpers.pairwise import pairwise

VALUES = {"a": [0, 1], "b": [None, "x", "y"], "c": [2.0, 3.0, 4.0], "d": [True, False]}


def is_valid(a, b, c, d):
    return not (a == 1 and b == "x" and d)


def pairs(combinations):
    return {
        pair
        for combination in combinations
        for pair in itertools.combinations(enumerate(combination), 2)
    }


@pytest.mark.parametrize("valid", [lambda **combination: True, is_valid])
def test_every_pair_that_can_occur_is_in_the_default_tests(valid):
    _, params = pairwise(valid, **VALUES).args
    every = [
        combination
        for combination in itertools.product(*VALUES.values())
        if valid(**dict(zip(VALUES, combination, strict=True)))
    ]
    assert [param.values for param in params] == every
    chosen = [param.values for param in params if not param.marks]
    assert pairs(chosen) == pairs(every)
    assert len(chosen) < len(every) / 2
