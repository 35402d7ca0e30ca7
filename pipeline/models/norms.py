"""Normalisations of convolutional features, which lie channels last in memory."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each position (Ba et al., 2016).

    Causal sequences use it because it knows one position only: in training the statistics of a batch norm, which mix
    all steps, would carry the future into the past.
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class StepNorm(nn.Module):
    """Batch normalisation (Ioffe and Szegedy, 2015) over the steps of sequences, those of padding left out.

    Unlike a norm of each position it keeps how strongly a pattern shows at one step compared to another one.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Maps (B, C, 1, T) to the same shape; where lengths differ with a mask (B, 1, 1, T)."""
        if mask is None and self.training and x.shape[0] * x.shape[-1] == 1:
            mask = x.new_ones(1, dtype=torch.bool)  # torch refuses a single value, which here has no deviation
        if mask is None or not self.training:
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum, self.eps
            )
        count, known = mask.sum(), x.to(self.running_mean.dtype) * mask
        mean = known.sum((0, 2, 3), keepdim=True) / count
        variance = ((known - mean).square() * mask).sum((0, 2, 3), keepdim=True) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean.flatten(), self.momentum)
            self.running_var.lerp_(variance.flatten() * count / (count - 1).clamp(min=1), self.momentum)
        scale = self.weight.view(1, -1, 1, 1) * torch.rsqrt(variance + self.eps)
        return ((x - mean) * scale + self.bias.view(1, -1, 1, 1)).to(x.dtype)


def normed(norm: nn.Module, x: Tensor, mask: Tensor | None) -> Tensor:
    """Applies a norm; that of a grid takes no mask, whatever a trainer has put in its place."""
    y: Tensor = norm(x) if mask is None else norm(x, mask)
    return y
