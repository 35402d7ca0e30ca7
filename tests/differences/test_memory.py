"""Memory: bits of known tables, sequences that ask what they showed, and rigged bits that lead to every verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.differences import memory as subject
from pipeline.differences.networks import cnn, rnn, state_bytes
from pipeline.differences.optimise import generator
from pipeline.differences.paired import Measured
from pipeline.differences.settings import chosen
from pipeline.differences.verdicts import DOES_NOT_HOLD, HOLDS, NOT_DECIDED

PARAMS = Path(__file__).parents[2] / "differences/params.yaml"
SETTINGS = chosen(PARAMS, "memory", subject.Settings)[1]
NAMES = list(subject.designs(SETTINGS))


def test_symbols_stand_their_delay_before_the_questions() -> None:
    x, symbols, count, delay = subject.sequences(generator(0, "x"), 200, SETTINGS)
    shown = x.argmax(1)
    assert x.shape == (200, SETTINGS.channels, SETTINGS.length) and bool((x.sum(1) == 1).all())
    for row in range(200):
        start = SETTINGS.length - 2 * SETTINGS.slots - int(delay[row])
        for slot in range(int(count[row])):
            assert shown[row, start + slot] == symbols[row, slot]
            assert shown[row, SETTINGS.length - SETTINGS.slots + slot] == SETTINGS.kinds + SETTINGS.distractors + slot
        assert int((shown[row] < SETTINGS.kinds).sum()) == count[row], "and nowhere else"
    assert set(count.tolist()) == set(SETTINGS.counts) and set(delay.tolist()) == set(SETTINGS.delays)


def test_a_shorter_delay_moves_the_same_symbols_closer() -> None:
    longest, shorter = max(SETTINGS.delays), min(SETTINGS.delays)
    x, symbols, _, _ = subject.sequences(generator(0, "x"), 20, SETTINGS, counts=[4], delays=[longest])
    moved = subject.closer(x, SETTINGS, shorter).argmax(1)
    start = SETTINGS.length - 2 * SETTINGS.slots - shorter
    assert torch.equal(moved[:, start : start + 4], symbols)
    assert torch.equal(subject.closer(x, SETTINGS, longest), x)
    assert torch.equal(moved.sort(1).values, x.argmax(1).sort(1).values), "nothing is added or lost"


def test_information_has_its_known_values() -> None:
    truth = torch.arange(8).repeat(64)
    mixed = truth[torch.randperm(len(truth), generator=generator(0, "mixed"))]
    assert subject.information(truth, truth, 8) == pytest.approx(3, abs=0.1)
    assert subject.information(truth, (truth + 3) % 8, 8) == pytest.approx(3, abs=0.1), "which name it has is no matter"
    assert subject.information(truth, truth // 4, 8) == pytest.approx(1, abs=0.05)
    assert subject.information(truth, torch.zeros_like(truth), 8) == pytest.approx(0, abs=1e-12)
    draws = [mixed[torch.randperm(len(mixed), generator=generator(seed, "again"))] for seed in range(40)]
    bits = [subject.information(truth, draw, 8) for draw in draws]
    assert sum(bits) / len(bits) == pytest.approx(0, abs=0.01), "the bias of few examples is taken away"


def test_an_oracle_recalls_all_bits_and_none_without_the_symbols() -> None:
    class Oracle(torch.nn.Module):
        """Finds the symbols wherever they stand; (B, kinds, T) with the answers at the questions."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            answers = torch.zeros(len(x), SETTINGS.kinds, x.shape[2])
            for row, steps in enumerate(x.argmax(1)):
                symbols = steps[steps < SETTINGS.kinds]
                for slot, symbol in enumerate(symbols.tolist()):
                    answers[row, symbol, x.shape[2] - SETTINGS.slots + slot] = 1
            return answers

    oracle: Any = Oracle()
    longest = max(SETTINGS.delays)
    bits = subject.recalled(oracle, 0, SETTINGS, [longest])
    assert bits["1"][str(longest)] == pytest.approx(3, abs=0.15)
    assert bits["4"][str(longest)] == pytest.approx(12, abs=0.5)
    assert subject.mean_at(bits, longest) == pytest.approx(7.5, abs=0.3)
    assert subject.mean_at(subject.recalled(oracle, 0, SETTINGS, [longest], ablate=True), longest) == pytest.approx(
        0, abs=1e-12
    )


def test_state_is_what_a_stream_has_to_keep() -> None:
    assert state_bytes(rnn("gru", hidden=10), 5) == 40 and state_bytes(rnn("lstm", hidden=10), 5) == 80
    # a stem over 5 channels and two convolutions over 16 with a dilation of 1: two steps of the past each
    assert state_bytes(cnn("resnet", width=16, depth=1, kernel_size=3), 5) == 4 * 2 * (5 + 2 * 16)
    assert state_bytes(cnn("resnet", width=16, depth=2, kernel_size=3), 5) == 4 * 2 * (5 + 2 * 16 + 2 * 2 * 16)


def rigged(whole: float, recurrent: float, short: float = 0.0, ablated: float = 0.0) -> Measured:
    def value(name: str, seed: int) -> dict[str, Any]:
        mean = {subject.WHOLE: whole, subject.SHORT: short}.get(name, recurrent)
        spread = 0.02 * (-1) ** seed * (1 if name in (subject.WHOLE, subject.SHORT) else -1)
        bits = {str(count): {str(delay): mean for delay in SETTINGS.delays} for count in SETTINGS.counts}
        return {"bits": bits, "validation": mean + spread, "ablated": ablated + spread}

    rates = {name: {"0.01": 2.0 if name == "lstm" else 1.0} for name in NAMES}
    return Measured({name: [value(name, seed) for seed in range(8)] for name in NAMES}, {}, rates)


@pytest.mark.parametrize(
    ("whole", "recurrent", "expected"),
    [
        (1.0, 4.0, HOLDS),
        (4.0, 4.1, "depends on the receptive field"),
        (4.0, 1.0, "depends on the receptive field"),
        (0.0, 0.0, DOES_NOT_HOLD),
        (4.0, 4.2, NOT_DECIDED),
    ],
)
def test_the_verdict_follows_from_the_bits(whole: float, recurrent: float, expected: str) -> None:
    result = subject.judge(rigged(whole, recurrent), SETTINGS)
    assert result.verdict == expected and "lstm − cnn" in result.effects[subject.WHOLE].statistic
    assert bool(result.needed) == (expected == NOT_DECIDED) != bool(result.advice)
    sizes = [found["parameters"] for found in result.sizes.values()]
    assert max(sizes) / min(sizes) < 1.05


def test_bits_that_should_not_be_there_are_reported() -> None:
    sound = subject.judge(rigged(4.0, 4.0), SETTINGS).controls
    leaking = subject.judge(rigged(4.0, 4.0, short=1.0, ablated=1.0), SETTINGS).controls
    assert all(found["passed"] for found in sound.values()) and not any(found["passed"] for found in leaking.values())


def test_the_figure_is_drawn_from_the_result_alone() -> None:
    described = json.loads(json.dumps(subject.judge(rigged(3.0, 4.0), SETTINGS).described(), sort_keys=True))
    assert [axes.get_title() for axes in subject.draw(described).axes] == [
        "1 symbol",
        "4 symbols",
        "Price of the memory",
    ]
