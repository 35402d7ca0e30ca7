"""Connectivity: Jacobians of known networks, the steps that hold their mass, and every verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.differences import connectivity as subject
from pipeline.differences.networks import made
from pipeline.differences.optimise import generator
from pipeline.differences.paired import Measured
from pipeline.differences.settings import chosen
from pipeline.differences.verdicts import DOES_NOT_HOLD, HOLDS, NOT_DECIDED

PARAMS = Path(__file__).parents[2] / "differences/params.yaml"
SETTINGS = chosen(PARAMS, "connectivity", subject.Settings)[1]
NAMES = list(subject.designs(SETTINGS))


class Weighted(torch.nn.Module):
    """Adds up what came d steps ago with a weight of its own for every d: the Jacobian is known."""

    def __init__(self, weights: list[float]) -> None:
        super().__init__()
        self.weights = torch.tensor(weights).flip(0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = (x[:, 0, -len(self.weights) :] * self.weights).sum(1)
        return torch.stack([found, -found], dim=1)


def test_the_mass_of_a_known_network_lies_where_its_weights_do() -> None:
    mass = subject.mass_by_lag(Weighted([3.0, 0.0, 1.0]), torch.randn(5, 2, 10, generator=generator(0, "x")))
    assert mass == pytest.approx([0.9, 0, 0.1, *[0.0] * 7])
    assert subject.k90(mass) == 1 and subject.k90([0.5, 0.3, 0.1, 0.1]) == 3 and subject.k90([0.1] * 10) == 9


@pytest.mark.parametrize(("name", "field"), [("resnet", 61), ("vgg", 29)])
def test_no_mass_lies_beyond_a_receptive_field(name: str, field: int) -> None:
    network = made(0, subject.designs(SETTINGS)[name], SETTINGS.channels, 2).eval()
    x, _ = subject.sequences(generator(0, "x"), 4, subject.FAR, SETTINGS)
    mass = subject.mass_by_lag(network, x)
    assert len(mass) == SETTINGS.length and sum(mass[field:]) == 0 < mass[field - 1]


def test_what_is_near_ends_the_sequence_and_what_is_far_does_not() -> None:
    near, word = subject.sequences(generator(0, "x"), 100, subject.NEAR, SETTINGS)
    far, first = subject.sequences(generator(0, "x"), 100, subject.FAR, SETTINGS)
    assert near.shape == far.shape == (100, SETTINGS.channels, SETTINGS.length)
    ends = {(int(kind), tuple(row[-SETTINGS.word :].tolist())) for kind, row in zip(word, near.argmax(1), strict=True)}
    assert len(ends) == 2 and {kind for kind, _ in ends} == {0, 1}
    place = SETTINGS.length - 1 - SETTINGS.lag
    assert torch.equal(far.argmax(1)[:, place] - SETTINGS.distractors, first)


def rigged(reach: dict[str, tuple[int, int]]) -> Measured:
    """Networks that look so many steps back, recurrent and convolutional, in every state."""

    def mass(steps: int, seed: int) -> list[float]:
        steps = max(1, steps + seed % 2)
        return [1 / steps] * steps + [0.0] * (SETTINGS.length - steps)

    def value(name: str, task: str, seed: int) -> dict[str, Any]:
        side = 0 if name in subject.RECURRENT else 1
        found = {task: mass(reach[task][side], seed), "validation": 1.0}
        return {**found, subject.START: mass(reach[subject.START][side], seed)} if task == subject.NEAR else found

    values = {
        f"{name}, {task}": [value(name, task, seed) for seed in range(8)]
        for name in NAMES for task in (subject.NEAR, subject.FAR)
    }  # fmt: skip
    return Measured(values, {}, {})


@pytest.mark.parametrize(
    ("start", "near", "far", "expected"),
    [
        ((60, 10), (40, 10), (80, 20), HOLDS),
        ((10, 60), (10, 40), (20, 80), DOES_NOT_HOLD),
        ((10, 60), (40, 10), (80, 20), "depends on training"),
        ((30, 30), (40, 10), (80, 20), NOT_DECIDED),
    ],
)
def test_the_verdict_follows_from_how_far_they_look(start: Any, near: Any, far: Any, expected: str) -> None:
    result = subject.judge(rigged({subject.START: start, subject.NEAR: near, subject.FAR: far}), SETTINGS)
    assert result.verdict == expected and bool(result.needed) == (expected == NOT_DECIDED) != bool(result.advice)
    sizes = [found["parameters"] for name, found in result.sizes.items() if name not in ("resnet", "vgg")]
    assert max(sizes) / min(sizes) < 1.05


def test_the_figure_is_drawn_from_the_result_alone() -> None:
    found = rigged({subject.START: (60, 10), subject.NEAR: (40, 10), subject.FAR: (80, 20)})
    described = json.loads(json.dumps(subject.judge(found, SETTINGS).described(), sort_keys=True))
    assert len(subject.draw(described).axes) == 2
