"""Features: probes and stored letters of known states, and rigged probes that lead to every verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from pipeline.differences import features as subject
from pipeline.differences.networks import made
from pipeline.differences.optimise import generator
from pipeline.differences.paired import Measured
from pipeline.differences.settings import chosen
from pipeline.differences.verdicts import DOES_NOT_HOLD, HOLDS, NOT_DECIDED

PARAMS = Path(__file__).parents[2] / "differences/params.yaml"
SETTINGS = chosen(PARAMS, "features", subject.Settings)[1]


def test_objects_are_pairs_of_parts_in_order_with_a_gap() -> None:
    x, kind, parts, ends = subject.sequences(generator(0, "x"), 400, SETTINGS)
    letters = x.argmax(1)
    words: dict[int, set[tuple[int, ...]]] = {part: set() for part in range(4)}
    for row in range(400):
        for part, end in zip(parts[row].tolist(), ends[row].tolist(), strict=True):
            words[part].add(tuple(letters[row, end - SETTINGS.part + 1 : end + 1].tolist()))
    assert all(len(found) == 1 for found in words.values()) and len(set.union(*words.values())) == 4, "four parts"
    assert len({(int(one), *pair) for one, pair in zip(kind, parts.tolist(), strict=True)}) == 4, "four pairs"
    gaps = ends[:, 1] - ends[:, 0] - SETTINGS.part
    assert (int(gaps.min()), int(gaps.max())) == tuple(SETTINGS.gap)
    assert int(ends.max()) < SETTINGS.length


@pytest.mark.parametrize("place", [0, 1])
def test_either_part_alone_leaves_two_objects_open(place: int) -> None:
    _, kind, parts, _ = subject.sequences(generator(0, "x"), 400, SETTINGS)
    for part in parts[:, place].unique():
        assert len(kind[parts[:, place] == part].unique()) == 2


def test_a_layer_that_sees_one_part_at_a_time_knows_parts_and_not_objects() -> None:
    """Known answers for the hierarchy: a layer that sees the letters of one part, and one that remembers the first."""
    x, kind, parts, ends = subject.sequences(generator(0, "x"), 1024, SETTINGS)
    shuffle = torch.randperm(1024, generator=generator(0, "shuffled"))
    one = torch.cat([x.roll(step, dims=2) for step in range(SETTINGS.part)], dim=1)
    first = functional.one_hot(parts[:, 0], 4).float()[:, :, None].expand(-1, -1, x.shape[2])
    found = subject.probed([one, torch.cat([one, first], dim=1)], kind, parts, ends, shuffle)
    assert found["part"] == pytest.approx([0.75, 0.75], abs=0.08)
    assert found["object"] == pytest.approx([0.25, 0.75], abs=0.08)
    assert subject.slope([found["object"][layer] - found["part"][layer] for layer in (0, 1)]) > 0.4


def test_probes_find_what_is_linear_and_nothing_else() -> None:
    draw = generator(0, "probe")
    labels = torch.randint(4, (1000,), generator=draw)
    shuffle = torch.randperm(1000, generator=draw)
    noise = torch.randn(1000, 6, generator=draw)
    known = torch.cat([noise, functional.one_hot(labels, 4).float()], dim=1)
    assert subject.probe(known, labels, shuffle, 4) == pytest.approx(0.75, abs=0.06)
    assert subject.probe(noise, labels, shuffle, 4) == pytest.approx(0, abs=0.08)


def test_a_state_that_keeps_three_letters_stores_three_letters() -> None:
    letters = torch.randint(8, (800, 30), generator=generator(0, "letters"))
    x = functional.one_hot(letters, 8).transpose(1, 2).float()
    state = torch.cat([x[:, :, -1 - k] for k in range(3)], dim=1)[:, :, None].expand(-1, -1, 30)
    found = subject.stored(state, x, 5)
    assert found[:3] == pytest.approx([1, 1, 1], abs=0.02) and max(found[3:]) < 0.05


def test_every_layer_of_either_family_is_seen() -> None:
    x = torch.zeros(2, SETTINGS.letters, 20)
    for design in subject.designs(SETTINGS).values():
        layers = subject.layers_of(made(0, design, SETTINGS.letters, 4).eval(), x)
        assert len(layers) == subject.LAYERS and all(layer.shape[::2] == (2, 20) for layer in layers)


def rigged(cnn: float, gru: float, areas: tuple[float, float]) -> Measured:
    """Slopes of both families, and how much their states store."""

    def value(gain: float, area: float, sign: int) -> dict[str, Any]:
        gain += 0.002 * sign
        return {"part": [0.5] * 4, "object": [0.1 + gain * layer for layer in range(4)], "stored": [area + 0.01 * sign],
                "validation": 1.0}  # fmt: skip

    values = {
        "cnn": [value(cnn, areas[0], (-1) ** seed) for seed in range(8)],
        "gru": [value(gru, areas[1], -((-1) ** seed)) for seed in range(8)],
    }
    return Measured(values, {}, {})


@pytest.mark.parametrize(
    ("cnn", "gru", "areas", "expected"),
    [
        (0.2, 0.0, (0.1, 0.5), HOLDS),
        (0.2, 0.1, (0.1, 0.5), HOLDS),
        (0.1, 0.2, (0.1, 0.5), "depends on depth"),
        (0.1, 0.1, (0.1, 0.5), "depends on depth"),
        (0.0, 0.2, (0.1, 0.5), DOES_NOT_HOLD),
        (0.2, 0.0, (0.5, 0.1), DOES_NOT_HOLD),
        (0.2, 0.0, (0.3, 0.3), NOT_DECIDED),
    ],
)
def test_the_verdict_follows_from_slopes_and_areas(
    cnn: float, gru: float, areas: tuple[float, float], expected: str
) -> None:
    result = subject.judge(rigged(cnn, gru, areas), SETTINGS)
    assert result.verdict == expected
    assert bool(result.needed) == (expected == NOT_DECIDED) != bool(result.advice)


def test_the_figure_is_drawn_from_the_result_alone() -> None:
    described = json.loads(json.dumps(subject.judge(rigged(0.2, 0.0, (0.1, 0.5)), SETTINGS).described()))
    assert [axes.get_title() for axes in subject.draw(described).axes] == [
        "cnn: probes", "gru: probes", "What the state stores",
    ]  # fmt: skip
