"""Long lags: marks stand where they are said to stand, and rigged accuracies lead to every verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.differences import temporal_dependency as subject
from pipeline.differences.networks import made
from pipeline.differences.optimise import generator
from pipeline.differences.paired import Measured
from pipeline.differences.sequences import which_came_first
from pipeline.differences.settings import chosen
from pipeline.differences.verdicts import DOES_NOT_HOLD, HOLDS, NOT_DECIDED

PARAMS = Path(__file__).parents[2] / "differences/params.yaml"
SETTINGS = chosen(PARAMS, "temporal_dependency", subject.Settings)[1]
NAMES = list(subject.designs(SETTINGS))


def test_marks_stand_side_by_side_at_their_lag_and_tell_the_answer() -> None:
    x, first, lag = which_came_first(generator(0, "test"), 500, 20, [3, 9], 4)
    symbols = x.argmax(1)
    assert x.shape == (500, 7, 20) and bool((x.sum(1) == 1).all()) and bool((symbols[:, -1] == 6).all())
    rows = torch.arange(500)
    assert set(lag.tolist()) == {3, 9}
    assert torch.equal(symbols[rows, 19 - lag], torch.where(first == 0, 4, 5))
    assert torch.equal(symbols[rows, 20 - lag], torch.where(first == 0, 5, 4))
    assert ((symbols == 4).sum(1) == 1).all() and ((symbols == 5).sum(1) == 1).all()
    assert 200 < int(first.sum()) < 300


def test_a_network_that_reads_the_mark_is_right_and_one_that_sees_too_little_guesses() -> None:
    """Known answers for the statistic: an oracle has accuracy 1 at every lag; a short field knows lags inside alone."""

    class Oracle(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            a, b = x[:, SETTINGS.distractors], x[:, SETTINGS.distractors + 1]
            steps = torch.arange(x.shape[2])
            return torch.stack([(b * steps).sum(1), (a * steps).sum(1)], dim=1)  # the later mark loses

    oracle: Any = Oracle()
    assert set(subject.accuracy_by_lag(oracle, 0, SETTINGS).values()) == {1.0}
    short = made(0, subject.designs(SETTINGS)[subject.SHORT], SETTINGS.distractors + 3, 2).eval()
    long = [subject.accuracy_by_lag(short, seed, SETTINGS)["64"] for seed in range(3)]
    assert sum(long) / 3 == pytest.approx(0.5, abs=0.06)


def rigged(whole: float, recurrent: float, short: float = 0.5) -> Measured:
    """Every arm at its accuracy at all long lags, with a little spread over the seeds."""

    def value(name: str, seed: int) -> dict[str, Any]:
        mean = {subject.WHOLE: whole, subject.SHORT: short}.get(name, recurrent)
        found = mean + 0.01 * (-1) ** seed * (1 if name == subject.WHOLE else -1)
        by_lag = {str(lag): found for lag in SETTINGS.lags}
        return {"accuracy": by_lag, "validation": found}

    rates = {name: {"0.01": 0.9 if name == "gru" else 0.8} for name in NAMES}
    values = {name: [value(name, seed) for seed in range(8)] for name in NAMES}
    return Measured(values, dict.fromkeys(NAMES, 0.01), rates)


@pytest.mark.parametrize(
    ("whole", "recurrent", "expected"),
    [
        (0.6, 0.95, HOLDS),
        (0.95, 0.95, "depends on the receptive field"),
        (0.5, 0.5, DOES_NOT_HOLD),
        (0.9, 0.95, NOT_DECIDED),
    ],
)
def test_the_verdict_follows_from_the_accuracies(whole: float, recurrent: float, expected: str) -> None:
    result = subject.judge(rigged(whole, recurrent), SETTINGS)
    assert result.verdict == expected
    assert "gru − cnn" in result.effects[subject.WHOLE].statistic, "the best on other seeds"
    assert bool(result.advice) == (expected != NOT_DECIDED)
    sizes = [found["parameters"] for found in result.sizes.values()]
    assert max(sizes) / min(sizes) < 1.05, "matched"
    sums = [found["multiply_adds"] for found in result.sizes.values()]
    assert max(sums) / min(sums) < 1.05, "and so are multiply-adds"


def test_a_short_field_that_knows_more_than_it_sees_is_reported() -> None:
    passed = subject.judge(rigged(0.9, 0.9, short=0.5), SETTINGS).controls
    leaking = subject.judge(rigged(0.9, 0.9, short=0.7), SETTINGS).controls
    assert [found["passed"] for found in (*passed.values(), *leaking.values())] == [True, False]


def test_the_figure_is_drawn_from_the_result_alone() -> None:
    described = json.loads(json.dumps(subject.judge(rigged(0.9, 0.9), SETTINGS).described(), sort_keys=True))
    axes = subject.draw(described).axes[0]
    assert [int(tick) for tick in axes.get_xticks()] == SETTINGS.lags
    assert len(axes.get_legend_handles_labels()[1]) == len(NAMES)
