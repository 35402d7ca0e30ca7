"""Simulated: intervals cover as often as they say, and models that are no better are promoted as seldom as allowed.

Fixed seeds and few runs; `make bench ARGS=gate` has more. The bounds allow for the error of the simulation.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.evaluation.intervals import corpus_score, weights_of
from pipeline.evaluation.shares import paired_shares_interval, share_interval
from pipeline.evaluation.statistics import Difference, needed_examples, paired_difference

RUNS = 400
Draw = Callable[[np.random.Generator], tuple[np.ndarray, bool, int | None]]  # differences, dependent, block


def independent(count: int, draw: Callable[[np.random.Generator, int], np.ndarray]) -> Draw:
    return lambda generator: (draw(generator, count), False, None)


def skewed(generator: np.random.Generator, count: int) -> np.ndarray:
    """The rare challenger that is much worse now and then, and no better on average."""
    return np.exp(0.72) - generator.lognormal(0, 1.2, count)


def windows(count: int, horizon: int, regimes: bool) -> Draw:
    def draw(generator: np.random.Generator) -> tuple[np.ndarray, bool, int]:
        steps = count + horizon - 1
        errors = np.abs(generator.normal(size=(2, steps)))
        if regimes:
            sizes = generator.normal(size=(2, steps)) * np.sqrt(1 - 0.98**2)
            for step in range(1, steps):
                sizes[:, step] += 0.98 * sizes[:, step - 1]
            errors *= np.exp(sizes / 2)
        a, b = (np.convolve(row, np.ones(horizon) / horizon, "valid") for row in errors)
        return b - a, True, 2 * horizon

    return draw


def squares(pictures: int, each: int) -> Draw:
    """Squares of a picture with correlation 0.9."""

    def draw(generator: np.random.Generator) -> tuple[np.ndarray, bool, int]:
        common, own = generator.normal(size=(pictures, 1)), generator.normal(size=(pictures, each))
        return (np.sqrt(0.9) * common + np.sqrt(0.1) * own).ravel(), True, each

    return draw


@pytest.mark.parametrize(
    "draw",
    [
        independent(20, lambda generator, count: generator.normal(size=count)),
        independent(200, lambda generator, count: generator.normal(size=count)),
        independent(100, skewed),
        independent(100, lambda generator, count: -skewed(generator, count)),
        independent(200, lambda generator, count: (generator.random(count) < 0.03) * generator.normal(size=count)),
        windows(317, 26, regimes=False),
        windows(317, 26, regimes=True),
        squares(10, 6),
        squares(100, 6),
    ],
    ids=["normal20", "normal200", "skewed", "skewed_up", "sparse", "windows", "regimes", "squares10", "squares100"],
)
def test_equal_models_pass_as_seldom_as_allowed(draw: Draw) -> None:
    found: list[Difference] = []
    for run in range(RUNS):
        values, dependent, block = draw(np.random.default_rng([1, run]))
        found.append(
            paired_difference(values, np.zeros_like(values), dependent=dependent, block=block, confidence=0.95)
        )
    better = np.mean([one.better for one in found])
    assert better <= 0.025 + 2 * np.sqrt(0.025 * 0.975 / RUNS), "promoted"
    assert 1 - better - np.mean([one.worse for one in found]) >= 0.94 - 2 * np.sqrt(0.06 * 0.94 / RUNS), "covered"


def test_word_error_rate_with_few_mistakes_is_no_easier_than_the_exact_test() -> None:
    """200 recordings of one word each: five mistakes less and none more are no proof (McNemar: p = 0.06), eight are."""
    drawn = np.concatenate(list(weights_of(200, block=None, resamples=10_000, seed=0)))
    better = {}
    for more in (4, 5, 8):
        rates = []
        for wrong in (range(more, more + 1), range(more + 1)):  # one recording is wrong for both
            mistakes = np.zeros(200)
            mistakes[list(wrong)] = 1
            rates.append(corpus_score(drawn @ mistakes / 200, 200, dependent=False, block=None))
        found = paired_difference(rates[1], rates[0], dependent=False, block=None, confidence=0.95)
        better[more] = found.better
        assert found.better == (found.p_value < 0.05)
    assert better == {4: False, 5: False, 8: True}


@pytest.mark.parametrize("count", [20, 200])
@pytest.mark.parametrize("shift", [0.0, 0.05, 0.3])
def test_difference_of_shares_is_covered(count: int, shift: float) -> None:
    generator = np.random.default_rng([count, int(100 * shift)])
    draws = generator.multinomial(count, [0.05 + shift, 0.05, 0.9 - shift], size=1000)
    ends = {pair: paired_shares_interval(*pair, count, 0.95) for pair in {(int(b), int(c)) for b, c, _ in draws}}
    covered = np.mean([ends[int(b), int(c)][0] <= shift <= ends[int(b), int(c)][1] for b, c, _ in draws])
    assert covered >= 0.94


def test_share_without_spread_has_an_exact_interval() -> None:
    assert share_interval(0, 9, 0.95) == pytest.approx((0.0, 0.3363), abs=1e-4)
    assert share_interval(9, 9, 0.95) == pytest.approx((0.6637, 1.0), abs=1e-4)


@pytest.mark.parametrize("level", [0.025, 0.05 / 6])
def test_needed_examples_find_the_advantage_as_often_as_promised(level: float) -> None:
    """A few hundred examples say how many it takes; on so many of them four of five comparisons find it."""
    generator = np.random.default_rng(3)
    start = generator.normal(0.2, 1.0, size=400)
    needed = needed_examples(start, start * 0, level=level, power=0.8, effect=0.2)
    assert needed is not None and 150 < needed < 350
    samples = generator.normal(0.2, 1.0, size=(RUNS, needed))
    options = {"dependent": False, "block": None, "confidence": 1 - 2 * level}
    found = [paired_difference(row, row * 0, **options).better for row in samples]  # type: ignore[arg-type]
    assert np.mean(found) == pytest.approx(0.8, abs=0.08)


def test_needed_examples_of_a_model_that_is_not_ahead_are_none() -> None:
    same = np.array([0.0, 1.0] * 20)
    assert needed_examples(same, same, level=0.025) is None
    assert needed_examples(np.ones(40), same, level=0.025) == 12, "six that differ, of which every second does"
