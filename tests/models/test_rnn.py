"""What only recurrent scans promise."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from pipeline.models.rnn.encoder import RNN
from pipeline.models.rnn.scans import patches, reverse, segments


def build(architecture: str = "lstm", dimensions: int = 1, causal: bool = True, **parameters: Any) -> RNN:
    torch.manual_seed(0)
    chosen = {"hidden": 5, "layers": 2, "patch": 1, "dropout": 0.0, "forget_bias": 1.0, **parameters}
    return RNN(2, dimensions, causal, architecture=architecture, **chosen)


def test_segments_end_at_the_last_step_of_each_sequence() -> None:
    x = torch.arange(1.0, 6.0).view(1, 1, 5).repeat(2, 1, 1)
    assert segments(x, 2, None)[0].tolist() == [[0, 1], [2, 3], [4, 5]]
    cut = segments(x, 2, torch.tensor([5, 4]))
    assert cut[0].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert cut[1].tolist() == [[1, 2], [3, 4], [0, 0]]


def test_patches_are_filled_up_with_zeros_on_the_right_and_below() -> None:
    x = torch.arange(1.0, 10.0).view(1, 1, 3, 3)
    cut = patches(x, 2)
    assert cut.shape == (1, 2, 2, 4)
    assert cut[0, 0, 0].tolist() == [1, 2, 4, 5]
    assert cut[0, 1, 1].tolist() == [9, 0, 0, 0]


def test_sequences_are_reversed_within_their_length() -> None:
    x = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8]])[:, :, None]
    turned = reverse(x, torch.tensor([4, 2]))[:, :, 0]
    assert turned.tolist() == [[4, 3, 2, 1], [6, 5, 7, 8]]
    assert reverse(x, None)[:, :, 0].tolist() == [[4, 3, 2, 1], [8, 7, 6, 5]]


def test_both_directions_equal_a_packed_bidirectional_network() -> None:
    network = build(causal=False, layers=1)
    scan = network.scans[0]
    packed = nn.LSTM(2, 5, batch_first=True, bidirectional=True)
    weights = dict(scan.ahead.state_dict())
    weights.update({f"{key}_reverse": value for key, value in scan.back.state_dict().items()})
    packed.load_state_dict(weights)
    x, lengths = torch.randn(3, 2, 9), torch.tensor([9, 4, 1])
    sequence = nn.utils.rnn.pack_padded_sequence(x.transpose(1, 2), lengths, batch_first=True)
    expected, _ = nn.utils.rnn.pad_packed_sequence(packed(sequence)[0], batch_first=True, total_length=9)
    inside = torch.arange(9) < lengths[:, None]
    assert torch.allclose(network(x, lengths), (scan.norm(expected) * inside[:, :, None]).transpose(1, 2), atol=1e-5)


def test_forget_bias_is_set_once_and_only_in_the_lstm() -> None:
    recurrent = build(forget_bias=2.5).scans[1].ahead
    assert recurrent.bias_ih_l0.tolist() == [0.0] * 5 + [2.5] * 5 + [0.0] * 10
    assert recurrent.bias_hh_l0.abs().sum() == 0
    for architecture in ("rnn", "gru"):
        one, other = (build(architecture, forget_bias=bias).state_dict() for bias in (0.0, 2.5))
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_recurrent_weights_of_every_gate_are_orthogonal() -> None:
    for gate in build().scans[0].ahead.weight_hh_l0.split(5):
        assert torch.allclose(gate @ gate.T, torch.eye(5), atol=1e-5)


def test_a_high_forget_bias_keeps_the_gradient_over_a_long_lag() -> None:
    def share_of_first_step(forget_bias: float) -> float:
        x = torch.randn(4, 2, 100, generator=torch.Generator().manual_seed(0)).requires_grad_()
        build(layers=1, forget_bias=forget_bias)(x)[:, 0, -1].sum().backward()
        assert x.grad is not None
        return (x.grad[:, :, 0].norm() / x.grad[:, :, -1].norm()).item()

    assert share_of_first_step(5.0) > 1e-3
    assert share_of_first_step(0.0) < 1e-9


@pytest.mark.parametrize("architecture", RNN.ARCHITECTURES)
def test_every_patch_of_a_grid_sees_the_whole_picture_after_one_layer(architecture: str) -> None:
    network = build(architecture, dimensions=2, causal=False, layers=1, patch=2)
    x = torch.randn(1, 2, 8, 6, requires_grad=True)
    network(x)[0, :, 2, 1].square().sum().backward()
    assert x.grad is not None
    assert (x.grad != 0).all()
