"""Intervals and resamples of any figure that can be computed from how often each example counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from pipeline.evaluation.estimates import of_resamples
from pipeline.evaluation.shares import share_interval
from pipeline.evaluation.statistics import CorpusScore, bootstrap_interval, within

CELLS = 4_000_000  # weights held in memory at a time: 32 MB

Metrics = Callable[[np.ndarray], dict[str, np.ndarray]]  # figures (R,) of weights (R, N)


def intervals_of(
    metrics: Metrics,
    scores: np.ndarray,
    *,
    score: str | None,
    block: int | None,
    resamples: int,
    confidence: float,
    seed: int,
    shares: Mapping[str, tuple[int, int]] | None = None,
) -> dict[str, dict[str, float | str | None]]:
    """{figure: {"value", "low", "high"}} for everything that `metrics` computes from (R, N) weights.

    `scores` (N,) are the examples' contributions to the figure `score`, which gets the interval that the gate uses;
    the others get one from the moments of their resamples, as does a `score` of None, one of all examples together.
    `block` is the number of neighbouring examples that are drawn together. `shares` {figure: (hits, count)} are known
    by their counts, and exact. Of any other figure that is the same on every resample nobody knows how sure it is: it
    has no ends. An interval that is only a rough one has a `doubt`, which says why.
    """
    units = len(scores) / _block_length(len(scores), block or 1)
    intervals: dict[str, dict[str, float | str | None]] = {}
    for name, values in resampled(metrics, len(scores), block=block, resamples=resamples, seed=seed).items():
        low, high = _ends(values, units, confidence, dependent=block is not None)
        if name in (shares or {}):
            low, high = share_interval(*(shares or {})[name], confidence)
        intervals[name] = {"value": float(values[0]), "low": low, "high": high}
    if score is not None:
        own = bootstrap_interval(
            scores, dependent=block is not None, block=block, resamples=resamples, confidence=confidence, seed=seed
        )
        intervals[score] = {"value": intervals[score]["value"], "low": own.low, "high": own.high}
        intervals[score] |= {"doubt": own.doubt} if own.doubt else {}
    return intervals


def _ends(values: np.ndarray, units: float, confidence: float, *, dependent: bool) -> tuple[float | None, float | None]:
    """Returns the interval of a figure from its (1 + R,) values; none where they do not vary or are not finite."""
    if not np.isfinite(values).all() or units <= 1:
        return None, None
    estimate = of_resamples(float(values[0]), values[1:], units, dependent=dependent)
    return within(*estimate.interval(confidence), values) if estimate.error > 0 else (None, None)


def resampled(metrics: Metrics, count: int, *, block: int | None, resamples: int, seed: int) -> dict[str, np.ndarray]:
    """{figure: (1 + R,)}: of the `count` examples as they stand, then of resamples that only the seed decides."""
    drawn: dict[str, list[np.ndarray]] = {}
    for weights in weights_of(count, block=block, resamples=resamples, seed=seed):
        for name, values in metrics(weights).items():
            drawn.setdefault(name, []).append(values)
    return {name: np.concatenate(chunks) for name, chunks in drawn.items()}


def weights_of(count: int, *, block: int | None, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yields how often each example counts, (R, N) at a time: once each to begin with, then as often as it is drawn."""
    yield np.ones((1, count))
    generator = np.random.default_rng(seed)
    rows = max(1, CELLS // count)
    for start in range(0, resamples, rows):
        yield _weights(count, min(rows, resamples - start), block or 1, generator)


def corpus_score(values: np.ndarray, count: int, *, dependent: bool, block: int | None) -> CorpusScore:
    """A corpus score of `count` examples from its (1 + R,) values, which were drawn in blocks where `dependent`."""
    if dependent and block is None:
        raise ValueError("a corpus score of examples that overlap needs the task's `block`: neighbours drawn together")
    length = _block_length(count, block or 1)
    scores = np.asarray(values, dtype=np.float64)
    return CorpusScore(float(scores[0]), scores[1:], count / length, dependent)


def _weights(count: int, resamples: int, block: int, generator: np.random.Generator) -> np.ndarray:
    """(R, N) how often each example is drawn, in circular blocks of neighbours (Politis and Romano 1992)."""
    block = _block_length(count, block)
    blocks = -(-count // block)
    starts = generator.integers(0, count, (resamples, blocks))
    drawn = (starts[:, :, None] + np.arange(block)).reshape(resamples, -1)[:, :count] % count
    flat = drawn + np.arange(resamples)[:, None] * count
    counted: np.ndarray = np.bincount(flat.ravel(), minlength=resamples * count).reshape(resamples, count)
    return counted.astype(np.float64)


def _block_length(count: int, block: int) -> int:
    """At most half of the examples: a single block would say nothing about how blocks vary."""
    return min(block, max(count // 2, 1))
