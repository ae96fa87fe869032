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


def test_the_p_value_is_that_of_a_paired_t_test():
    others = [0.80, 0.85, 0.79, 0.84, 0.80]
    expected = stats.ttest_rel(ACCURACIES, others).pvalue
    found = intervals.paired_p_value(ACCURACIES, others)
    assert found == pytest.approx(expected)
    assert intervals.paired_p_value([0.8], [0.7]) is None
    assert intervals.paired_p_value([0.8, 0.7], [0.8, 0.7]) == 1
    assert intervals.paired_p_value([0.75, 0.5], [0.5, 0.25]) == 0


def test_holm_multiplies_the_smallest_by_their_number_and_so_on():
    # 0.01 * 4, 0.02 * 3, 0.03 * 2 (raised to the one before), 0.9 * 1.
    found = intervals.holm([0.03, 0.01, 0.9, 0.02])
    assert found == pytest.approx([0.06, 0.04, 0.9, 0.06])
    assert intervals.holm([0.6, 0.7]) == [1, 1]
