"""Matrices of arguments, thinned: every pair of values by default, else every triple.

What the pairs don't need carries the mark `thorough`, which `make test-all` runs too.
"""

import itertools
import re

import pytest


def pairwise(valid=lambda **combination: True, **values):
    """Parametrise a test with combinations in which every triple of values occurs.

    Args:
        valid: Takes a combination by keyword, returns whether there is such a thing.
        **values: For each argument of the test its values.

    Returns:
        The mark of pytest: a combination that is not needed for every pair of values
        to occur is marked `thorough`.
    """
    lists = [list(one) for one in values.values()]

    def combination(places):
        return [one[place] for one, place in zip(lists, places, strict=True)]

    every = [
        places
        for places in itertools.product(*(range(len(one)) for one in lists))
        if valid(**dict(zip(values, combination(places), strict=True)))
    ]
    pairs = _with_every_group(every, 2, [])
    triples = _with_every_group(every, min(3, len(lists)), pairs)
    return pytest.mark.parametrize(
        ",".join(values),
        [
            _param(combination(places), thorough=number >= len(pairs))
            for number, places in enumerate(triples)
        ],
    )


def first_of(name, values):
    """Parametrise a test with values of which the default tests run the first one."""
    params = [_param([one], thorough=place > 0) for place, one in enumerate(values)]
    return pytest.mark.parametrize(name, params)


def _with_every_group(every, size, chosen):
    """Add combinations until all groups of so many values occur, always the best."""
    groups = {
        places: set(itertools.combinations(enumerate(places), size)) for places in every
    }
    chosen = list(chosen)
    missing = set().union(*groups.values()).difference(*map(groups.get, chosen))
    while missing:
        chosen.append(max(every, key=lambda places: len(groups[places] & missing)))
        missing -= groups[chosen[-1]]
    return chosen


def _param(values, thorough):
    marks = [pytest.mark.thorough] * thorough
    return pytest.param(*values, id="-".join(map(_name, values)), marks=marks)


def _name(value):
    if isinstance(value, type):
        return f"{value.__module__.partition('.')[0]}.{value.__name__}"
    # Without addresses, which are different in every process.
    return re.sub(" at 0x[0-9a-f]+", "", getattr(value, "__name__", str(value)))
