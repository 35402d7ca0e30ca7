"""The parts of object detection that training needs: networks, losses and what they are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.data.tables import Card
from pipeline.models.encoder import Encoder

RARE = 0.01  # how sure a new network is of any class in a cell: most cells have no object (Lin et al. 2017)


SURE, HALF = 0.3, 0.5  # confidence and overlap from which on a box counts as found while a fit runs


class Detector(nn.Module):
    """Normalises pixels, encodes them, and lets every cell of the features answer through a few convolutions."""

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, encoder: Encoder, card: Card, *, head_width: int, head_depth: int, radius: float,
        augmentation: Mapping[str, Any],
    ) -> None:  # fmt: skip
        super().__init__()
        self.encoder = encoder
        self.stride, self.radius, self.augmentation = encoder.stride, radius, augmentation
        self.classes, self.side = len(card["classes"]), float(card["side"])
        layers: list[nn.Module] = []
        channels = encoder.out_channels
        for _ in range(head_depth):
            layers += [nn.Conv2d(channels, head_width, 3, padding=1, bias=False), nn.BatchNorm2d(head_width), nn.ReLU()]
            channels = head_width
        self.head = nn.Sequential(*layers)
        self.answers = nn.Conv2d(channels, self.classes + 5, 3, padding=1)
        nn.init.normal_(self.answers.weight, std=0.01)
        assert self.answers.bias is not None
        nn.init.zeros_(self.answers.bias)
        nn.init.constant_(self.answers.bias[: self.classes], -math.log(1 / RARE - 1))
        scale = float(card["maximum"])
        for name in ("mean", "deviation"):
            self.register_buffer(name, torch.tensor(card[name], dtype=torch.float32).view(1, -1, 1, 1) * scale)

    def forward(self, images: Tensor) -> Tensor:
        """Maps (B, C, H, W) pixels from 0 to 255 to (B, P, K + 5) answers of the P cells.

        K logits of the classes, the logit of the overlap that the box will have, and the box in pixels.
        """
        pixels = (images.float() - self.mean) / self.deviation
        features = self.encoder(pixels.contiguous(memory_format=torch.channels_last))  # (B, F, H', W')
        answers = self.answers(self.head(features))
        centres = self.centres(answers.shape[2], answers.shape[3], answers.device)  # (P, 2)
        answers = answers.float().flatten(2).transpose(1, 2)  # (B, P, K + 5)
        away = answers[..., -4:].clamp(-5, 5).exp() * (self.side / 2)  # left, top, right, bottom
        boxes = torch.cat([centres - away[..., :2], centres + away[..., 2:]], dim=2)
        return torch.cat([answers[..., :-4], boxes], dim=2)

    def centres(self, rows: int, columns: int, device: torch.device) -> Tensor:
        """Returns (P, 2), the middle of every cell of a map, x and y in pixels."""
        y, x = ((torch.arange(count, device=device) + 0.5) * self.stride for count in (rows, columns))
        return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=2).flatten(0, 1)


def area(boxes: Tensor) -> Tensor:
    """Computes the areas (…) of boxes (…, 4)."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp_min(0).prod(-1)


def overlaps(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Computes IoU and GIoU (Rezatofighi et al. 2019) of boxes (…, 4) that can be broadcast."""
    corners = torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2])
    shared = corners.clamp_min(0).prod(-1)
    joined = area(first) + area(second) - shared
    around = torch.maximum(first[..., 2:], second[..., 2:]) - torch.minimum(first[..., :2], second[..., :2])
    hull = around.clamp_min(0).prod(-1)
    fit = shared / joined.clamp_min(1e-6)
    return fit, fit - (hull - joined) / hull.clamp_min(1e-6)
