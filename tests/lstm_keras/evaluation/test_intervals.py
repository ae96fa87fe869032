"""Intervals of means over seeds: the oracles are SciPy and all resamples."""

import itertools

import numpy as np
import pytest
from scipy import stats

from lstm_keras.evaluation import intervals

ACCURACIES = (0.81, 0.84, 0.80, 0.88, 0.86)


def test_the_interval_is_that_of_all_ways_to_draw_the_seeds_again():
    low, high = intervals.bootstrap_interval(ACCURACIES)
    means = [np.mean(draw) for draw in itertools.product(ACCURACIES, repeat=5)]
    expected = np.quantile(means, [0.025, 0.975])
    np.testing.assert_allclose([low, high], expected, atol=0.002)
    assert intervals.bootstrap_interval(ACCURACIES) == [low, high]  # each time


def test_one_value_has_no_interval_and_equal_ones_have_no_width():
    assert intervals.bootstrap_interval([0.8]) is intervals.t_interval([0.8]) is None
    assert intervals.bootstrap_interval([0.5] * 3) == [0.5, 0.5]
    assert intervals.t_interval([0.5] * 3) == [0.5, 0.5]


def test_a_paired_difference_is_that_of_scipy():
    first, second = ACCURACIES, (0.80, 0.85, 0.79, 0.83, 0.84)
    found = intervals.paired_difference(first, second)
    test = stats.ttest_rel(first, second)
    np.testing.assert_allclose(found["interval"], test.confidence_interval(0.95))
    assert found["mean"] == pytest.approx(np.mean(first) - np.mean(second))
    assert found["values"] == pytest.approx([0.01, -0.01, 0.01, 0.05, 0.02])
    low, high = found["bootstrap_interval"]
    assert -0.01 <= low < found["mean"] < high <= 0.05
