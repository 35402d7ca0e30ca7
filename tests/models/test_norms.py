"""Norms over steps: those of torch where nothing is padded, and blind to padding where something is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pipeline.models.norms import StepNorm, normed

CHANNELS = 5


def sequences(*lengths: int, padding: int = 0) -> tuple[Tensor, Tensor]:
    """(B, C, 1, T) with anything but zeros behind the lengths, and the mask (B, 1, 1, T) of what is known."""
    generator = torch.Generator().manual_seed(1)
    known = [torch.randn(CHANNELS, 1, length, generator=generator) * 3 + 1 for length in lengths]
    steps = max(lengths) + padding
    x = torch.stack([nn.functional.pad(one, (0, steps - one.shape[-1]), value=77.0) for one in known])
    return x, (torch.arange(steps) < torch.tensor(lengths)[:, None])[:, None, None]


def trained(padding: int) -> tuple[Tensor, Tensor, StepNorm]:
    """What a norm makes of three sequences in training, the gradient that comes back, and the norm."""
    norm = StepNorm(CHANNELS)
    x, mask = sequences(7, 3, 5, padding=padding)
    x.requires_grad_()
    y = normed(norm, x, mask) * mask
    (y**3).sum().backward()
    assert x.grad is not None
    return y[..., :7].detach(), x.grad[..., :7], norm


def test_without_padding_it_is_the_batch_norm_of_torch() -> None:
    ours, theirs = StepNorm(CHANNELS), nn.BatchNorm2d(CHANNELS)
    theirs.load_state_dict(ours.state_dict(), strict=False)
    x, _ = sequences(6, 6, 6)
    for training in (True, True, False):
        torch.testing.assert_close(normed(ours.train(training), x, None), theirs.train(training)(x))
    torch.testing.assert_close(ours.running_var, theirs.running_var)


def test_padding_is_left_out_of_the_statistics() -> None:
    y, _, norm = trained(padding=2)
    x, mask = sequences(7, 3, 5)
    steps = x.movedim(1, -1)[mask.squeeze(1)]  # (15, C), the known ones alone
    reference = nn.BatchNorm1d(CHANNELS)
    torch.testing.assert_close(y.movedim(1, -1)[mask.squeeze(1)], reference(steps))
    torch.testing.assert_close(norm.running_mean, reference.running_mean)
    torch.testing.assert_close(norm.running_var, reference.running_var)


def test_further_padding_changes_no_output_no_gradient_and_no_statistic() -> None:
    (first, gradient, norm), (second, other, padded) = trained(0), trained(9)
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(gradient, other)
    assert (other[0, ..., 3:] != 0).any() and (other[1, ..., 3:] == 0).all(), "nothing flows from what is not there"
    torch.testing.assert_close(dict(norm.named_buffers()), dict(padded.named_buffers()))


def test_in_evaluation_each_step_is_by_itself() -> None:
    norm = trained(0)[2].eval()
    x, mask = sequences(7, 3, 5)
    torch.testing.assert_close(normed(norm, x, mask)[1:, ..., :3], normed(norm, x[1:, ..., :3], None))


def test_a_single_step_has_no_deviation_and_no_gap_in_its_figures() -> None:
    for x, mask in (sequences(1, padding=3), (sequences(1)[0], None)):
        norm = StepNorm(CHANNELS)
        assert torch.isfinite(normed(norm, x, mask)).all() and torch.isfinite(norm.running_var).all()


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
def test_statistics_have_the_type_of_the_weights(kind: torch.dtype) -> None:
    x, mask = sequences(7, 3, 5)
    norm = StepNorm(CHANNELS).to(kind)
    assert normed(norm, x.to(kind), mask).dtype == norm.running_mean.dtype == kind


def test_half_precision_by_autocast_keeps_the_statistics_exact() -> None:
    x, mask = sequences(7, 3, 5)
    exact, norm = StepNorm(CHANNELS), StepNorm(CHANNELS)
    whole = normed(exact, x, mask) * mask
    with torch.autocast("cpu", torch.bfloat16):
        half = normed(norm, x.bfloat16(), mask) * mask
    torch.testing.assert_close(half.float(), whole, rtol=0.05, atol=0.05)
    assert half.dtype == torch.bfloat16 and norm.running_mean.dtype == torch.float32
