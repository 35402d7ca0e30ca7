"""The parts of style transfer that training needs: networks, losses and what they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.tables import Card, Table
from pipeline.models.encoder import Encoder

STEEPNESS = 5.0  # of the curve by which colours stay in their range: undone, it nearly is a straight line


NOISE = 64.0  # a variance of colours that is not a picture yet: an even wall is not to become a colourful one


CAUTION = 0.05  # of the last convolution, which adds up so many features that one step would turn all colours to white


MARGIN = 12  # pixels by which a picture is mirrored beyond its edges, where a network would otherwise paint a frame


WHITE = 255.0


PALETTE = 32  # hidden units between what is known of all colours of a picture and what is made of it


SEEN = 7  # channels that a network sees: normalised colours, the colours as they are, and a grain


class StyleNetwork(nn.Module):
    """Encodes a picture, decodes the features to its full size, and changes its colours by what comes out.

    Johnson et al. (2016) with the encoder of a family as its body, instance norms (Ulyanov et al. 2016), enlargement
    by repetition instead of transposed convolutions (Odena et al. 2016), and the picture itself next to the decoder.
    The network sees colours normalised by the picture's own mean and deviation, the colours as they are, and a grain,
    from which it paints strokes where a picture is even (Ulyanov et al. 2016, "Texture networks"). Mean and variance of
    all colours, which instance norms remove, decide how strong features are, in which tone, and how far from
    the colours as they are; at first that is half way to the normalised ones.
    """

    def __init__(self, encoder: Encoder, *, decoder_width: int, window: int, flip: bool, zoom: float) -> None:
        super().__init__()
        self.encoder, self.window, self.flip, self.zoom = encoder, window, flip, zoom
        self.factors = prime_factors(encoder.stride)
        widths = [encoder.out_channels, *[decoder_width] * len(self.factors)]
        self.stages = nn.ModuleList(painted(*pair) for pair in pairwise(widths))
        self.mix = painted(widths[-1] + SEEN, decoder_width)
        self.refine = nn.Sequential(painted(decoder_width, decoder_width), painted(decoder_width, decoder_width)[:2])
        self.palette = nn.Sequential(nn.Linear(6, PALETTE), nn.ReLU(), nn.Linear(PALETTE, 6 + decoder_width))
        self.colours = nn.Conv2d(decoder_width, 3, 9, padding=4, padding_mode="reflect")
        nn.init.normal_(self.colours.weight, std=0.1)
        for parameter in self.palette[2].parameters():
            nn.init.normal_(parameter, std=0.01)

    def forward(self, images: Tensor) -> Tensor:
        """Maps (B, 3, H, W) colours from 0 to 255 to (B, 3, H, W) float32, likewise."""
        colours, (height, width) = images.float(), images.shape[2:]
        normalised = functional.instance_norm(colours, eps=NOISE)
        shape = len(colours), 1, height, width
        speckles = torch.randn(shape) if self.training else grain(height, width)
        seen = torch.cat([normalised, 2 * colours / WHITE - 1, speckles.to(colours.device).expand(shape)], dim=1)
        pixels = functional.pad(seen, [MARGIN] * 4, mode="reflect").contiguous(memory_format=torch.channels_last)
        x = self.encoder(pixels)  # (B, F, H', W')
        for factor, stage in zip(self.factors, self.stages, strict=True):
            x = stage(functional.interpolate(x, scale_factor=float(factor), mode="nearest"))
        x = x[:, :, : pixels.shape[2], : pixels.shape[3]]
        x = self.mix(torch.cat([x, pixels.to(x.dtype)], dim=1))[:, :, MARGIN : MARGIN + height, MARGIN : MARGIN + width]
        variance, mean = torch.var_mean(colours, dim=(2, 3))
        known = torch.cat([STEEPNESS * (mean / WHITE - 0.5), (variance / NOISE + 1).log() / 2 - 2], dim=1)
        share, tone, strength = self.palette(known).float()[:, :, None, None].split([3, 3, x.shape[1]], dim=1)
        change = CAUTION * self.colours((x + self.refine(x)) * (1 + strength)).float() + tone
        start = torch.lerp(STEEPNESS * (colours / WHITE - 0.5), normalised, 0.5 + share)
        return torch.sigmoid(start + change) * WHITE


class PerceptualLoss:
    """The perceptual network of a table, and what it has seen of the style: compares pictures, learns nothing."""

    def __init__(self, table: Table, card: Card, settings: Mapping[str, Any]) -> None:
        self.settings, self.described = settings, card["perceptual"]
        self.fixed = {name: tensor for name, tensor in table.items() if name.startswith(("perceptual.", "gram."))}
        self.fixed["mean"], self.fixed["deviation"] = (
            torch.tensor(self.described[name]).view(1, 3, 1, 1) * WHITE for name in ("mean", "deviation")
        )
        self.scales: Mapping[str, float] = self.described.get("scales", {})

    def features(self, pictures: Tensor, wanted: list[str]) -> dict[str, Tensor]:
        """Maps (B, 3, H, W) colours from 0 to 255 to (B, C, h, w) of the wanted layers, no layer further than these."""
        if self.fixed["mean"].device != pictures.device:
            self.fixed = {name: tensor.to(pictures.device) for name, tensor in self.fixed.items()}
        x = (pictures.float() - self.fixed["mean"]) / self.fixed["deviation"]
        x = x.contiguous(memory_format=torch.channels_last)
        outputs: dict[str, Tensor] = {}
        for number, layer in enumerate(self.described["layers"]):
            if layer["pooled"]:
                x = functional.max_pool2d(x, 2)
            weight, bias = (self.fixed[f"perceptual.{number}.{part}"] for part in ("weight", "bias"))
            x = functional.relu(functional.conv2d(x, weight, bias, padding=weight.shape[2] // 2))
            if layer["name"] in wanted:
                outputs[layer["name"]] = x
            if len(outputs) == len(wanted):
                break
        return outputs

    def content(self, pictures: Tensor) -> dict[str, Tensor]:
        """Computes the features that a picture has to keep."""
        with torch.no_grad():
            return self.features(pictures, self.settings["content_layers"])

    def losses(self, pictures: Tensor, content: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Computes (B,) content and (B,) style losses: mean squared differences, as shares of what is compared with."""
        layers = list(dict.fromkeys([*self.settings["content_layers"], *self.settings["style_layers"]]))
        features = self.features(pictures, layers)
        with torch.autocast(pictures.device.type, enabled=False):  # sums over all places need their digits
            kept = [
                (features[name].float() - content[name].float()).square().mean((1, 2, 3)) / self.scales[name]
                for name in self.settings["content_layers"]
            ]
            styled = []
            for name in self.settings["style_layers"]:
                target = self.fixed[f"gram.{name}"]
                styled.append((gram(features[name]) - target).square().mean((1, 2)) / target.square().mean())
        return torch.stack(kept).mean(0), torch.stack(styled).mean(0)

    def total(self, content: Tensor, style: Tensor) -> Tensor:
        """Weighs the losses to the one that is learnt from and reported."""
        weighed: Tensor = self.settings["content_weight"] * content + self.settings["style_weight"] * style
        return weighed


def painted(before: int, after: int) -> nn.Sequential:
    """Builds convolution, instance norm and ReLU; the picture is mirrored at its edges, which would show otherwise."""
    kernels = nn.Conv2d(before, after, 3, padding=1, padding_mode="reflect", bias=False)
    return nn.Sequential(kernels, nn.InstanceNorm2d(after, affine=True), nn.ReLU())


def grain(height: int, width: int) -> Tensor:
    """Draws (1, 1, H, W) float32, normally distributed, always the same: hashes of places (Teschner et al. 2003)."""
    number = (torch.arange(height)[:, None] * 73_856_093) ^ (torch.arange(width) * 19_349_663)
    for _ in range(2):
        number = ((number ^ (number >> 16)) * 0x45D9F3B) & 0xFFFF_FFFF
    shares = (((number ^ (number >> 16)) & 0xFFFFFF).double() + 0.5) / 2**24
    return torch.special.ndtri(shares).float()[None, None]  # type: ignore[no-any-return]


def gram(features: Tensor) -> Tensor:
    """Maps (B, C, H, W) to (B, C, C): how often features go together, averaged over all places (Gatys et al. 2016)."""
    flat = features.float().flatten(2)  # (B, C, H·W)
    return flat @ flat.transpose(1, 2) / flat.shape[2]


def prime_factors(number: int) -> list[int]:
    """Factors a number into primes: 12 → 2, 2, 3."""
    least = next((factor for factor in range(2, number + 1) if number % factor == 0), None)
    return [] if least is None else [least, *prime_factors(number // least)]
