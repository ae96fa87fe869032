"""Matrices of arguments of which the default tests run a choice: every pair of values.

The other combinations carry the mark `thorough`, which `make test-all` runs as well.
"""

import itertools

import pytest
from allpairspy import AllPairs


def pairwise(valid=lambda **combination: True, **values):
    """Parametrise a test with every combination of the values.

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

    def is_valid(places):
        if len(places) < len(lists):  # AllPairs asks about beginnings, too
            return True
        return valid(**dict(zip(values, combination(places), strict=True)))

    ranges = [range(len(one)) for one in lists]
    chosen = {tuple(places) for places in AllPairs(ranges, filter_func=is_valid)}
    return pytest.mark.parametrize(
        ",".join(values),
        [
            _param(combination(places), is_thorough=places not in chosen)
            for places in filter(is_valid, itertools.product(*ranges))
        ],
    )


def first_of(name, values):
    """Parametrise a test with values of which the default tests run the first one."""
    values = [_param([v], is_thorough=place > 0) for place, v in enumerate(values)]
    return pytest.mark.parametrize(name, values)


def _param(values, is_thorough):
    marks = [pytest.mark.thorough] * is_thorough
    return pytest.param(*values, id="-".join(map(_name, values)), marks=marks)


def _name(value):
    if isinstance(value, type):
        return f"{value.__module__.partition('.')[0]}.{value.__name__}"
    return getattr(value, "__name__", str(value))
