"""What only convolutions promise."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from pipeline.models.cnn.blocks import Layout
from pipeline.models.cnn.encoder import CNN
from pipeline.models.norms import ChannelNorm, StepNorm


def build(architecture: str = "resnet", dimensions: int = 1, causal: bool = True, **parameters: Any) -> CNN:
    torch.manual_seed(0)
    chosen = {"width": 16, "depth": 3, "kernel_size": 3, "dropout": 0.0, **parameters}
    return CNN(2, dimensions, causal, architecture=architecture, **chosen)


def test_padding_keeps_the_size_and_lies_on_the_left_of_a_causal_sequence() -> None:
    assert Layout(sequence=True, causal=True, dilation=4).padding(3) == (8, 0, 0, 0)
    assert Layout(sequence=True, causal=False, dilation=4).padding(3) == (4, 4, 0, 0)
    assert Layout(sequence=False, causal=False, dilation=1).padding(5) == (2, 2, 2, 2)
    assert Layout(sequence=False, causal=False, dilation=1).padding(2) == (0, 1, 0, 1)


@pytest.mark.parametrize("architecture", CNN.ARCHITECTURES)
def test_reach_of_a_causal_stack_grows_with_two_to_the_depth(architecture: str) -> None:
    # the stem sees 2 steps back, the two convolutions of level i see 2 * 2 * 2^i: 2 + 4 + 8 + 16; textcnn has no stem
    # and one convolution of up to two steps more: 4 + 8 + 16
    network = build(architecture).double().eval()
    x = torch.randn(1, 2, 64, dtype=torch.float64, requires_grad=True)
    network(x)[0, :, -1].square().sum().backward()
    assert x.grad is not None
    seen = (x.grad.abs().sum(dim=(0, 1)) > 0).nonzero().flatten()
    assert seen.min().item() == 63 - (28 if architecture == "textcnn" else 30)


def test_one_level_of_textcnn_is_one_layer_of_three_widths() -> None:
    network = build("textcnn", causal=False, depth=1, width=30).double().eval()
    assert sum(parameter.numel() for parameter in network.parameters()) == 2 * 10 * (3 + 4 + 5) + 2 * 30
    x = torch.randn(1, 2, 21, dtype=torch.float64, requires_grad=True)
    for channel, seen in ((0, [9, 10, 11]), (15, [9, 10, 11, 12]), (25, [8, 9, 10, 11, 12])):
        place = network.levels[0].kernels[channel // 10](x.unsqueeze(2), None)[0, channel % 10, 0, 10]
        (gradient,) = torch.autograd.grad(place, x)
        assert gradient.abs().sum(dim=(0, 1)).nonzero().flatten().tolist() == seen


@pytest.mark.parametrize("architecture", CNN.ARCHITECTURES)
@pytest.mark.parametrize("kernel_size", [2, 5, 8])
def test_any_kernel_keeps_the_length_of_a_sequence(architecture: str, kernel_size: int) -> None:
    for causal in (True, False):
        assert build(architecture, causal=causal, kernel_size=kernel_size)(torch.randn(2, 2, 9)).shape == (2, 16, 9)


def test_grids_halve_and_double_from_level_to_level() -> None:
    network = build("vgg", dimensions=2, causal=False, width=16)
    assert (network.out_channels, network.stride) == (64, 8)
    assert network(torch.randn(2, 2, 28, 28)).shape == (2, 64, 4, 4)


def test_causal_sequences_have_no_batch_statistics() -> None:
    def norms(**shape: Any) -> set[type]:
        kinds = (nn.BatchNorm2d, StepNorm, ChannelNorm)
        return {type(module) for module in build(**shape).modules() if isinstance(module, kinds)}

    assert norms(causal=True) == {ChannelNorm}
    assert norms(causal=False) == {StepNorm}
    assert norms(dimensions=2, causal=False) == {nn.BatchNorm2d}


def test_features_lie_with_their_channels_last_even_for_one_input_channel() -> None:
    network = CNN(1, 2, False, architecture="vgg", width=16, depth=1, kernel_size=3, dropout=0.0)
    assert network(torch.randn(2, 1, 8, 8)).is_contiguous(memory_format=torch.channels_last)


def test_small_nets_have_the_expected_size() -> None:
    counts = {}
    for architecture in CNN.ARCHITECTURES:
        network = CNN(1, 2, False, architecture=architecture, width=16, depth=3, kernel_size=3, dropout=0.0)
        counts[architecture] = sum(parameter.numel() for parameter in network.parameters())
    assert counts["vgg"] == 74352
    assert counts["resnet"] == 77104
