"""Verdicts by rules that were fixed before anything was measured.

A statistic has one value for each of the paired seeds: both families on the same data, in the same order, with the same
budget. Its interval is Student's over these values (a percentile bootstrap of eight values is too narrow). Ten claims
are judged, so that a single one is decided on 99.5 %: where no difference exists anywhere, about one table in twenty
holds a false verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

HOLDS, DOES_NOT_HOLD, NOT_DECIDED = "holds", "does not hold", "not decided at this budget"
DECIDING, SHOWN = 0.995, 0.95


def depends_on(condition: str) -> str:
    """Returns the verdict where two conditions that are both decided disagree."""
    return f"depends on {condition}"


def interval(values: Sequence[float], confidence: float) -> tuple[float, float]:
    """Computes Student's interval of the mean of at least two values."""
    from scipy import stats

    mean = float(np.mean(values))
    half = (
        float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * float(np.std(values, ddof=1)) / len(values) ** 0.5
    )
    return mean - half, mean + half


@dataclass(frozen=True)
class Effect:
    """A statistic of paired seeds, and the margin beyond which the claim holds for it.

    Attributes:
        statistic: what is measured, such as "accuracy at lags of 16 and more, best rnn − cnn".
        unit: of the values, such as "share" or "bits".
        values: one for each seed; positive where they speak for the claim.
        margin: 0 or more, in the same unit.
        one_sided: whether the claim fails already where the whole interval lies below the margin, however far.
    """

    statistic: str
    unit: str
    values: tuple[float, ...]
    margin: float = 0.0
    one_sided: bool = False

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    def ends(self, confidence: float) -> tuple[float, float]:
        """Computes Student's interval of the mean."""
        return interval(self.values, confidence)

    @property
    def verdict(self) -> str:
        """Whether the whole interval lies beyond the margin, or inside it or beyond zero on the other side."""
        low, high = self.ends(DECIDING)
        if low > self.margin:
            return HOLDS
        if high < 0 or (high < self.margin and (self.one_sided or low > -self.margin)):
            return DOES_NOT_HOLD
        return NOT_DECIDED

    def described(self) -> dict[str, Any]:
        """Returns it as it is stored in the results."""
        return {
            "statistic": self.statistic,
            "unit": self.unit,
            "value": self.mean,
            "interval_95": list(self.ends(SHOWN)),
            "interval_995": list(self.ends(DECIDING)),
            "margin": self.margin,
            "verdict": self.verdict,
            "per_seed": list(self.values),
        }


@dataclass(frozen=True)
class Estimated(Effect):
    """A value with a standard error that is known from elsewhere; no seeds. Its interval is a normal one."""

    error: float = 0.0

    @classmethod
    def of(cls, statistic: str, unit: str, value: float, variance: float, margin: float = 0.0) -> Estimated:
        return cls(statistic, unit, (value,), margin, error=variance**0.5)

    def ends(self, confidence: float) -> tuple[float, float]:
        from scipy import stats

        half = float(stats.norm.ppf((1 + confidence) / 2)) * self.error
        return self.mean - half, self.mean + half


def all_of(*verdicts: str) -> str:
    """Joins the parts of a claim: it holds where every part does, and fails where one does not hold."""
    if all(verdict == HOLDS for verdict in verdicts):
        return HOLDS
    return DOES_NOT_HOLD if DOES_NOT_HOLD in verdicts else NOT_DECIDED


def by_condition(condition: str, verdicts: Mapping[str, str]) -> str:
    """Returns the verdict that all conditions share; where decided ones disagree, it depends on the condition."""
    different = set(verdicts.values())
    if len(different) == 1:
        return different.pop()
    return depends_on(condition) if {HOLDS, DOES_NOT_HOLD} <= different else NOT_DECIDED


def refined(main: str, condition: str, alternatives: Sequence[str]) -> str:
    """Returns the main verdict; where it and one under another condition are decided and disagree, it depends."""
    decided = {HOLDS, DOES_NOT_HOLD}
    disagree = main in decided and any(other in decided and other != main for other in alternatives)
    return depends_on(condition) if disagree else main
