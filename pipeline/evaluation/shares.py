"""Exact statements about shares of counted examples: right or wrong, and which of two models is right."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


def share_interval(hits: int, count: int, confidence: float) -> tuple[float, float]:
    """Clopper and Pearson's (1934) interval of hits / count: covers at least as often as it says, 0 of 9 included."""
    interval = stats.binomtest(hits, count).proportion_ci(confidence, method="exact")
    return float(interval.low), float(interval.high)


def exact_mcnemar(a: ArrayLike, b: ArrayLike) -> float:
    """Two-sided p-value: are the examples that only one of two models gets right split evenly? Scores are 0 or 1."""
    only_first, only_second = discordant(a, b)
    if only_first + only_second == 0:
        return 1.0
    return float(stats.binomtest(only_first, only_first + only_second).pvalue)


def discordant(a: ArrayLike, b: ArrayLike) -> tuple[int, int]:
    """Returns how many examples only the first of two models gets right, and how many only the second."""
    first, second = np.asarray(a), np.asarray(b)
    return int(np.sum((first == 1) & (second == 0))), int(np.sum((first == 0) & (second == 1)))


def paired_shares_interval(only_first: int, only_second: int, count: int, confidence: float) -> tuple[float, float]:
    """Interval of the difference of two shares of the same examples; it leaves zero out exactly if McNemar's test does.

    Bonett and Price (2012) say how far it reaches. Where that contradicts the exact test, or is narrower than what
    the test makes of the examples on which the models disagree, the test decides.
    """
    ends = [
        (float(wald), float(exact))
        for wald, exact in zip(
            _adjusted_wald(only_first, only_second, count, confidence),
            _conditional(only_first, only_second, count, confidence),
            strict=True,
        )
    ]
    (wald, exact), (wald_high, exact_high) = ends
    return _lower(wald, exact), -_lower(-wald_high, -exact_high)


def _lower(wald: float, exact: float) -> float:
    return exact if exact > 0 >= wald else min(wald, exact)


def _adjusted_wald(only_first: int, only_second: int, count: int, confidence: float) -> tuple[float, float]:
    first, second = (only_first + 1) / (count + 2), (only_second + 1) / (count + 2)
    error = math.sqrt((first + second - (first - second) ** 2) / (count + 2))
    reach = float(stats.norm.ppf((1 + confidence) / 2)) * error
    return max(-1.0, first - second - reach), min(1.0, first - second + reach)


def _conditional(only_first: int, only_second: int, count: int, confidence: float) -> tuple[float, float]:
    """Given how many examples the models disagree on: how are they split?"""
    differing = only_first + only_second
    if differing == 0:
        return 0.0, 0.0
    low, high = share_interval(only_first, differing, confidence)
    return (2 * low - 1) * differing / count, (2 * high - 1) * differing / count
