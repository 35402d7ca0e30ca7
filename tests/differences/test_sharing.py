"""Difference 5: known answers of its data, of tied and untied layers, and of its verdicts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.differences import sharing
from pipeline.differences.of_sharing import moved_digits, untied
from pipeline.differences.optimise import generator
from pipeline.differences.paired import Measured
from pipeline.differences.sequences import motif_in_half, running_count
from pipeline.differences.settings import chosen
from pipeline.differences.verdicts import DOES_NOT_HOLD, HOLDS, NOT_DECIDED

LENGTH, SYMBOLS, WIDTH = 12, 5, 3


@pytest.fixture(scope="module")
def settings(root: Path) -> sharing.Settings:
    """Those of the repository, with fewer lengths: counting the operations of long ones takes most of the time."""
    values = chosen(root / "differences" / "params.yaml", "sharing", sharing.Settings)[1]
    return values.model_copy(update={"lengths": [6, 24, 96]})


@pytest.mark.parametrize("half", [0, 1])
def test_motif_lies_whole_in_its_half_and_its_order_is_the_class(half: int) -> None:
    x, classes = motif_in_half(generator(0, "test"), 200, 32, half, 8)
    rows = x.argmax(1).tolist()
    motifs = ([0, 1, 2, 3], [3, 2, 1, 0])
    for row, motif in zip(rows, classes.tolist(), strict=True):
        begins = range(half * 16, half * 16 + 13)
        assert any(row[begin : begin + 4] == motifs[motif] for begin in begins)
    assert 60 < int(classes.sum()) < 140


def test_running_count_is_the_number_of_ones_so_far() -> None:
    x, classes = running_count(generator(0, "test"), 3, 9, 3)
    bits = x.argmax(1).tolist()
    assert classes.tolist() == [[sum(row[: step + 1]) % 3 for step in range(9)] for row in bits]


def test_tied_convolution_answers_a_shifted_motif_as_before_and_an_untied_one_does_not() -> None:
    x = torch.zeros(1, SYMBOLS, LENGTH)
    x[0, [0, 1, 2, 3], [2, 3, 4, 5]] = 1.0
    layers = [
        untied.layer("convolution", tied, 0, length=LENGTH, symbols=SYMBOLS, width=WIDTH) for tied in (True, False)
    ]
    with torch.no_grad():
        changes = [float((layer(x) - layer(x.roll(3, 2))).abs().max()) for layer in layers]
    assert changes[0] < 1e-6 < 1e-3 < changes[1]


@pytest.mark.parametrize("name", ["convolution", "cell"])
def test_untied_layer_with_equal_weights_everywhere_is_the_tied_one(name: str) -> None:
    tied, free = (untied.layer(name, tied, 0, length=LENGTH, symbols=SYMBOLS, width=WIDTH) for tied in (True, False))
    ones = dict(tied.named_parameters())
    with torch.no_grad():
        for key, weight in free.named_parameters():
            weight.copy_(ones[key].expand_as(weight))
        x = torch.randn(2, SYMBOLS, LENGTH, generator=generator(0, "x"))
        torch.testing.assert_close(free(x), tied(x))


@pytest.mark.parametrize("name", ["convolution", "cell"])
def test_untied_weights_of_places_without_motifs_see_none(name: str) -> None:
    """The weights behind the first half get no gradient from what lies in it, where nothing carries it on."""
    layer = untied.layer(name, False, 0, length=LENGTH, symbols=SYMBOLS, width=WIDTH)
    x = torch.zeros(1, SYMBOLS, LENGTH)
    x[0, 0, 2] = 1.0
    layer(x).sum().backward()
    gradient = layer.weights.grad
    assert gradient is not None
    assert not gradient[LENGTH // 2 :].any()


def test_tied_cell_is_the_plain_recurrence() -> None:
    layer = untied.layer("cell", True, 0, length=LENGTH, symbols=SYMBOLS, width=WIDTH)
    reference = nn.RNN(SYMBOLS, WIDTH, batch_first=True)
    with torch.no_grad():
        reference.weight_ih_l0.copy_(layer.weights[0].T)
        reference.weight_hh_l0.copy_(layer.recurrent[0].T)
        reference.bias_ih_l0.zero_()
        reference.bias_hh_l0.zero_()
        x = torch.randn(2, SYMBOLS, LENGTH, generator=generator(0, "x"))
        torch.testing.assert_close(layer(x), layer.head(reference(x.transpose(1, 2))[0].mean(1)))


def test_widths_are_matched_in_multiply_adds_and_not_in_parameters(settings: sharing.Settings) -> None:
    for name in sharing.LAYERS:
        tied, free = (sharing.task(settings).sizes(name, tied) for tied in (True, False))
        assert tied["multiply_adds"] == free["multiply_adds"]
        assert free["parameters"] > 20 * tied["parameters"]


def test_counting_network_sees_every_tested_length(settings: sharing.Settings) -> None:
    designs = sharing.counting_designs()
    assert (sharing.networks.field(designs["cnn"]) or 0) >= 2 * max(settings.lengths) == 192
    sizes = [sharing.networks.parameter_count(sharing.made(0, design, 2, 2)) for design in designs.values()]
    assert max(sizes) < 1.05 * min(sizes)


class _Brightest(nn.Module):
    """Answers by the row of the brightest pixel, or always the same."""

    def __init__(self, blind: bool) -> None:
        super().__init__()
        self.blind = blind

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(1).argmax(1) // x.shape[3] * (0 if self.blind else 1)
        return nn.functional.one_hot(rows, x.shape[2]).float()


def test_consistency_is_one_of_a_blind_network_and_none_of_one_that_reads_the_row() -> None:
    x = torch.zeros(4, 1, 6, 6)
    x[torch.arange(4), 0, torch.arange(4), 2] = 1.0
    moved = x.roll(1, 2)
    assert moved_digits.consistency(_Brightest(True), x, moved, torch.zeros(4)) == (1.0, 1.0)
    assert moved_digits.consistency(_Brightest(False), x, moved, torch.arange(4)) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("tied", "free", "recurrent", "convolutional", "verdict"),
    [
        (0.95, 0.5, 0.9, 0.5, HOLDS),
        (0.5, 0.7, 0.9, 0.5, DOES_NOT_HOLD),
        (0.95, 0.5, 0.55, 0.52, DOES_NOT_HOLD),
        (0.95, 0.5, 0.62, 0.52, NOT_DECIDED),
    ],
)
def test_verdict(
    settings: sharing.Settings, tied: float, free: float, recurrent: float, convolutional: float, verdict: str
) -> None:
    result = sharing.judge(rigged(settings, tied, free, recurrent, convolutional), settings)
    assert result.verdict == verdict
    assert bool(result.needed) == (verdict == NOT_DECIDED)
    assert "best recurrent network (gru)" in result.shown


def test_figure_is_drawn_from_the_file_alone(settings: sharing.Settings) -> None:
    described = sharing.judge(rigged(settings, 0.9, 0.5, 0.9, 0.5), settings).described()
    drawn = sharing.draw(json.loads(json.dumps(described, sort_keys=True)))
    assert [len(axes.lines) > 4 for axes in drawn.axes] == [True, True]


def rigged(settings: sharing.Settings, tied: float, free: float, recurrent: float, convolutional: float) -> Measured:
    """Measurements around the given accuracies; gru is the best recurrent network on the seeds that pick."""
    shifts = [0.004 * (seed % 3 - 1) for seed in range(settings.seeds)]
    values: dict[str, Any] = {}
    for name in sharing.LAYERS:
        for kind, level in ((sharing.TIED, tied), (sharing.UNTIED, free)):
            rows = [[level + shift * (1 if kind == sharing.TIED else -1)] * 3 for shift in shifts]
            values[f"{name}, {kind}"] = [{"own": row, "other": row, "validation": row[0]} for row in rows]
    for name, level in {"cnn": convolutional, "rnn": 0.5, "lstm": 0.6, "gru": recurrent}.items():
        rows = [[level + shift * (1 if name == "gru" else -1)] * len(settings.lengths) for shift in shifts]
        values[name] = [{"accuracy": row, "tasks": [row, row], "validation": row[0]} for row in rows]
    for name in moved_digits.designs():
        values[name] = [{"accuracy": 0.9, "consistency": 0.8, "validation": 0.8}] * settings.seeds
    rates = {"rnn": {"0.01": 0.5}, "lstm": {"0.01": 0.6}, "gru": {"0.01": 0.7}}
    return Measured(values, dict.fromkeys(values, 0.01), rates)
