"""How sure a mean, or the difference of two models' scores, is: one computation for evaluation, report and gate.

All functions are pure functions of their arguments and need numpy and scipy only. There is one method for each kind
of score, and its interval and its test always agree:

* right or wrong on independent examples: exact (shares.py);
* other scores of single examples: Student's interval, corrected for skewness (estimates.py);
* examples that overlap in time or belong together: the same of blocks of neighbours, which are longer where the scores
  themselves stay alike for longer (memory.py);
* scores of all examples together, which are no mean of single ones (BLEU, word error rate, F1): computed anew for
  every resample, with the same resamples for both models (Koehn, 2004, "Statistical significance tests for machine
  translation evaluation"), whose moments take the place of those of single scores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from pipeline.evaluation.estimates import Estimate, of_blocks, of_mean, of_resamples
from pipeline.evaluation.estimates import Scores as Scores
from pipeline.evaluation.memory import block_length
from pipeline.evaluation.shares import discordant, exact_mcnemar, paired_shares_interval, share_interval

POWER = 0.8  # chance with which a difference shall be found where the examples are counted that this needs


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval. `doubt` says why it is only a rough one; "" where it is not."""

    value: float
    low: float
    high: float
    doubt: str = ""


@dataclass(frozen=True)
class Difference:
    """The score of a minus the score of b with its confidence interval and the two-sided p-value of "no difference".

    `low` > 0 or `high` < 0 exactly if the p-value is below 1 - confidence. `doubt` says why the interval is only a
    rough one; "" where it is not.
    """

    difference: float
    low: float
    high: float
    p_value: float
    method: str
    units: float = 0.0  # examples, or blocks of them, that count as independent
    doubt: str = ""

    @property
    def better(self) -> bool:
        """Whether a is shown to have the higher score."""
        return self.low > 0

    @property
    def worse(self) -> bool:
        """Whether b is shown to have the higher score."""
        return self.high < 0


@dataclass(frozen=True)
class CorpusScore:
    """A score of all examples together: as they stand, and of (R,) resamples that are the same for all models."""

    value: float
    resampled: Scores
    units: float  # examples, or blocks of them, that were drawn independently
    dependent: bool

    def __post_init__(self) -> None:
        if not (np.isfinite(self.value) and np.isfinite(self.resampled).all()):
            raise ValueError("a corpus score is not a finite number on every resample of the test examples")


ModelScores = ArrayLike | CorpusScore  # (N,) a score an example, or one of all examples together


def bootstrap_interval(
    scores: ArrayLike,
    *,
    dependent: bool,
    block: int | None,
    confidence: float,
    resamples: int | None = None,
    seed: int | None = None,
) -> Interval:
    """Confidence interval of the mean of (N,) scores.

    `dependent` and `block` as in `paired_difference`, but that a declared block is not made longer: how hard the times
    are changes slowly, and what is left of two models' scores when that is taken off does not. Where scores stay alike
    for longer, the interval is a rough one. An example without a score is NaN and left out. Scores of 0 and 1 that are
    all the same have an interval too: it is that of a share.
    """
    values = np.asarray(scores, dtype=np.float64)
    values = _checked(values[~np.isnan(values)], "scores")
    wanted = block_length(values, block) if dependent else 1
    mean, length = float(values.mean()), min(wanted, block or wanted)
    if _is_binary(values) and (not dependent or mean in (0.0, 1.0)):
        count = len(values) if not dependent else max(1, len(values) // length)
        return Interval(mean, *share_interval(round(mean * count), count, confidence))
    estimate = of_blocks(values, length) if dependent else of_mean(values)
    doubt = "scores stay alike over more neighbours than were declared" if wanted > length else estimate.doubt
    return Interval(mean, *within(*estimate.interval(confidence), values), doubt)


def within(low: float, high: float, seen: Scores) -> tuple[float, float]:
    """Ends that do not lie where no figure does: below zero where none is negative, above one for shares."""
    if seen.min() >= 0:
        low, high = max(low, 0.0), min(high, 1.0) if seen.max() <= 1 else high
    return low, high


def paired_difference(
    a: ModelScores,
    b: ModelScores,
    *,
    dependent: bool,
    block: int | None,
    confidence: float,
    resamples: int | None = None,
    seed: int | None = None,
) -> Difference:
    """The score of a minus the score of b on the same (N,) examples, in the order of the examples.

    `dependent` examples are neighbours in time or parts of one thing, and count in blocks of at least `block`
    examples. Where it is known how far neighbours overlap, give twice that (2 × the horizon for forecast windows);
    None leaves it to the scores. An example that has no score (no truth was observed) is NaN on both sides and left
    out. Corpus scores were resampled when they were computed: only the confidence counts for them. `resamples` and
    `seed` decide nothing here; callers hand on what they have drawn corpus scores with.
    """
    if isinstance(a, CorpusScore) or isinstance(b, CorpusScore):
        assert isinstance(a, CorpusScore) and isinstance(b, CorpusScore), "scores of two kinds"
        method = "moments of the paired bootstrap of the corpus score" + (", in blocks" if a.dependent else "")
        return _difference(_corpus_estimate(a, b), confidence, method)
    first, second = paired(a, b)
    if not dependent and _is_binary(first) and _is_binary(second):
        value, counts = float((first - second).mean()), discordant(first, second)
        ends = paired_shares_interval(*counts, len(first), confidence)
        return Difference(value, *ends, exact_mcnemar(first, second), "exact McNemar test", float(len(first)))
    if not dependent:
        return _difference(of_mean(first - second), confidence, "paired Student interval, corrected for skewness")
    length = block_length(first - second, block)
    estimate = _difference(of_blocks(first - second, length), confidence, f"paired means of blocks of {length}")
    if block is not None and len(first) < block:  # not one independent unit
        few = f"{len(first)} examples overlap so much that they say nothing yet; {block} are the fewest"
        low, high = min(estimate.low, 0.0), max(estimate.high, 0.0)
        return Difference(
            estimate.difference, low, high, 1.0, f"paired means of blocks of {length}", estimate.units, few
        )
    if block is not None and length > block:
        longer = f"scores stay alike over more neighbours than the declared {block}: blocks have {length} examples"
        return Difference(
            estimate.difference, estimate.low, estimate.high, estimate.p_value, estimate.method, estimate.units, longer
        )
    return estimate


def needed_examples(
    a: ModelScores,
    b: ModelScores,
    *,
    level: float,
    power: float = POWER,
    effect: float | None = None,
    dependent: bool = False,
    block: int | None = None,
) -> int | None:
    """About how many examples like these show that a is better than b, at an error `level` of one side.

    By the normal approximation, for the advantage `effect` of a (None: the one that these examples have). None: no
    number of them would, as a is not ahead. Of 0/1 scores never fewer than McNemar's exact test needs.
    """
    if isinstance(a, CorpusScore) and isinstance(b, CorpusScore):
        estimate, count, differing = _corpus_estimate(a, b), a.units, None
    else:
        assert not isinstance(a, CorpusScore) and not isinstance(b, CorpusScore), "scores of two kinds"
        first, second = paired(a, b)
        estimate = (
            of_blocks(first - second, block_length(first - second, block)) if dependent else of_mean(first - second)
        )
        binary = not dependent and _is_binary(first) and _is_binary(second)
        count, differing = len(first), float((first != second).mean()) if binary else None
    wanted = estimate.value if effect is None else effect
    if wanted <= 0:
        return None
    needed = needed_units(wanted, estimate.error * math.sqrt(count), level, power)
    exact = 0 if differing is None else math.ceil(math.ceil(-math.log2(level)) / max(differing, wanted))
    return max(needed, exact)


def needed_units(effect: float, deviation: float, level: float, power: float = POWER) -> int:
    """Returns how many independent units show a difference `effect` that varies by `deviation` from one to the next."""
    reach = float(stats.norm.isf(level) + stats.norm.ppf(power))
    return max(2, math.ceil((reach * deviation / effect) ** 2))


def paired(a: ArrayLike, b: ArrayLike) -> tuple[Scores, Scores]:
    """Scores of the same examples, without those that nobody can score. Raises ValueError where they are no pairs."""
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(
            f"paired scores need the same examples: {first.size} scores on one side, {second.size} on the other"
        )
    scored = ~(np.isnan(first) & np.isnan(second))
    return _checked(first[scored], "a"), _checked(second[scored], "b")


def _difference(estimate: Estimate, confidence: float, method: str) -> Difference:
    low, high = estimate.interval(confidence)
    return Difference(estimate.value, low, high, estimate.p_value, method, estimate.units, estimate.doubt)


def _corpus_estimate(a: CorpusScore, b: CorpusScore) -> Estimate:
    """The score of a minus the score of b; both come from the same draws, so that their resamples are pairs."""
    if a.resampled.shape != b.resampled.shape or a.units != b.units:
        raise ValueError(
            f"paired corpus scores need the same resamples of the same examples: {len(a.resampled)} resamples of "
            f"{a.units:g} on one side, {len(b.resampled)} of {b.units:g} on the other"
        )
    return of_resamples(a.value - b.value, a.resampled - b.resampled, a.units, dependent=a.dependent)


def _checked(scores: ArrayLike, name: str) -> Scores:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"{name}: one score an example and at least two examples are needed, found {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: {int((~np.isfinite(values)).sum())} of {len(values)} scores are not finite numbers")
    return values


def _is_binary(values: Scores) -> bool:
    return bool(np.isin(values, (0.0, 1.0)).all())
