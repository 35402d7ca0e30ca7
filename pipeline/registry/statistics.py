"""How sure a mean, or the difference of two means, is: resampling of the scores of single examples.

All functions are pure functions of their arguments (the seed included) and need numpy and scipy only.

Independent examples are resampled one by one. Examples that overlap in time are resampled in circular blocks
(Politis and Romano, 1992), because single ones would make every interval far too narrow: with windows of 26 steps
and blocks by the n^(1/3) rule, 19 to 25 % of the comparisons of two equal models came out "significantly better"
in simulations, with blocks of twice the overlap 3 %, and 2 % with the share of the variance that such blocks miss
(of windows whose correlation falls evenly to nothing over h steps, blocks of 2 h cut off a sixth).

Small samples, and few blocks, get the wider tails of Student's distribution (the expanded percentile interval of
Hesterberg, 2015, "What teachers should know about the bootstrap").

Some scores belong to all examples together and are no mean of single ones (BLEU, word error rate, F1): they are
computed anew for every resample, with the same resamples for both models (Koehn, 2004, "Statistical significance tests
for machine translation evaluation").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Scores = NDArray[np.float64]

CHUNK = 4_000_000  # resampled values that are held in memory at a time: 32 MB
UNSEEN = 6 / 5  # the variance of a mean of overlapping windows by what blocks of twice the overlap see of it
RESOLVED = 10  # resamples in a tail; with fewer its quantile is hardly known, and the normal distribution continues it


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """mean(a) - mean(b) with its confidence interval and the two-sided p-value of "there is no difference"."""

    difference: float
    low: float
    high: float
    p_value: float
    method: str


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
    scores: ArrayLike, *, dependent: bool, block: int | None, resamples: int, confidence: float, seed: int
) -> Interval:
    """Confidence interval of the mean of (N,) scores.

    Independent scores of 0 and 1 get Wilson's interval instead: the bootstrap of a perfect score has no width.
    `dependent` and `block` as in `paired_difference`; an example without a score is NaN and left out.
    """
    values = np.asarray(scores, dtype=np.float64)
    values = _checked(values[~np.isnan(values)], "scores")
    mean = float(values.mean())
    if not dependent and _is_binary(values):
        wilson = stats.binomtest(int(values.sum()), len(values)).proportion_ci(confidence, method="wilson")
        return Interval(mean, float(wilson.low), float(wilson.high))
    length = _block_length(values, block) if dependent else 1
    means = _resampled_means(values, length, resamples, seed)
    low, high = _interval(means, mean, len(values) / length, confidence, few=dependent)
    return Interval(mean, low, high)


def paired_difference(
    a: ModelScores, b: ModelScores, *, dependent: bool, block: int | None, resamples: int, confidence: float, seed: int
) -> Difference:
    """mean(a) - mean(b) of two models' scores on the same (N,) examples, in the order of the examples.

    Of corpus scores, which were resampled when they were computed, only the confidence counts here.

    The interval is a bootstrap of the paired differences. The p-value belongs to the same bootstrap, or is that of
    the exact test of McNemar (1947) where all scores are 0 or 1 and independent.

    `dependent` examples are neighbours in time, resampled in blocks of `block` examples. Where the overlap is known,
    give twice its length (2 × the horizon for forecast windows); None estimates the length from the differences.
    An example that has no score (no truth was observed) is NaN on both sides and left out.
    """
    if isinstance(a, CorpusScore) or isinstance(b, CorpusScore):
        assert isinstance(a, CorpusScore) and isinstance(b, CorpusScore), "scores of two kinds"
        return _corpus_difference(a, b, confidence)
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(
            f"paired scores need the same examples: {first.size} scores on one side, {second.size} on the other"
        )
    scored = ~(np.isnan(first) & np.isnan(second))
    first, second = _checked(first[scored], "a"), _checked(second[scored], "b")
    paired = first - second
    difference = float(paired.mean())
    length = _block_length(paired, block) if dependent else 1
    means = _resampled_means(paired, length, resamples, seed)
    units = len(paired) / length
    low, high = _interval(means, difference, units, confidence, few=dependent)
    if not dependent and _is_binary(first) and _is_binary(second):
        return Difference(difference, low, high, exact_mcnemar(first, second), "paired bootstrap, exact McNemar test")
    method = f"paired block bootstrap, blocks of {length}" if dependent else "paired bootstrap"
    return Difference(difference, low, high, _p_value(means, difference, units, few=dependent), method)


def exact_mcnemar(a: ArrayLike, b: ArrayLike) -> float:
    """Two-sided p-value: are the examples that only one of two models gets right split evenly? Scores are 0 or 1."""
    first, second = np.asarray(a), np.asarray(b)
    only_first = int(np.sum((first == 1) & (second == 0)))
    only_second = int(np.sum((first == 0) & (second == 1)))
    if only_first + only_second == 0:
        return 1.0
    return float(stats.binomtest(only_first, only_first + only_second).pvalue)


def estimated_block(values: Scores) -> int:
    """Twice the lag after which the autocorrelation stays small (Politis and White, 2004), at least n^(1/3)."""
    count = len(values)
    smallest = max(1, int(np.cbrt(count).round()))
    centred = values - values.mean()
    if not centred.any() or count < 4:
        return smallest
    spectrum = np.fft.rfft(centred, 2 * count)
    correlation = np.fft.irfft(spectrum * spectrum.conj())[:count] / (centred @ centred)
    small = np.abs(correlation[1:]) < 2 * np.sqrt(np.log10(count) / count)
    run = min(5, len(small))
    calm = np.flatnonzero(np.lib.stride_tricks.sliding_window_view(small, run).all(axis=1))
    last_lag = int(calm[0]) if len(calm) else count
    return max(smallest, 2 * last_lag)


def _corpus_difference(a: CorpusScore, b: CorpusScore, confidence: float) -> Difference:
    """The score of a minus the score of b; both come from the same draws, so that their resamples are pairs."""
    if a.resampled.shape != b.resampled.shape or a.units != b.units:
        raise ValueError(
            f"paired corpus scores need the same resamples of the same examples: {len(a.resampled)} resamples of "
            f"{a.units:g} on one side, {len(b.resampled)} of {b.units:g} on the other"
        )
    differences, difference = a.resampled - b.resampled, a.value - b.value
    low, high = _interval(differences, difference, a.units, confidence, few=a.dependent)
    p_value = _p_value(differences, difference, a.units, few=a.dependent)
    method = "paired bootstrap of the corpus score" + (", in blocks" if a.dependent else "")
    return Difference(difference, low, high, p_value, method)


def _checked(scores: ArrayLike, name: str) -> Scores:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"{name}: one score an example and at least two examples are needed, found {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: {int((~np.isfinite(values)).sum())} of {len(values)} scores are not finite numbers")
    return values


def _is_binary(values: Scores) -> bool:
    return bool(np.isin(values, (0.0, 1.0)).all())


def _block_length(values: Scores, block: int | None) -> int:
    """At most half of the examples: a single block would say nothing about how blocks vary."""
    wanted: int = estimated_block(values) if block is None else block
    if wanted < 1:
        raise ValueError(f"block: {wanted} examples found, at least 1 is needed")
    return min(wanted, len(values) // 2)


def _resampled_means(values: Scores, length: int, resamples: int, seed: int) -> Scores:
    """(resamples,) means of samples that are as large as the original."""
    if resamples < 1:
        raise ValueError(f"resamples: {resamples} found, at least 1 is needed")
    generator = np.random.default_rng(seed)
    if length > 1:
        return _block_means(values, length, resamples, generator)
    levels, counts = np.unique(values, return_counts=True)
    if len(levels) <= 32:  # differences of 0/1 scores: counting the levels is the same draw at a fraction of the time
        drawn = generator.multinomial(len(values), counts / len(values), size=resamples)
        return np.asarray(drawn @ levels / len(values))
    return _single_means(values, resamples, generator)


def _single_means(values: Scores, resamples: int, generator: np.random.Generator) -> Scores:
    means = np.empty(resamples)
    rows = max(1, CHUNK // len(values))
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        drawn = generator.integers(0, len(values), (size, len(values)), dtype=np.int32)
        means[start : start + size] = values[drawn].mean(axis=1)
    return means


def _block_means(values: Scores, length: int, resamples: int, generator: np.random.Generator) -> Scores:
    """Sums of circular blocks come from running sums, so that a resample costs one number a block."""
    count = len(values)
    blocks = -(-count // length)
    rest = count - (blocks - 1) * length  # the last block is cut to the size of the sample
    running = np.concatenate([[0.0], np.cumsum(np.concatenate([values, values]))])
    begin = np.arange(count)
    whole, cut = running[begin + length] - running[begin], running[begin + rest] - running[begin]
    means = np.empty(resamples)
    rows = max(1, CHUNK // blocks)
    for start in range(0, resamples, rows):
        drawn = generator.integers(0, count, (min(rows, resamples - start), blocks))
        means[start : start + len(drawn)] = (whole[drawn[:, :-1]].sum(axis=1) + cut[drawn[:, -1]]) / count
    return means


def _expansion(units: float, *, few: bool) -> float:
    """How much wider than its resamples a mean varies."""
    return float(np.sqrt(units / (units - 1) * (UNSEEN if few else 1)))


def _interval(means: Scores, mean: float, units: float, confidence: float, *, few: bool) -> tuple[float, float]:
    """Expanded percentiles of the resampled means; with `few` units, Student's interval where that is wider.

    The latter also where a tail holds too few resamples: tightened levels ask for quantiles that 10,000 do not show.
    `units` is the number of examples or blocks that were drawn independently.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: {confidence} found, a share between 0 and 1 is needed, such as 0.95")
    reach = float(stats.t.ppf((1 + confidence) / 2, units - 1)) * _expansion(units, few=few)
    tail = float(stats.norm.cdf(-reach))
    low, high = (float(limit) for limit in np.quantile(means, [tail, 1 - tail]))
    if few or tail * len(means) < RESOLVED:
        spread = reach * float(means.std())
        low, high = min(low, mean - spread), max(high, mean + spread)
    return low, high


def _p_value(means: Scores, mean: float, units: float, *, few: bool) -> float:
    """The level at which `_interval` would just touch zero."""
    beyond = min(int(np.sum(means <= 0)), int(np.sum(means >= 0)))
    distance = max(0.0, -float(stats.norm.ppf((beyond + 1) / (len(means) + 1))))
    spread = float(means.std())
    if spread > 0 and (few or beyond < RESOLVED):
        standardised = abs(mean) / spread
        distance = min(distance, standardised) if beyond else standardised
    return float(min(1.0, 2 * stats.t.sf(distance / _expansion(units, few=few), units - 1)))
