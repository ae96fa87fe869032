"""The choice of combinations, against the pairs and triples that occur in all."""

import itertools

import pytest

from tests.helpers.pairwise import pairwise

VALUES = {
    "a": [0, 1, 2],
    "b": [None, "x", "y"],
    "c": [2.0, 3.0, 4.0],
    **{name: [True, False] for name in "def"},
}


def groups(combinations, size):
    return {
        group
        for combination in combinations
        for group in itertools.combinations(enumerate(combination), size)
    }


@pytest.mark.parametrize(
    "valid", [lambda **_: True, lambda a, b, d, **_: not (a == 1 and b == "x" and d)]
)
def test_every_pair_and_every_triple_that_can_occur_is_tried(valid):
    every = [
        combination
        for combination in itertools.product(*VALUES.values())
        if valid(**dict(zip(VALUES, combination, strict=True)))
    ]
    _, params = pairwise(valid, **VALUES).args
    tried = [param.values for param in params]
    by_default = [param.values for param in params if not param.marks]
    assert set(tried) <= set(every)
    assert groups(by_default, 2) == groups(every, 2)
    assert groups(tried, 3) == groups(every, 3)
    assert len(by_default) < len(tried) / 2 < len(every) / 4
