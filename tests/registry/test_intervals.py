"""Bootstrap intervals of any figure: the point is plain, the ends are quantiles, and a seed decides all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.evaluation import intervals
from pipeline.evaluation.intervals import _weights, intervals_of

SCORES = np.random.default_rng(0).normal(loc=3, size=200)


def metrics(weights: np.ndarray) -> dict[str, np.ndarray]:
    count = weights.sum(1)
    return {"mean": weights @ SCORES / count, "share": weights @ (SCORES > 3) / count}


def found(**changes: object) -> dict[str, dict[str, float]]:
    chosen = {"score": "mean", "block": None, "resamples": 2000, "confidence": 0.95, "seed": 0, **changes}
    return intervals_of(metrics, SCORES, **chosen)


def test_the_value_is_the_figure_of_the_data_as_they_stand() -> None:
    result = found()
    assert result["mean"]["value"] == pytest.approx(SCORES.mean(), rel=1e-12)
    assert result["share"]["value"] == pytest.approx((SCORES > 3).mean(), rel=1e-12)
    for entry in result.values():
        assert entry["low"] < entry["value"] < entry["high"]


def test_the_interval_of_a_mean_is_about_two_standard_errors_wide() -> None:
    entry = found()["share"]
    share = entry["value"]
    error = np.sqrt(share * (1 - share) / 200)
    assert entry["high"] - entry["low"] == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_figure_that_never_varies_has_the_exact_interval_of_a_share_or_none() -> None:
    """0 of 9 right answers are no proof of a recall of 0."""

    def constant(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {"worst_class_recall": np.zeros(len(weights)), "bleu": np.zeros(len(weights))}

    options: dict[str, Any] = {"score": None, "block": None, "resamples": 100, "confidence": 0.95, "seed": 0}
    result = intervals_of(constant, np.zeros(30), shares={"worst_class_recall": (0, 9)}, **options)
    assert result["worst_class_recall"]["low"] == 0
    assert result["worst_class_recall"]["high"] == pytest.approx(0.336, abs=1e-3)
    assert result["bleu"] == {"value": 0.0, "low": None, "high": None}


def test_more_confidence_is_a_wider_interval() -> None:
    narrow, wide = (found(confidence=confidence)["share"] for confidence in (0.5, 0.99))
    assert wide["low"] < narrow["low"] < narrow["high"] < wide["high"]


def test_the_same_seed_gives_the_same_numbers_and_another_one_others() -> None:
    assert found() == found()
    assert found(seed=1)["share"] != found()["share"]


def test_the_result_does_not_depend_on_how_much_is_held_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = found(block=5)
    monkeypatch.setattr(intervals, "CELLS", 200 * 7)
    parts = found(block=5)
    for name, entry in whole.items():
        assert parts[name] == pytest.approx(entry, rel=1e-12)


def test_weights_count_every_draw() -> None:
    weights = _weights(50, 300, 1, np.random.default_rng(0))
    assert weights.shape == (300, 50)
    assert (weights.sum(1) == 50).all()
    assert weights.mean() == 1 and 0.9 < weights.var() < 1.1, "about the counts of a Poisson distribution"


def test_blocks_are_neighbours_in_a_circle() -> None:
    weights = _weights(12, 200, 4, np.random.default_rng(0))
    assert (weights.sum(1) == 12).all()
    for row in weights:
        changes = np.count_nonzero(np.diff(np.append(row, row[0])))
        assert changes <= 2 * 3, "three blocks begin and end at most six times"


def test_blocks_widen_the_interval_of_a_series_that_depends_on_itself() -> None:
    generator = np.random.default_rng(0)
    series = np.repeat(generator.normal(size=40), 10)  # ten neighbours share their value

    def mean(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {"mean": weights @ series / weights.sum(1), "twice": 2 * (weights @ series) / weights.sum(1)}

    widths = []
    for block in (None, 20):
        entry = intervals_of(mean, series, score="mean", block=block, resamples=1000, confidence=0.95, seed=0)["twice"]
        widths.append(entry["high"] - entry["low"])
    assert widths[1] > 2 * widths[0]


def test_a_block_longer_than_the_data_still_varies() -> None:
    weights = _weights(6, 100, 50, np.random.default_rng(0))
    assert (weights.sum(1) == 6).all()
    assert len(np.unique(weights, axis=0)) > 1
