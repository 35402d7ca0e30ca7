"""The parts of series classification that training needs: networks, losses and what they are made of."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import Literal

import torch
from torch import Tensor, nn

from pipeline.data.tables import Card
from pipeline.models.encoder import Encoder, Pooling, pooled

Normalise = Literal["series", "train", "none"]


@dataclass(frozen=True)
class Augmentation:
    """Changes of normalised series in training, each by its own draw."""

    crop: float  # largest share of the steps that is cut off
    warp: float  # how far time is bent
    scaling: float  # deviation of the logarithm of a factor
    jitter: float  # deviation of noise, in units of the normalised values

    def __call__(self, values: Tensor, lengths: Tensor) -> Tensor:
        """Changes (B, C, T) with lengths (B,) to (B, C, T)."""
        if self.crop or self.warp:
            values = stretched(values, lengths, self.crop, self.warp)
        if self.scaling:
            values = values * torch.exp(self.scaling * torch.randn_like(values[..., :1]))
        if self.jitter:
            values = values + self.jitter * torch.randn_like(values)
        return values


class SeriesClassifier(nn.Module):
    """Encodes normalised series, pools the features over the steps and weighs the classes.

    A channel of ones goes with every series. Encoders may normalise each step by itself: with the ones a step keeps
    its size, and their end marks where the series begins and ends.
    """

    def __init__(
        self, encoder: Encoder, classes: int, *, pooling: Pooling, augmentation: Augmentation, label_smoothing: float
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.pooling: Pooling = pooling
        self.head = nn.Linear(encoder.out_channels * (2 if pooling == "mean_and_maximum" else 1), classes)
        self.augmentation, self.label_smoothing = augmentation, label_smoothing

    def forward(self, values: Tensor, lengths: Tensor | None) -> Tensor:
        """Maps (B, C, T) and, where they differ, lengths (B,) to (B, classes) logits."""
        ones = torch.ones_like(values[:, :1])
        features = self.encoder(torch.cat([values, ones], dim=1), lengths).float()  # (B, F, T'), zero in padding
        logits: Tensor = self.head(pooled(features, lengths, self.encoder.stride, self.pooling))
        return logits


def normalised(values: Tensor, lengths: Tensor, how: Normalise, card: Card) -> Tensor:
    """Puts (N, C, T) in units of each series' own deviation from its mean, or of all of train; zero behind the lengths.

    A channel that is constant in a series is shifted and not scaled.
    """
    if how == "none":
        return values
    known = torch.arange(values.shape[2], device=values.device) < lengths[:, None, None]
    if how == "train":
        mean, deviation = (
            torch.tensor(card[name], dtype=torch.float64).view(1, -1, 1) for name in ("mean", "deviation")
        )
    else:
        count = lengths[:, None, None]
        mean = values.double().sum(2, keepdim=True) / count
        deviation = (((values - mean) * known).square().sum(2, keepdim=True) / count).sqrt()
        low, high = values.masked_fill(~known, torch.inf), values.masked_fill(~known, -torch.inf)
        deviation[low.amin(2, keepdim=True) == high.amax(2, keepdim=True)] = 1.0  # rounding leaves something of it
    return ((values - mean) / deviation * known).float()


def stretched(values: Tensor, lengths: Tensor, crop: float, warp: float) -> Tensor:
    """Brings a random window of each series (B, C, T), its time bent, back to its length along straight lines.

    The window leaves out up to a share `crop` of the steps (Le Guennec et al. 2016). With `warp`, time runs up to so
    much faster at one end and slower at the other (a smooth form of Um et al. 2017). All channels move alike. What
    is behind the lengths is still padding, though not zero: encoders do not look at it.
    """
    size, start, bend = torch.rand(3, len(values), 1, device=values.device)
    last = (lengths - 1)[:, None]
    time = (torch.arange(values.shape[2], device=values.device) / last.clamp_min(1)).clamp_max(1)  # (B, T), 0 to 1
    time = time + warp * (2 * bend - 1) * torch.sin(pi * time) / pi
    place = (crop * size * start + (1 - crop * size) * time).clamp(0, 1) * last
    before = torch.minimum(place.long(), last)
    after = torch.minimum(before + 1, last)
    share = (place - before)[:, None]

    def at(steps: Tensor) -> Tensor:
        return values.gather(2, steps[:, None].expand(-1, values.shape[1], -1))

    return torch.lerp(at(before), at(after), share)
