"""How often the gate promotes a model that is no better, and how often one that is: simulated decisions.

Every simulated decision is one of the real `decide`, with fewer resamples than params.yaml has. Both models meet the
same examples, of which some are harder than others, as they do on a real test split. All draws come from one seed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np

from benchmarks.coverage import coverage
from benchmarks.growth import life_on_growing_data
from benchmarks.table import Figure
from pipeline.evaluation.intervals import corpus_score, weights_of
from pipeline.evaluation.statistics import CorpusScore, ModelScores
from pipeline.registry.gate import decide
from pipeline.registry.spending import level_of

CONFIDENCE = 0.95
RESAMPLES = 1000
HORIZON = 26
SIZES = (200, 500, 2000)
DECISIONS = 10  # in a sequence on one test split

Generator = np.random.Generator
Pair = tuple[ModelScores, ModelScores]  # scores of challenger and champion on the same examples


def measure(quick: bool) -> list[Figure]:
    runs = 20 if quick else 1000
    started = time.process_time()
    found = [*_equal(runs), *_power(runs), *_sequences(runs), *coverage(runs), *life_on_growing_data(min(runs, 300))]
    seconds = time.process_time() - started
    said = f"gate: {runs} simulated decisions or sequences a line, {RESAMPLES} resamples each; processor seconds"
    return [*found, Figure(said, seconds)]


def _equal(runs: int) -> Iterator[Figure]:
    """A single comparison of equals, at the level that the first one on a test split gets."""
    for kind in KINDS:
        for count in SIZES:
            pairs = [KINDS[kind](np.random.default_rng([1, count, run]), count, 0.0) for run in range(runs)]
            passed = [_promoted(pair, kind, level_of(0, CONFIDENCE)) for pair in pairs]
            larger = [_larger(pair, kind) for pair in pairs]
            yield Figure(f"gate: {kind}, {count} examples: equal models promoted, % {_error(passed)}",
                         _percent(passed), "≤ 5")  # fmt: skip
            yield Figure(f"gate: {kind}, {count} examples: a plain comparison promotes, % {_error(larger)}",
                         _percent(larger))  # fmt: skip


def _power(runs: int) -> Iterator[Figure]:
    """A challenger that is two points of accuracy better, 0.92 against 0.90."""
    for count in SIZES:
        pairs = [accuracy(np.random.default_rng([2, count, run]), count, 0.02) for run in range(runs)]
        passed = [_promoted(pair, "accuracy", level_of(0, CONFIDENCE)) for pair in pairs]
        yield Figure(f"gate: accuracy, {count} examples: two points better promoted, % {_error(passed)}",
                     _percent(passed))  # fmt: skip


def _sequences(runs: int, count: int = 500) -> Iterator[Figure]:
    """Ten challengers, all as good as the champion, are tried on one test split: does even one of them pass?"""
    tightened, plain = [], []
    for run in range(runs):
        generator = np.random.default_rng([3, count, run])
        difficulty = _difficulty(generator, count)
        champion = _right(generator, difficulty, 0.0)
        pairs = [(_right(generator, difficulty, 0.0), champion) for _ in range(DECISIONS)]
        levels = [level_of(decided, CONFIDENCE) for decided in range(DECISIONS)]
        tightened.append(any(_promoted(pair, "accuracy", level) for pair, level in zip(pairs, levels, strict=True)))
        plain.append(any(_promoted(pair, "accuracy", None) for pair in pairs))
    said = f"gate: accuracy, {count} examples, {DECISIONS} equal models one after another: any promoted"
    yield Figure(f"{said}, % {_error(tightened)}", _percent(tightened), "≤ 5")
    yield Figure(f"{said} without tightening, % {_error(plain)}", _percent(plain))


def accuracy(generator: Generator, count: int, advantage: float) -> Pair:
    """0/1 scores of models that get 90 % right, the challenger `advantage` more."""
    difficulty = _difficulty(generator, count)
    return _right(generator, difficulty, advantage), _right(generator, difficulty, 0.0)


def series(generator: Generator, count: int, advantage: float) -> Pair:
    """Mean absolute errors of forecast windows that overlap in all but one of their steps."""
    steps = count + HORIZON - 1
    common = generator.gamma(2.0, size=steps)  # how hard a step is for everyone
    errors = common * np.abs(generator.standard_normal((2, steps))) * np.array([[1 - advantage], [1.0]])
    challenger, champion = (np.convolve(row, np.ones(HORIZON) / HORIZON, "valid") for row in errors)
    return challenger, champion


def words(generator: Generator, count: int, advantage: float) -> Pair:
    """Word error rates: wrong words by all words, of sentences with 1 to 40 of them."""
    lengths = generator.integers(1, 41, count)
    share = generator.beta(1.0, 9.0, count)  # of wrong words in a sentence
    drawn = _weights(count)
    rates = [drawn @ generator.binomial(lengths, share * scale) / (drawn @ lengths) for scale in (1 - advantage, 1.0)]
    challenger, champion = (corpus_score(rate, count, dependent=False, block=None) for rate in rates)
    return challenger, champion


KINDS: dict[str, Callable[[Generator, int, float], Pair]] = {
    "accuracy": accuracy,
    "series of errors": series,
    "word error rate": words,
}


def _difficulty(generator: Generator, count: int) -> np.ndarray:
    """(N,) chance that a model gets an example right, 0.9 on average."""
    return generator.beta(4.5, 0.5, count)


def _right(generator: Generator, chance: np.ndarray, advantage: float) -> np.ndarray:
    """An advantage turns a share of the expected mistakes into right answers."""
    better = chance + (1 - chance) * advantage / 0.1
    return (generator.random(len(chance)) < better).astype(np.float64)


@lru_cache
def _weights(count: int) -> np.ndarray:
    """(1 + R, N) draws, the same for all decisions, as the seed of params.yaml makes them."""
    return np.concatenate(list(weights_of(count, block=None, resamples=RESAMPLES, seed=0)))


def _promoted(pair: Pair, kind: str, level: float | None) -> bool:
    """At an error level, or without one as on a test split that is asked once."""
    dependent = kind == "series of errors"
    return decide(
        *pair, maximize=kind == "accuracy", dependent=dependent, block=2 * HORIZON if dependent else None,
        resamples=RESAMPLES, confidence=CONFIDENCE, level=level, margin=0.0, seed=0, baseline_scores=None,
    ).promoted  # fmt: skip


def _larger(pair: Pair, kind: str) -> bool:
    challenger, champion = (s.value if isinstance(s, CorpusScore) else float(np.mean(s)) for s in pair)
    return challenger > champion if kind == "accuracy" else challenger < champion


def _percent(outcomes: list[bool]) -> float:
    return 100 * float(np.mean(outcomes))


def _error(outcomes: list[bool]) -> str:
    """What the simulation leaves open, at 95 %."""
    share = float(np.mean(outcomes))
    return f"± {196 * np.sqrt(share * (1 - share) / len(outcomes)):.1f}"
