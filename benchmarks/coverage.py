"""How often the gate's interval covers what is true, and lets a model pass that is no better, on awkward scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.table import Figure
from pipeline.evaluation.shares import share_interval
from pipeline.evaluation.statistics import bootstrap_interval, paired_difference

CONFIDENCE = 0.95
MEMORY = 0.98  # of the size of errors that come in regimes

Generator = np.random.Generator
Draw = Callable[[Generator], np.ndarray]  # differences of the scores of two models that are equally good
Kind = tuple[Draw, int | None]  # with the block of neighbours that the task declares; None: examples are independent


def coverage(runs: int) -> Iterator[Figure]:
    """Per kind of score: challengers that pass by chance, and intervals of the difference that hold the truth."""
    for name, (draw, block) in kinds().items():
        found = []
        for run in range(runs):
            values = draw(np.random.default_rng([4, len(name), run]))
            zero = np.zeros_like(values)
            found.append(
                paired_difference(values, zero, dependent=block is not None, block=block, confidence=CONFIDENCE)
            )
        passed = 100 * float(np.mean([one.better for one in found]))
        covered = 100 - passed - 100 * float(np.mean([one.worse for one in found]))
        yield Figure(f"gate: {name}: equal models promoted, % {_error(passed, runs)}", passed, "≤ 5")
        yield Figure(f"gate: {name}: 95 % interval covers, % {_error(covered, runs)}", covered, "≥ 93")
    yield from _single(runs)


def _single(runs: int) -> Iterator[Figure]:
    """The interval of one model's score."""
    for count, share in ((20, 0.9), (200, 0.98)):
        hits = np.random.default_rng([5, count]).binomial(count, share, runs)
        ends = {int(hit): share_interval(int(hit), count, CONFIDENCE) for hit in set(hits)}
        covered = 100 * float(np.mean([ends[int(hit)][0] <= share <= ends[int(hit)][1] for hit in hits]))
        said = f"gate: accuracy of {share:g} on {count} examples: 95 % interval covers, % {_error(covered, runs)}"
        yield Figure(said, covered, "≥ 93")
    for count in (20, 200):
        covered = 100 * float(np.mean([_covers(np.random.default_rng([6, count, run]), count) for run in range(runs)]))
        said = f"gate: mean of {count} lognormal errors: 95 % interval covers, % {_error(covered, runs)}"
        yield Figure(said, covered, "≥ 93")


def _covers(generator: Generator, count: int) -> bool:
    found = bootstrap_interval(generator.lognormal(0, 1, count), dependent=False, block=None, confidence=CONFIDENCE)
    return found.low <= float(np.exp(0.5)) <= found.high


def kinds() -> dict[str, Kind]:
    """Names of scores with a draw of their differences, whose mean is zero."""
    return {
        "normal scores, 20 examples": (lambda generator: generator.normal(size=20), None),
        "skewed errors (lognormal 1.2), 100 examples": (lambda generator: -_skewed(generator, 100), None),
        "skewed errors (lognormal 1.2), 500 examples": (lambda generator: -_skewed(generator, 500), None),
        "scores that differ on 3 % of 200 examples": (
            lambda generator: (generator.random(200) < 0.03) * generator.normal(size=200), None,
        ),
        "windows, 317 of 26 steps": (lambda generator: windows(generator, 317, 26, regimes=False), 52),
        "windows in regimes, 317 of 26 steps": (lambda generator: windows(generator, 317, 26, regimes=True), 52),
        "windows in regimes, 2785 of 96 steps": (lambda generator: windows(generator, 2785, 96, regimes=True), 192),
        "squares of 10 pictures": (lambda generator: squares(generator, 10), 6),
        "squares of 100 pictures": (lambda generator: squares(generator, 100), 6),
    }  # fmt: skip


def _skewed(generator: Generator, count: int) -> np.ndarray:
    """A model that is a little better on most examples, now and then much worse, and on average the same."""
    return generator.lognormal(0, 1.2, count) - float(np.exp(1.2**2 / 2))


def windows(generator: Generator, count: int, horizon: int, *, regimes: bool) -> np.ndarray:
    """Mean errors of two equal forecasts of windows that overlap in all but one step."""
    from scipy.signal import lfilter

    errors = np.abs(generator.normal(size=(2, count + horizon - 1)))
    if regimes:
        steps = generator.normal(size=errors.shape) * np.sqrt(1 - MEMORY**2)
        errors = errors * np.exp(lfilter([1.0], [1.0, -MEMORY], steps, axis=1) / 2)
    a, b = (np.convolve(row, np.ones(horizon) / horizon, "valid") for row in errors)
    return np.asarray(b - a)


def squares(generator: Generator, pictures: int) -> np.ndarray:
    """Losses of six squares of each picture, with correlation 0.9."""
    common, own = generator.normal(size=(pictures, 1)), generator.normal(size=(pictures, 6))
    return np.asarray((np.sqrt(0.9) * common + np.sqrt(0.1) * own).ravel())


def _error(percent: float, runs: int) -> str:
    """What the simulation leaves open, at 95 %."""
    return f"± {1.96 * np.sqrt(percent * (100 - percent) / runs):.1f}"
