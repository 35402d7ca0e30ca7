"""A test split answers by chance if it is asked often: every comparison costs, all together stay bounded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.registry.examples import shared, sketch
from pipeline.registry.gate import decide
from pipeline.registry.spending import Asked, asked, decided, left, level_of

T, U, MORE = np.split(np.random.default_rng(0).integers(0, 2**64, 1100, dtype=np.uint64), [100, 200])  # digests


def line(
    challenger: str, against: str | None, units: np.ndarray | None = T, level: float | None = 0.025
) -> dict[str, Any]:
    """A line of the history as register writes it."""
    split = {"examples": sketch(units), "decisions": 1} if units is not None else None
    evidence = {"over_champion": {"p_value": 0.5} if against else None, "level": level, "test_split": split}
    other = against and {"key": against, "version": "1", "candidate": "c"}
    return {"challenger": {"key": challenger, "version": "2", "candidate": "c"}, "against": other, "evidence": evidence}


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_all_levels_together_never_exceed_the_error_level(confidence: float) -> None:
    levels = [level_of(decided, confidence) for decided in range(100_000)]
    assert sum(levels) < 1 - confidence
    assert levels == sorted(levels, reverse=True) and levels[0] == pytest.approx((1 - confidence) / 2)
    assert left(10, confidence) == pytest.approx(1 - confidence - sum(levels[:10]))
    assert left(0, confidence) == 1 - confidence


def test_only_comparisons_on_these_examples_count_and_the_same_pair_once() -> None:
    history = [line("a", None, level=None), line("b", "a"), line("c", "a"), line("b", "a"), line("d", "c", U)]
    assert decided(history, T) == 2
    assert decided(history, U) == 1
    assert decided([], T) == 0


def test_what_compared_nothing_spends_nothing() -> None:
    moved = {"challenger": None, "against": None, "evidence": {}}
    failed = {**line("b", "a"), "evidence": {}}
    kept_out = {**line("b", "a"), "evidence": {"over_champion": None, "level": None, "test_split": None}}
    assert decided([moved, failed, kept_out], T) == 0


def test_decisions_of_a_time_without_digests_count_on_all_examples() -> None:
    old = {**line("b", "a"), "evidence": {"over_champion": {"p_value": 0.5}, "over_baseline": None}}
    assert decided([old], T) == decided([old], U) == 1


def test_earlier_comparisons_count_by_the_examples_that_they_share() -> None:
    history = [line("b", "a"), line("c", "a")]
    grown = np.concatenate([T, U[:5]])
    assert decided(history, grown) == 2, "100 of 105 twice are 1.9"
    tenfold = np.concatenate([T, MORE])
    assert decided(history, tenfold) == 1, "100 of 1000 twice are 0.2: fresh examples give budget back"
    half = np.concatenate([T[:50], U[:50]])
    assert shared(sketch(T), half) == pytest.approx(0.5, abs=0.15) and shared(sketch(T), T) == 1
    assert decided([*history, line("d", "a")], half) == 2, "three of about a half"


def test_sketch_tells_about_how_many_examples_are_shared() -> None:
    digests = np.random.default_rng(0).integers(0, 2**64, 3000, dtype=np.uint64)
    for common in (0, 500, 1000, 2000):
        now = np.concatenate([digests[2000 - common : 2000], digests[2000 : 4000 - common]])[:2000]
        assert shared(sketch(digests[:2000]), now) == pytest.approx(common / len(now), abs=0.15)


def test_same_two_models_get_the_same_level_again() -> None:
    history = [line("b", "a", level=0.025), line("c", "a", level=0.0083)]
    assert asked(history, "b", "a", T, 0.95) == Asked(2, 0.025)
    assert asked(history, "d", "a", T, 0.95) == Asked(3, level_of(2, 0.95))
    assert asked(history, "b", "c", T, 0.95) == Asked(3, level_of(2, 0.95)), "another champion is another question"


def test_a_hundred_equal_models_on_one_split_are_seldom_promoted() -> None:
    """With the level of a split that is asked once, every third such sequence ends with a false champion."""
    tightened, plain = 0, 0
    generator = np.random.default_rng(0)
    options: dict[str, Any] = {
        "maximize": True, "dependent": False, "resamples": 300, "confidence": 0.95, "margin": 0.0, "seed": 0,
        "baseline_scores": None,
    }  # fmt: skip
    for _ in range(30):
        scores = (generator.random((101, 300)) < 0.8).astype(float)
        levels = [level_of(decided, 0.95) for decided in range(100)]
        tightened += any(
            decide(challenger, scores[0], level=level, **options).promoted
            for challenger, level in zip(scores[1:], levels, strict=True)
        )
        plain += any(decide(challenger, scores[0], level=None, **options).promoted for challenger in scores[1:])
    assert tightened <= 3, "3 % of the sequences are expected"
    assert plain >= 8
