"""Verdicts: the right one for known values, and hardly ever a claim that holds where there is no difference."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.differences.verdicts import (
    DOES_NOT_HOLD,
    HOLDS,
    NOT_DECIDED,
    Effect,
    all_of,
    by_condition,
    depends_on,
    interval,
    refined,
)

RIGHT, WRONG, OPEN = HOLDS, DOES_NOT_HOLD, NOT_DECIDED
REPETITIONS = 2000


def effect(low: float, high: float, margin: float) -> Effect:
    """Eight values whose 99.5 % interval is about from low to high."""
    middle, half = (low + high) / 2, (high - low) / 2
    shape = np.array([-1.0, 1, -1, 1, -1, 1, -1, 1])
    reach = interval((shape / 1.0).tolist(), 0.995)[1]
    return Effect("", "", tuple((middle + shape * half / reach).tolist()), margin)


@pytest.mark.parametrize(
    ("low", "high", "margin", "expected"),
    [
        (0.06, 0.2, 0.05, RIGHT),
        (0.01, 0.2, 0.05, OPEN),
        (-0.04, 0.04, 0.05, WRONG),
        (-0.2, 0.04, 0.05, OPEN),
        (-0.2, -0.1, 0.05, WRONG),
        (0.1, 0.2, 0.0, RIGHT),
        (-0.1, 0.2, 0.0, OPEN),
        (-0.2, -0.01, 0.0, WRONG),
    ],
)
def test_an_effect_is_judged_by_its_whole_interval(low: float, high: float, margin: float, expected: str) -> None:
    assert effect(low, high, margin).verdict == expected


def test_the_interval_is_students_and_wider_where_it_decides() -> None:
    values = [0.1, 0.3, 0.2, 0.4, 0.2, 0.3, 0.1, 0.4]
    low, high = interval(values, 0.95)
    assert (low, high) == pytest.approx((0.25 - 2.3646 * 0.11952 / 8**0.5, 0.25 + 2.3646 * 0.11952 / 8**0.5), abs=1e-4)
    wide = interval(values, 0.995)
    assert wide[0] < low < high < wide[1]
    described = Effect("accuracy", "share", tuple(values), 0.05).described()
    assert described["value"] == pytest.approx(0.25)
    assert described["interval_95"] == [low, high] and described["interval_995"] == list(wide)


def test_equal_seeds_are_decided() -> None:
    assert Effect("", "", (0.0,) * 8, 0.05).verdict == WRONG
    assert Effect("", "", (0.3,) * 8, 0.05).verdict == RIGHT
    assert Effect("", "", (0.0,) * 8, 0.0).verdict == OPEN, "no margin, no difference: nothing speaks against it"


def test_parts_are_joined_as_their_claim_says() -> None:
    assert all_of(RIGHT, RIGHT) == RIGHT
    assert all_of(RIGHT, WRONG, OPEN) == WRONG
    assert all_of(RIGHT, OPEN) == OPEN
    assert by_condition("the matching", {"parameters": RIGHT, "multiply-adds": RIGHT}) == RIGHT
    assert by_condition("the matching", {"parameters": RIGHT, "multiply-adds": WRONG}) == depends_on("the matching")
    assert by_condition("the matching", {"parameters": RIGHT, "multiply-adds": OPEN}) == OPEN
    assert refined(WRONG, "the receptive field", [RIGHT]) == "depends on the receptive field"
    assert refined(WRONG, "the receptive field", [OPEN]) == WRONG
    assert refined(OPEN, "the receptive field", [RIGHT]) == OPEN
    assert refined(RIGHT, "the receptive field", [RIGHT]) == RIGHT


def normal(draw: np.random.Generator) -> np.ndarray:
    return draw.normal(size=8)


def accuracies(draw: np.random.Generator) -> np.ndarray:
    """Two networks of the same accuracy, each counted on 100 examples."""
    return (draw.binomial(100, 0.9, 8) - draw.binomial(100, 0.9, 8)) / 100


def failures(draw: np.random.Generator) -> np.ndarray:
    """Trainings that sometimes fail altogether, in either family alike."""
    return draw.choice([0.5, 1.0], 8, p=[0.3, 0.7]) - draw.choice([0.5, 1.0], 8, p=[0.3, 0.7])


@pytest.mark.parametrize("seeds", [normal, accuracies, failures])
@pytest.mark.parametrize(
    "rule",
    [
        lambda first, second: first,
        lambda first, second: all_of(first, second),
        lambda first, second: by_condition("x", {"a": first, "b": second}),
        lambda first, second: refined(first, "x", [second]),
    ],
    ids=["effect", "all_of", "by_condition", "refined"],
)
def test_where_nothing_differs_a_claim_hardly_ever_holds(
    seeds: Callable[[np.random.Generator], np.ndarray], rule: Callable[[str, str], str]
) -> None:
    """At most 0.5 % of 2,000 repetitions, and three standard errors of that figure; a «depends on» is as false."""
    draw = np.random.default_rng(0)
    verdicts = [
        rule(*(Effect("", "", tuple(seeds(draw).tolist())).verdict for _ in range(2))) for _ in range(REPETITIONS)
    ]
    allowed = 0.005 + 3 * (0.005 * 0.995 / REPETITIONS) ** 0.5
    assert np.mean([verdict == HOLDS for verdict in verdicts]) <= allowed
    assert np.mean([verdict.startswith("depends") for verdict in verdicts]) <= allowed
