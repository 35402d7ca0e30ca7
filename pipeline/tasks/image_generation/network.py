"""The parts of image generation that training needs: networks, losses and what they are made of."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.tables import Card
from pipeline.tasks.task import Encoders

POSITIONS = 1 << 16  # of pictures that are scored together: a chance of every level takes memory


NARROWEST = -7.0  # logarithm of the scale of a component, on values from -1 to 1


class PixelModel(nn.Module):
    """A causal encoder over the pictures moved by one position, and a head for every channel of a pixel."""

    place: Tensor

    def __init__(
        self, encoders: Encoders, card: Card, *, likelihood: str, components: int, label_channels: int, head_width: int
    ) -> None:
        super().__init__()
        channels, height, width = card["channels"], card["height"], card["width"]
        self.levels, self.likelihood = int(card["levels"]), likelihood
        self.labels = nn.Embedding(len(card["classes"]), label_channels)
        self.encoder = encoders(channels + 3 + label_channels, causal=True)
        if self.encoder.stride != 1:
            raise ValueError(f"patch: found {self.encoder.stride}; allowed: 1, every pixel has features of its own")
        outputs = self.levels if likelihood == "softmax" else 3 * components
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(self.encoder.out_channels + channel, head_width, 1),
                nn.ReLU(),
                nn.Conv2d(head_width, outputs, 1),
            )
            for channel in range(channels)
        )
        if likelihood == "mixture":
            self._spread_components(components)
        down, across = torch.linspace(-1, 1, height), torch.linspace(-1, 1, width + 1)
        inside = functional.pad(torch.ones(height, width), (1, 0))
        place = torch.stack([inside, *torch.meshgrid(down, across, indexing="ij")])
        self.register_buffer("place", place, persistent=False)  # (3, H, W + 1): a convolution cannot see where it is

    def _spread_components(self, components: int) -> None:
        for head in self.heads:
            biases = head[-1].bias  # type: ignore[index]
            with torch.no_grad():
                biases[components : 2 * components] = torch.linspace(-1, 1, components)
                biases[2 * components :] = -2.0

    def scaled(self, levels: Tensor) -> Tensor:
        """Maps whole numbers from 0 to levels - 1 to values from -1 to 1."""
        return levels.to(self.place.dtype) * (2 / (self.levels - 1)) - 1

    def surroundings(self, labels: Tensor) -> Tensor:
        """Maps classes (B,) to (B, 3 + label channels, H, W + 1), the encoder's input next to pixels: place, class."""
        label = self.labels(labels)[:, :, None, None].expand(-1, -1, *self.place.shape[1:])
        return torch.cat([self.place.expand(len(labels), -1, -1, -1), label], dim=1)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Maps (B, C, H, W) levels of pictures of the classes (B,) to the (B, C, H, W) bits that each value costs."""
        part = max(1, POSITIONS // images.shape[2:].numel())
        both = zip(torch.split(images, part), torch.split(labels, part), strict=True)
        return torch.cat([self._bits(*some) for some in both])

    def _bits(self, images: Tensor, labels: Tensor) -> Tensor:
        pixels = self.scaled(images)
        # A column of nothing in front: what an encoder may see at a position is then what comes before the pixel.
        x = torch.cat([functional.pad(pixels, (1, 0)), self.surroundings(labels)], dim=1)
        features = self.encoder(x)[..., :-1]  # (B, F, H, W)
        log_likelihoods = [
            self.log_chances(self.outputs(features, pixels[:, :channel]), images[:, channel].long())
            for channel in range(images.shape[1])
        ]
        return torch.stack(log_likelihoods, dim=1) / -math.log(2)

    def outputs(self, features: Tensor, before: Tensor) -> Tensor:
        """Maps (B, F, H, W) and the known channels of the pixel, (B, c, H, W), to (B, H, W, O) of the next one."""
        output = self.heads[before.shape[1]](torch.cat([features, before], dim=1)).permute(0, 2, 3, 1)
        return output.to(torch.promote_types(output.dtype, torch.float32))  # type: ignore[no-any-return]

    def log_chances(self, outputs: Tensor, levels: Tensor) -> Tensor:
        """Maps (…, O) of a head and (…) levels to (…) natural logarithms of their chances."""
        if self.likelihood == "mixture":
            return mixture_log_chances(outputs, levels, self.levels)
        flat = functional.cross_entropy(outputs.reshape(-1, self.levels), levels.reshape(-1), reduction="none")
        return -flat.view_as(levels)

    def bounds(self, outputs: Tensor) -> Tensor:
        """Maps (…, O) of a head to (…, levels), the chance of a level or one below it."""
        if self.likelihood == "softmax":
            return outputs.softmax(-1).cumsum(-1)
        return mixture_bounds(outputs, self.levels)


def mixture_log_chances(outputs: Tensor, levels: Tensor, count: int) -> Tensor:
    """Maps (…, 3 K) weights, means and logarithms of scales, and (…) levels to (…) natural logarithms of their chances.

    A mixture of logistic distributions (Salimans et al., 2017, "PixelCNN++"), each level the part of it that is nearest
    to it; the lowest and the highest one take the tails.
    """
    weights, means, scales = outputs.chunk(3, dim=-1)
    levels = levels.unsqueeze(-1)  # (…, 1)
    half = 1 / (count - 1)
    inverse = (-scales.clamp(NARROWEST, -NARROWEST)).exp()
    away = levels.to(outputs.dtype) * (2 * half) - 1 - means
    lowest, highest = levels == 0, levels == count - 1
    # sigmoid(b) - sigmoid(a) = sigmoid(b) · sigmoid(-a) · (1 - exp(a - b)): no difference of nearly equal numbers
    below = functional.logsigmoid((away + half) * inverse).masked_fill(highest, 0.0)
    above = functional.logsigmoid((half - away) * inverse).masked_fill(lowest, 0.0)
    between = (-torch.expm1(-2 * half * inverse)).log().masked_fill(lowest | highest, 0.0)
    return (weights.log_softmax(-1) + below + above + between).logsumexp(-1)


def mixture_bounds(outputs: Tensor, count: int) -> Tensor:
    """Maps (…, 3 K) as above to (…, count), the chances of a level or one below it."""
    weights, means, scales = (part.unsqueeze(-2) for part in outputs.chunk(3, dim=-1))  # (…, 1, K)
    edges = (2 * torch.arange(count - 1, device=outputs.device, dtype=outputs.dtype) + 1) / (count - 1) - 1
    below = ((edges[:, None] - means) * (-scales.clamp(NARROWEST, -NARROWEST)).exp()).sigmoid()  # (…, count - 1, K)
    return functional.pad((weights.softmax(-1) * below).sum(-1), (0, 1), value=1.0)
