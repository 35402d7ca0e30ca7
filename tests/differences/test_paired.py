"""Paired trainings: rates are picked on other seeds, every arm counts the same seeds, and what is done is kept."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pipeline.differences import networks
from pipeline.differences.networks import cnn, field, made, matched, parameter_count, rnn
from pipeline.differences.optimise import generator, train
from pipeline.differences.paired import APART, Arm, Common, Measured, best_of, measure_all

SETTINGS = {"seeds": 3, "selection_seeds": 2, "rates": [0.1, 0.2], "steps": 1, "batch": 1}


@pytest.fixture
def difference(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A difference that trains nothing: `good` scores best with the higher rate, `bad` with the lower one."""

    def measure(arm: Mapping[str, Any], seed: int, rate: float, settings: Common, counts: bool) -> dict[str, Any]:
        module.calls.append((arm["name"], seed, rate, counts))
        return {"validation": rate * arm["sign"], "seed": seed}

    arms = {"good": Arm({"name": "good", "sign": 1}), "bad": Arm({"name": "bad", "sign": -1}),
            "follower": Arm({"name": "follower", "sign": 1}, rate_of="bad"),
            "untrained": Arm({"name": "untrained", "sign": 0}, fixed=True)}  # fmt: skip
    module = SimpleNamespace(
        __name__="rigged_difference", calls=[], Settings=Common, arms=lambda settings: arms, measure=measure
    )
    monkeypatch.setitem(sys.modules, "rigged_difference", module)  # type: ignore[arg-type]
    return module


def measured(module: Any, work: Path, **changes: Any) -> Measured:
    return measure_all(module, Common(**SETTINGS | changes), work=work, workers=0, threads=1, title="rigged")


def test_rates_are_picked_on_seeds_that_do_not_count(difference: SimpleNamespace, tmp_path: Path) -> None:
    found = measured(difference, tmp_path)
    assert found.picked == {"good": 0.2, "bad": 0.1, "follower": 0.1, "untrained": 0.0}
    assert found.rates["good"] == {"0.1": pytest.approx(0.1), "0.2": pytest.approx(0.2)}
    assert {name: [value["seed"] for value in values] for name, values in found.values.items()} == {
        name: [0, 1, 2] for name in ("good", "bad", "follower", "untrained")
    }
    selecting = {(name, seed) for name, seed, _, counts in difference.calls if not counts}
    assert selecting == {(name, APART + seed) for name in ("good", "bad") for seed in range(2)}
    assert best_of(found, ["good", "bad"]) == "good"
    assert found.minus("good", "bad", "validation") == pytest.approx((0.3, 0.3, 0.3))


def test_what_was_measured_before_a_kill_is_not_measured_again(difference: SimpleNamespace, tmp_path: Path) -> None:
    whole = measured(difference, tmp_path)
    count = len(difference.calls)
    assert measured(difference, tmp_path) == whole and len(difference.calls) == count
    lost, damaged = sorted(tmp_path.glob("*.json"))[:2]
    lost.unlink()
    damaged.write_text('{"validation"', encoding="utf-8")
    assert measured(difference, tmp_path) == whole and len(difference.calls) == count + 2


def test_a_single_rate_is_measured_too_so_that_the_best_arm_can_be_picked(
    difference: SimpleNamespace, tmp_path: Path
) -> None:
    found = measured(difference, tmp_path, rates=[0.1])
    assert found.picked["good"] == 0.1 and best_of(found, ["bad", "good"]) == "good"


@pytest.mark.parametrize(
    ("architecture", "kernel_size", "depth", "expected"),
    [("resnet", 5, 3, 61), ("vgg", 5, 2, 29), ("wavenet", 3, 2, 15)],
)
def test_the_receptive_field_is_where_the_gradient_ends(
    architecture: str, kernel_size: int, depth: int, expected: int
) -> None:
    design = cnn(architecture, width=16, depth=depth, kernel_size=kernel_size)
    x = torch.randn(4, 2, 80, generator=generator(0, "x"), requires_grad=True)
    made(0, design, 2, 1, read="last")(x).sum().backward()
    assert x.grad is not None
    reached = (x.grad.abs().sum((0, 1)) > 0).nonzero()
    assert field(design) == expected == 80 - int(reached.min())
    assert field(rnn("gru", hidden=4)) is None


def test_networks_are_matched_by_either_size() -> None:
    target, example = 5000, torch.zeros(1, 7, 80)
    for make in (
        lambda width: cnn("resnet", width=width, depth=2, kernel_size=3),
        lambda size: rnn("lstm", hidden=size),
    ):
        found = matched(make, target, 7, 2)
        assert abs(parameter_count(made(0, found, 7, 2)) - target) / target < 0.1
        by_cost = matched(make, 400_000, 7, 2, example=example)
        assert abs(networks.multiply_adds(made(0, by_cost, 7, 2), example) - 400_000) / 400_000 < 0.1


def test_weights_and_batches_follow_from_the_seed_alone() -> None:
    design = rnn("gru", hidden=4)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, again, other = made(1, design, 2, 1), made(1, design, 2, 1), made(2, design, 2, 1)
    assert torch.equal(before, torch.random.get_rng_state())
    x = torch.ones(1, 2, 5)
    assert torch.equal(first(x), again(x)) and not torch.equal(first(x), other(x))
    assert torch.equal(torch.rand(3, generator=generator(0, "a")), torch.rand(3, generator=generator(0, "a")))
    assert not torch.equal(torch.rand(3, generator=generator(0, "a")), torch.rand(3, generator=generator(0, "b")))


def test_torchs_own_initialisation_is_another_one() -> None:
    ours, torchs = made(0, rnn("lstm", hidden=8), 2, 1), made(0, rnn("lstm", hidden=8, initialisation="torch"), 2, 1)
    weights = [network.encoder.scans[0].ahead.weight_hh_l0[:8].detach() for network in (ours, torchs)]
    errors = [float((weight @ weight.T - torch.eye(8)).abs().max()) for weight in weights]
    assert errors[0] < 1e-5 < 0.1 < errors[1]


def test_training_is_watched_before_the_steps_that_are_named() -> None:
    network, seen = torch.nn.Linear(1, 1), []
    x = torch.ones(4, 1)
    train(
        network, lambda: x, lambda net, batch: (net(batch) - 3).square().mean(), steps=50, rate=0.3,
        watch={step: lambda: seen.append((float(network(x[:1]).detach()), network.training)) for step in (0, 25, 50)},
    )  # fmt: skip
    errors = [abs(answer - 3) for answer, _ in seen]
    assert errors[0] > errors[1] > errors[2] < 0.1 and not any(training for _, training in seen)


def test_results_survive_a_round_trip_through_json(difference: SimpleNamespace, tmp_path: Path) -> None:
    found = measured(difference, tmp_path)
    assert json.loads(json.dumps(found.values)) == {name: list(values) for name, values in found.values.items()}
