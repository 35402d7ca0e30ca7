"""Intervals and p-values of means and of paired differences."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest

from pipeline.evaluation.memory import block_length, memory
from pipeline.evaluation.shares import exact_mcnemar
from pipeline.evaluation.statistics import bootstrap_interval, paired_difference

INDEPENDENT = {"dependent": False, "block": None, "resamples": 2000, "confidence": 0.95, "seed": 0}


def overlapping_errors(generator: np.random.Generator, count: int, horizon: int) -> np.ndarray:
    """Scores of forecast windows: means over `horizon` steps, each shared by neighbouring windows."""
    steps = generator.standard_normal(count + horizon - 1)
    return np.convolve(steps, np.ones(horizon) / horizon, "valid")


def test_same_arguments_give_the_same_numbers() -> None:
    generator = np.random.default_rng(1)
    a, b = generator.normal(size=100), generator.normal(size=100)
    assert paired_difference(a, b, **INDEPENDENT) == paired_difference(a, b, **INDEPENDENT)


def test_interval_of_a_difference_agrees_with_the_formula_for_normal_scores() -> None:
    generator = np.random.default_rng(2)
    a = generator.normal(0.5, 1.0, size=400)
    result = paired_difference(a, np.zeros(400), **{**INDEPENDENT, "resamples": 20_000})
    margin = 1.966 * a.std(ddof=1) / 20  # Student's 97.5 % quantile with 399 degrees of freedom
    assert result.difference == pytest.approx(a.mean())
    assert result.low == pytest.approx(a.mean() - margin, abs=0.01)
    assert result.high == pytest.approx(a.mean() + margin, abs=0.01)
    assert result.p_value < 0.001


def test_exchanging_the_models_turns_the_sign() -> None:
    generator = np.random.default_rng(3)
    a, b = generator.normal(size=200), generator.normal(0.1, size=200)
    there, back = paired_difference(a, b, **INDEPENDENT), paired_difference(b, a, **INDEPENDENT)
    assert there.difference == pytest.approx(-back.difference)
    assert there.low == pytest.approx(-back.high, abs=0.02)


def test_exact_mcnemar_counts_only_examples_on_which_the_models_disagree() -> None:
    a = np.array([1] * 90 + [1] * 8 + [0] * 2)
    b = np.array([1] * 90 + [0] * 8 + [1] * 2)
    assert exact_mcnemar(a, b) == pytest.approx(0.109375)  # 2 · P(at most 2 of 10 heads)
    assert exact_mcnemar(a, a) == 1.0
    result = paired_difference(a, b, **INDEPENDENT)
    assert result.p_value == pytest.approx(0.109375)
    assert result.difference == pytest.approx(0.06)
    assert "McNemar" in result.method


def test_equal_scores_are_no_difference() -> None:
    scores = np.linspace(0, 1, 50)
    result = paired_difference(scores, scores, **INDEPENDENT)
    assert (result.difference, result.low, result.high, result.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_perfect_accuracy_keeps_an_interval_with_width() -> None:
    interval = bootstrap_interval(np.ones(100), **INDEPENDENT)
    assert interval.value == 1.0
    assert interval.low == pytest.approx(0.963, abs=0.001)  # Wilson
    assert interval.high == pytest.approx(1.0)


@pytest.mark.parametrize("dependent", [False, True])
def test_p_value_and_interval_tell_the_same_story(dependent: bool) -> None:
    generator = np.random.default_rng(4)
    for shift in np.linspace(0.0, 0.4, 15):
        a = generator.normal(shift, 1.0, size=120)
        result = paired_difference(a, np.zeros(120), **{**INDEPENDENT, "dependent": dependent, "seed": 5})
        if abs(result.p_value - 0.05) > 0.005:
            assert (result.low > 0 or result.high < 0) == (result.p_value < 0.05)


def test_overlapping_windows_of_equal_models_seldom_look_different() -> None:
    """With blocks of twice the horizon; by the n^(1/3) rule it would be every fifth comparison."""
    generator = np.random.default_rng(6)
    options = {"dependent": True, "block": 52, "resamples": 500, "confidence": 0.95, "seed": 7}
    better = [paired_difference(overlapping_errors(generator, 317, 26), np.zeros(317), **options) for _ in range(300)]
    assert np.mean([result.low > 0 for result in better]) <= 0.05


def test_blocks_of_twice_the_overlap_give_intervals_of_the_right_width() -> None:
    """The mean of overlapping windows varies as that of their steps: 1 / √n. Blocks alone make it a tenth less."""
    generator = np.random.default_rng(12)
    options = {**INDEPENDENT, "dependent": True, "block": 52, "resamples": 1000}
    widths = []
    for _ in range(20):
        result = paired_difference(overlapping_errors(generator, 10_000, 26), np.zeros(10_000), **options)
        widths.append(result.high - result.low)
    assert np.mean(widths) == pytest.approx(2 * 1.97 / 100, rel=0.1)


def test_memory_grows_with_the_overlap() -> None:
    generator = np.random.default_rng(8)
    assert np.median([memory(generator.normal(size=1000)) for _ in range(20)]) == 0
    overlapping = [memory(overlapping_errors(generator, 1000, 26)) for _ in range(20)]
    assert 15 <= np.median(overlapping) <= 30


def test_block_is_what_was_declared_or_longer_where_scores_stay_alike() -> None:
    generator = np.random.default_rng(8)
    windows = overlapping_errors(generator, 2000, 26)
    assert 52 <= block_length(windows, 52) <= 208
    assert block_length(np.cumsum(generator.normal(size=2000)), 52) == 1000, "never more than half"
    assert block_length(generator.normal(size=1000), None) == 10, "the cube root where nobody knows"


def test_few_blocks_are_no_evidence() -> None:
    """27 windows that share nearly all of their steps are little more than one observation."""
    generator = np.random.default_rng(9)
    scores = overlapping_errors(generator, 27, 26)
    result = paired_difference(scores + 0.3, scores * 0, **{**INDEPENDENT, "dependent": True, "block": 52})
    assert result.low < 0 < result.high
    assert result.p_value > 0.05


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([0.1, 0.2], [0.1, 0.2, 0.3], "same examples"),
        ([0.1], [0.1], "at least two examples"),
        ([0.1, float("nan")], [0.1, 0.2], "1 of 2 scores are not finite"),
    ],
)
def test_unusable_scores_are_refused_with_a_reason(a: list[float], b: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        paired_difference(a, b, **INDEPENDENT)


def test_examples_without_a_score_are_left_out() -> None:
    generator = np.random.default_rng(11)
    a, b = generator.normal(size=(2, 100))
    gap = np.array([np.nan])
    with_gap = paired_difference(np.concatenate([a, gap]), np.concatenate([b, gap]), **INDEPENDENT)
    assert with_gap == paired_difference(a, b, **INDEPENDENT)
    assert bootstrap_interval([*a, np.nan], **INDEPENDENT) == bootstrap_interval(a, **INDEPENDENT)


def test_confidence_outside_of_0_and_1_is_refused() -> None:
    with pytest.raises(ValueError, match="must be between 0 and 1"):
        paired_difference([0.1, 0.2], [0.3, 0.1], **{**INDEPENDENT, "confidence": 95})


def test_ten_thousand_resamples_are_quick() -> None:
    generator = np.random.default_rng(10)
    a, b = generator.normal(size=360), generator.normal(size=360)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        paired_difference(a, b, **{**INDEPENDENT, "resamples": 10_000})
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.5  # 0.05 s on a free core


def test_statistics_need_neither_torch_nor_mlflow() -> None:
    code = "import sys, pipeline.evaluation.statistics; print([m for m in ('torch', 'mlflow') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
