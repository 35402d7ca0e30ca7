"""Difference 7: known answers of the counted costs, of the survival of a gradient, and of its verdicts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.differences import recorded, training
from pipeline.differences import temporal_dependency as temporal
from pipeline.differences.networks import Reader, made, rnn
from pipeline.differences.of_training.gradients import survival, unrolled
from pipeline.differences.of_training.picture_cost import GRID, counted, slope_of
from pipeline.differences.optimise import generator
from pipeline.differences.paired import Arm, Measured
from pipeline.differences.settings import chosen
from pipeline.differences.verdicts import DOES_NOT_HOLD, HOLDS, NOT_DECIDED
from pipeline.params import ParamsError

LAGS = [1, 2, 4, 8]


@pytest.fixture(scope="module")
def settings(root: Path) -> training.Settings:
    """Those of the repository, with fewer sizes of pictures, which take most of the time."""
    values = chosen(root / "differences" / "params.yaml", "training", training.Settings)[1]
    return values.model_copy(update={"sides": [8, 16]})


@pytest.fixture(scope="module")
def task(root: Path) -> temporal.Settings:
    return chosen(root / "differences" / "params.yaml", "temporal_dependency", temporal.Settings)[1]


def test_slope_of_a_power_is_its_exponent() -> None:
    assert slope_of([8, 16, 32], [3 * side**1.5 for side in (8, 16, 32)]) == pytest.approx(1.5)


def test_cost_of_pictures_grows_with_the_pixels_in_both_families() -> None:
    costs = counted([8, 16, 32])
    assert set(costs) == set(GRID)
    for cost in costs.values():
        assert slope_of([8, 16, 32], cost) == pytest.approx(2.0, abs=0.01)


def linear(cell: str, factor: float) -> Reader:
    """A network whose state is `factor` times the one before, with no part of the input that matters."""
    network = made(0, rnn(cell, hidden=4), 3, 2)
    scan: Any = network.encoder.scans[0]
    scan.norm = nn.Identity()
    with torch.no_grad():
        for weight in scan.ahead.parameters():
            weight.zero_()
        scan.ahead.weight_hh_l0.copy_(factor * torch.eye(4))
    return network


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_gradient_of_a_linear_recurrence_survives_as_its_power(factor: float) -> None:
    """Near zero tanh is the identity, so that g(d) is the factor to the power d."""
    x = torch.zeros(2, 3, 12)
    assert survival(linear("rnn", factor), x, LAGS) == pytest.approx([factor**lag for lag in LAGS], rel=1e-4)


def test_open_forget_gate_keeps_the_gradient_of_an_lstm_and_a_half_open_one_halves_it() -> None:
    x = torch.zeros(2, 3, 12)
    ratios = []
    for bias in (20.0, 0.0):
        network = made(0, rnn("lstm", hidden=4), 3, 2)
        scan: Any = network.encoder.scans[0]
        scan.norm = nn.Identity()
        with torch.no_grad():
            for weight in scan.ahead.parameters():
                weight.zero_()
            scan.ahead.bias_ih_l0[4:8] = bias
        first, *_, last = survival(network, x, LAGS)
        ratios.append(last / first)
    assert ratios == pytest.approx([1.0, 0.5**7], rel=1e-4)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_unrolled_network_answers_like_the_whole_one(cell: str) -> None:
    network = made(0, rnn(cell, hidden=5), 3, 2).eval()
    x = torch.randn(2, 3, 12, generator=generator(0, "x"))
    states, answer = unrolled(network, x, [0, *LAGS])
    torch.testing.assert_close(answer, network(x))
    assert len(states) == 5


def test_network_that_reads_nothing_of_its_state_has_no_gradient() -> None:
    network = linear("rnn", 1.0)
    with torch.no_grad():
        network.head.weight.zero_()
    x = torch.zeros(2, 3, 12)
    assert survival(network, x, LAGS) == [0.0] * 4


def test_training_is_watched_at_every_state(settings: training.Settings, task: temporal.Settings) -> None:
    short = settings.model_copy(update={"steps": 2, "batch": 2, "states": [0, 2], "sequences": 2})
    facts = {"design": rnn("rnn", hidden=4), "task": {**task.model_dump(), "examples": 4}}
    seen = training.measure(facts, 0, 0.01, short, True)
    assert set(seen["log10_g"]) == {"0", "2"}
    assert seen["log10_g"]["0"] != seen["log10_g"]["2"]
    assert len(seen["log10_g"]["0"]) == len(settings.lags)


ARMS = ("rnn", "rnn, PyTorch's start", "lstm", "lstm, PyTorch's start", "gru", "gru, PyTorch's start")


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: temporal.Settings) -> Any:
    """Writes results of the temporal dependency with the given accuracies at the last lag."""

    def write(*accuracy: float, seeds: int = task.seeds) -> None:
        by_lag = {
            name: [[1.0] * (len(task.lags) - 1) + [level + 0.001 * (seed % 3 - 1)] for seed in range(seeds)]
            for name, level in zip(ARMS, accuracy, strict=True)
        }
        budget = {**task.model_dump(), "seeds": seeds}
        curves = {"lags": task.lags, "by_lag": by_lag}
        path = tmp_path / "temporal_dependency.json"
        path.write_text(json.dumps({"budget": budget, "picked": dict.fromkeys(ARMS, 0.003), "curves": curves}))
        monkeypatch.setattr(recorded, "FILE", path)

    return write


def rigged(settings: training.Settings, *far: float) -> Measured:
    """Networks whose logarithm of g falls evenly to `far` at the lag that decides."""
    values = {
        name: [
            {
                "log10_g": {
                    str(state): [level * lag / settings.far + 0.01 * (seed % 3) for lag in settings.lags]
                    for state in settings.states
                },
                "accuracy": 0.5,
            }
            for seed in range(settings.seeds)
        ]
        for name, level in zip(ARMS, far, strict=True)
    }
    return Measured(values, dict.fromkeys(ARMS, 0.003))


@pytest.mark.parametrize(
    ("far", "accuracy", "verdict"),
    [
        ((-9.0,) * 6, (0.5,) * 6, HOLDS),
        ((-9.0,) * 6, (1.0,) * 6, DOES_NOT_HOLD),  # they learn without a gradient at that lag
        ((-1.0,) * 6, (0.5,) * 6, DOES_NOT_HOLD),  # they do not learn with one
        ((-9.0,) * 5 + (-1.0,), (0.5,) * 5 + (1.0,), DOES_NOT_HOLD),
        ((-9.0,) * 5 + (-3.005,), (0.5,) * 6, NOT_DECIDED),
    ],
)
def test_verdict(
    settings: training.Settings, known: Any, far: tuple[float, ...], accuracy: tuple[float, ...], verdict: str
) -> None:
    known(*accuracy)
    result = training.judge(rigged(settings, *far), settings)
    assert result.verdict == verdict
    assert "not specific to cnn" in result.shown
    assert bool(result.needed) == (verdict == NOT_DECIDED)


def test_gradient_that_arrives_at_one_state_has_not_vanished(settings: training.Settings, known: Any) -> None:
    known(*(0.5,) * 6)
    measured = rigged(settings, *(-9.0,) * 6)
    for value in measured.values["gru"]:
        value["log10_g"][str(settings.states[1])][-1] = -1.0
    result = training.judge(measured, settings)
    assert result.verdict == DOES_NOT_HOLD
    assert result.curves["verdicts"]["gru"] == DOES_NOT_HOLD
    assert result.curves["verdicts"]["lstm"] == HOLDS


def test_cost_below_the_slope_fails_the_claim(settings: training.Settings, known: Any) -> None:
    known(*(0.5,) * 6)
    steep = settings.model_copy(update={"slope": 2.5})
    assert training.judge(rigged(steep, *(-9.0,) * 6), steep).verdict == DOES_NOT_HOLD


def test_rank_correlation_is_one_where_accuracy_follows_the_gradient(settings: training.Settings, known: Any) -> None:
    far = (-9.0, -7.0, -5.0, -4.0, -2.0, -1.0)
    known(0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
    ranks = training.judge(rigged(settings, *far), settings).curves["rank_correlation"]
    assert [ranks[str(state)]["value"] for state in settings.states] == pytest.approx([1.0] * 4)


def test_equally_good_networks_have_no_rank_correlation(settings: training.Settings, known: Any) -> None:
    known(*(1.0,) * 6)
    result = training.judge(rigged(settings, *(-9.0, -8.0) * 3), settings)
    assert result.curves["rank_correlation"]["0"]["value"] is None
    assert "equally good" in result.shown


def test_figure_is_drawn_from_the_file_alone(settings: training.Settings, known: Any) -> None:
    known(0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
    described = training.judge(rigged(settings, *(-9.0, -4.0) * 3), settings).described()
    drawn = training.draw(json.loads(json.dumps(described, sort_keys=True)))
    assert [len(axes.lines) for axes in drawn.axes] == [8] * len(settings.states)


def test_learning_rates_are_those_of_the_temporal_dependency(settings: training.Settings, known: Any) -> None:
    known(*(1.0,) * 6)
    arms = training.arms(settings)
    assert list(arms) == list(ARMS)
    assert {arm.rate for arm in arms.values()} == {0.003}
    assert not any(arm.picks for arm in arms.values())


def test_results_that_do_not_fit_say_what_to_do(
    settings: training.Settings, known: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(*(1.0,) * 6, seeds=3)
    with pytest.raises(ParamsError, match=r"must have 8 seeds.*got 3 seeds.*`dvc repro"):
        training.arms(settings)
    monkeypatch.setattr(recorded, "FILE", tmp_path / "none.json")
    with pytest.raises(ParamsError, match="is missing; run `dvc repro"):
        training.arms(settings)


def test_arm_with_a_known_rate_takes_it_and_picks_none() -> None:
    assert (Arm({}, rate=0.02).picks, Arm({}, rate=0.02).rate_from(0.01)) == (False, 0.02)
    assert (Arm({}).picks, Arm({}).rate_from(0.01)) == (True, 0.01)
    assert (Arm({}, fixed=True).picks, Arm({}, fixed=True).rate_from(0.01)) == (False, 0.0)
