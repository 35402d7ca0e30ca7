"""Bootstrap intervals of any figure that can be computed from how often each example counts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.registry.statistics import bootstrap_interval

CELLS = 4_000_000  # weights held in memory at a time: 32 MB


def intervals_of(
    metrics: Callable[[np.ndarray], dict[str, np.ndarray]],
    scores: np.ndarray,
    *,
    score: str,
    block: int | None,
    resamples: int,
    confidence: float,
    seed: int,
) -> dict[str, dict[str, float]]:
    """{figure: {"value", "low", "high"}} for everything that `metrics` computes from (R, N) weights.

    `scores` (N,) are the examples' contributions to the figure `score`, which gets the interval that the gate uses;
    the others get the percentile interval. `block` is the number of neighbouring examples that are drawn together.
    """
    count = len(scores)
    point = {name: float(values[0]) for name, values in metrics(np.ones((1, count))).items()}
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in point}
    generator = np.random.default_rng(seed)
    rows = max(1, CELLS // count)
    for start in range(0, resamples, rows):
        weights = _weights(count, min(rows, resamples - start), block or 1, generator)
        for name, values in metrics(weights).items():
            drawn[name].append(values)
    tail = (1 - confidence) / 2
    found = {}
    for name, chunks in drawn.items():
        low, high = np.quantile(np.concatenate(chunks), [tail, 1 - tail])
        found[name] = {"value": point[name], "low": float(low), "high": float(high)}
    own = bootstrap_interval(
        scores, dependent=block is not None, block=block, resamples=resamples, confidence=confidence, seed=seed
    )
    found[score] = {"value": point[score], "low": own.low, "high": own.high}
    return found


def _weights(count: int, resamples: int, block: int, generator: np.random.Generator) -> np.ndarray:
    """(R, N) how often each example is drawn, in circular blocks of neighbours (Politis and Romano 1992)."""
    block = min(block, max(count // 2, 1))
    blocks = -(-count // block)
    starts = generator.integers(0, count, (resamples, blocks))
    drawn = (starts[:, :, None] + np.arange(block)).reshape(resamples, -1)[:, :count] % count
    flat = drawn + np.arange(resamples)[:, None] * count
    counted: np.ndarray = np.bincount(flat.ravel(), minlength=resamples * count).reshape(resamples, count)
    return counted.astype(np.float64)
