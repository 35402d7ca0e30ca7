"""How sure an estimate is, from its standard error, its skewness and the number of units behind it.

Interval and test are one computation, solved for the ends or for the level: they cannot contradict each other.

Student's quantiles alone are wrong on the side of a long tail: of errors that are lognormal (sigma 1.2, 100 examples)
one mean in ten looks better than it is where one in forty may. The transformation of Hall (1992, "On the removal of
skewness by transformation") corrects that, and is used wherever it makes an interval wider. A sample shows less of the
skewness than there is, as its largest value limits what can be seen; so the sample's is enlarged (`_enlarged`).

Where few units carry the variance (an error rate with five mistakes, a score that differs on a handful of examples)
the standard error itself is hardly known: the kurtosis says how well, as degrees of freedom (Satterthwaite, 1946).

Simulated: `make bench ARGS=gate`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Scores = NDArray[np.float64]

UNSEEN = 6 / 5  # the variance of a mean of overlapping windows by what blocks of twice the overlap see of it
SHOWN = 2 / 3  # of the skewness behind it, a large sample of a long tail shows about so much; a small one less
LOPSIDED = 0.5  # skewness of an estimate from which on its interval is a rough one
FEW = 8  # units below which the same is true


@dataclass(frozen=True)
class Estimate:
    """A figure with its standard error. `skewness` is that of the figure's own distribution, not of single scores."""

    value: float
    error: float
    skewness: float
    freedom: float
    units: float  # examples, or blocks of them, that count as independent

    def interval(self, confidence: float) -> tuple[float, float]:
        """The ends at which `p_value` of a shifted figure would be 1 - confidence."""
        if not 0 < confidence < 1:
            raise ValueError(f"confidence must be between 0 and 1, such as 0.95, got {confidence}")
        reach = float(stats.t.ppf((1 + confidence) / 2, self.freedom))
        low = self.value - self.error * _untransformed(reach, self.skewness)
        high = self.value + self.error * _untransformed(reach, -self.skewness)
        if self.error == 0 and self._sign_test >= 1 - confidence:  # the same on every unit, but on too few of them
            low, high = min(low, 0.0), max(high, 0.0)
        return low, high

    @property
    def p_value(self) -> float:
        """Returns the p-value, of both sides, of "the figure is zero"."""
        if self.error == 0:
            return 1.0 if self.value == 0 else self._sign_test
        skewness = math.copysign(1.0, self.value) * self.skewness
        distance = _transformed(abs(self.value) / self.error, skewness)
        return float(min(1.0, 2 * stats.t.sf(distance, self.freedom)))

    @property
    def doubt(self) -> str:
        """Why the interval is only a rough one; "" where it is not."""
        if self.units < FEW:
            return f"only about {self.units:.2g} independent units stand behind it"
        if abs(self.skewness) > LOPSIDED:
            return "a few extreme examples decide it"
        return ""

    @property
    def _sign_test(self) -> float:
        """No evidence can be stronger than that all units have the same sign."""
        return float(min(1.0, 2.0 ** (1 - self.units)))


def of_mean(values: Scores) -> Estimate:
    """The mean of (N,) independent scores."""
    return _of_units(values - values.mean(), float(values.mean()), len(values), 1.0)


def of_blocks(values: Scores, length: int) -> Estimate:
    """The mean of (N,) neighbouring scores: how the means of `length` neighbours vary, in a circle of all scores."""
    count = len(values)
    running = np.concatenate([[0.0], np.cumsum(np.concatenate([values, values]))])
    means = (running[length : length + count] - running[:count]) / length
    return _of_units(means - values.mean(), float(values.mean()), count / length, UNSEEN)


def of_resamples(value: float, resampled: Scores, units: float, *, dependent: bool) -> Estimate:
    """A figure of all examples together, from its (R,) values on resamples of `units` examples or blocks."""
    centred = resampled - resampled.mean()
    variance = float((centred**2).mean())
    if variance <= (1e-12 * max(abs(value), 1e-300)) ** 2:
        return Estimate(value, 0.0, 0.0, max(units - 1, 1.0), units)
    # Resamples of a mean of scores with kurtosis k have the excess (k - 3) / units. What may be noise of the
    # resampling is no reason for a wider interval.
    noise = 1 / math.sqrt(len(resampled))
    skewness = float((centred**3).mean()) / variance**1.5
    skewness = math.copysign(max(abs(skewness) - math.sqrt(6) / 2 * noise, 0.0), skewness)
    excess = float((centred**4).mean()) / variance**2 - 3
    excess = excess if excess > math.sqrt(24) * noise else 0.0
    kurtosis = 3 + units * excess
    error = math.sqrt(variance * units / (units - 1) * (UNSEEN if dependent else 1))
    return Estimate(value, error, _enlarged(skewness, units), _freedom(kurtosis, units), units)


def _of_units(centred: Scores, value: float, units: float, unseen: float) -> Estimate:
    variance = float((centred**2).mean())
    if variance <= (1e-12 * max(abs(value), 1e-300)) ** 2:  # all the same, but for rounding
        return Estimate(value, 0.0, 0.0, max(units - 1, 1.0), units)
    skewness = float((centred**3).mean()) / variance**1.5 / math.sqrt(units)
    kurtosis = float((centred**4).mean()) / variance**2
    error = math.sqrt(variance / (units - 1) * unseen)
    return Estimate(value, error, _enlarged(skewness, units), _freedom(kurtosis, units), units)


def _enlarged(skewness: float, units: float) -> float:
    """The skewness behind the one that a sample shows."""
    return skewness / SHOWN * (1 + 10 / units)


def _freedom(kurtosis: float, units: float) -> float:
    """Degrees of freedom of a variance: units - 1 for normal scores, few where a few units make up all of it."""
    known = 2 * units / max(kurtosis - 1, 1e-12) - 2
    return max(1.0, min(units - 1, known))


def _transformed(distance: float, skewness: float) -> float:
    """Hall's transformation of a studentised mean, where it brings the distance nearer to zero."""
    cubic = distance + skewness * distance**2 / 3 + skewness**2 * distance**3 / 27 + skewness / 6
    return min(distance, cubic)


def _untransformed(reach: float, skewness: float) -> float:
    """The distance that `_transformed` makes a reach of."""
    if abs(skewness) < 1e-9:
        return reach
    inner = 1 + skewness * (reach - skewness / 6)
    return max(reach, 3 / skewness * (math.copysign(abs(inner) ** (1 / 3), inner) - 1))
