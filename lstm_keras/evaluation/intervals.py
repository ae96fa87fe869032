"""Confidence intervals of means over seeds, and of paired differences."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 9999


def spread(values: Sequence[float]) -> dict:
    """Return mean and sample standard deviation (`None` for one value)."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "standard_deviation": deviation}


def bootstrap_interval(values: Sequence[float]) -> list[float] | None:
    """Return the mean's percentile bootstrap interval; None for one value.

    It is too narrow for few values: with two it encloses the true mean of normally
    distributed values in half of all cases, with three in 3 of 4, with ten in 9 of 10.
    """
    if len(values) < 2:
        return None
    found = stats.bootstrap(
        (np.asarray(values, np.float64),),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        random_state=np.random.default_rng(0),
    )
    return [float(end) for end in found.confidence_interval]


def t_interval(values: Sequence[float]) -> list[float] | None:
    """Return the mean's interval by Student's t; None for one value."""
    count = len(values)
    if count < 2:
        return None
    error = np.std(values, ddof=1) / np.sqrt(count)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1) * error)
    mean = float(np.mean(values))
    return [mean - half, mean + half]


def paired_difference(first: Sequence[float], second: Sequence[float]) -> dict:
    """Return the differences of paired values, first minus second.

    Returns:
        `seeds`, the number of pairs; `values`, the differences; their `mean` and
        `standard_deviation`; `interval`, the 95% t interval of the mean; and its
        `bootstrap_interval`. The last three are None for one pair.
    """
    values = np.subtract(first, second).tolist()
    return {
        "seeds": len(values),
        "values": values,
        **spread(values),
        "interval": t_interval(values),
        "bootstrap_interval": bootstrap_interval(values),
    }


def paired_p_value(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return the two-sided p-value of a paired t test; None for one pair."""
    values = np.subtract(first, second)
    if len(values) < 2:
        return None
    if not values.std():  # the test divides by it
        return float(not values.any())
    return float(stats.ttest_1samp(values, 0).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number, in the same order.

    A hypothesis may be rejected at a level if its corrected value is not above it; then
    the probability of any wrong rejection is at most that level. Source: Holm, "A
    Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of
    Statistics 6(2), 1979.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p)
    factors = np.arange(len(p), 0, -1)
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1)
    return corrected.tolist()
