"""The parts of image classification that training needs: networks, losses and what they are made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.data.tables import Card
from pipeline.models.encoder import Encoder


class Classifier(nn.Module):
    """Normalises pixels, encodes them, averages the features over the grid and weighs the classes."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, encoder: Encoder, card: Card, *, shift: int, flip: bool, label_smoothing: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.out_channels, len(card["classes"]))
        self.shift, self.flip, self.label_smoothing = shift, flip, label_smoothing
        scale = float(card["maximum"])
        for name in ("mean", "deviation"):
            self.register_buffer(name, torch.tensor(card[name], dtype=torch.float32).view(1, -1, 1, 1) * scale)

    def forward(self, images: Tensor) -> Tensor:
        """Maps (B, C, H, W) uint8 to (B, classes) logits."""
        pixels = (images.float() - self.mean) / self.deviation
        features = self.encoder(pixels.contiguous(memory_format=torch.channels_last))  # (B, F, H', W')
        logits: Tensor = self.head(features.mean(dim=(2, 3)))
        return logits
