"""Style transfer: a picture painted anew in the manner of another one, in a single pass of a network.

The network learns from a second one, which stays as it is and compares features: those of the content picture should
be found again, and how those of the style picture go together (Gatys et al. 2016; Johnson et al. 2016). This perceptual
network and the statistics of the style are part of the prepared tables; the served model does without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.tables import Prepared, Table
from pipeline.models.encoder import Encoder, check_ranges
from pipeline.tasks.settings import NAMES, POSITIVE, whole
from pipeline.tasks.task import Batch, Card, Encoders, Task

if TYPE_CHECKING:
    from pipeline.tasks.probes import Probe

STEEPNESS = 5.0  # of the curve by which colours stay in their range: undone, it nearly is a straight line
NOISE = 64.0  # a variance of colours that is no picture yet: an even wall is not to become a colourful one
CAUTION = 0.05  # of the last convolution, which adds up so many features that one step would turn all colours to white
MARGIN = 12  # pixels by which a picture is mirrored beyond its edges, where a network would otherwise paint a frame
WHITE = 255.0
PALETTE = 32  # hidden units between what is known of all colours of a picture and what is made of it
SEEN = 7  # channels that a network sees: normalised colours, the colours as they are, and a grain


class Stylist(nn.Module):
    """Encodes a picture, decodes the features to its full size, and changes its colours by what comes out.

    Johnson et al. (2016) with the encoder of a family as its body, instance norms (Ulyanov et al. 2016), enlargement
    by repetition instead of transposed convolutions (Odena et al. 2016), and the picture itself beside the decoder.
    The network sees colours normalised by the picture's own mean and deviation, the colours as they are, and a grain,
    from which it paints strokes where a picture is even (Ulyanov et al. 2016, "Texture networks"). Mean and variance of
    all colours, of which instance norms leave nothing, decide how strong features are, in which tone, and how far from
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
        """(B, 3, H, W) colours from 0 to 255 → (B, 3, H, W) float32, likewise."""
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


class Judge:
    """The perceptual network of a table, and what it has seen of the style: compares pictures, learns nothing."""

    def __init__(self, table: Table, card: Card, settings: Mapping[str, Any]) -> None:
        self.settings, self.described = settings, card["perceptual"]
        self.fixed = {name: tensor for name, tensor in table.items() if name.startswith(("perceptual.", "gram."))}
        self.fixed["mean"], self.fixed["deviation"] = (
            torch.tensor(self.described[name]).view(1, 3, 1, 1) * WHITE for name in ("mean", "deviation")
        )
        self.scales: Mapping[str, float] = self.described.get("scales", {})

    def features(self, pictures: Tensor, wanted: list[str]) -> dict[str, Tensor]:
        """(B, 3, H, W) colours from 0 to 255 → (B, C, h, w) of the wanted layers, no layer further than these."""
        if self.fixed["mean"].device != pictures.device:
            self.fixed = {name: tensor.to(pictures.device) for name, tensor in self.fixed.items()}
        x = (pictures.float() - self.fixed["mean"]) / self.fixed["deviation"]
        x = x.contiguous(memory_format=torch.channels_last)
        found: dict[str, Tensor] = {}
        for number, layer in enumerate(self.described["layers"]):
            if layer["pooled"]:
                x = functional.max_pool2d(x, 2)
            weight, bias = (self.fixed[f"perceptual.{number}.{part}"] for part in ("weight", "bias"))
            x = functional.relu(functional.conv2d(x, weight, bias, padding=weight.shape[2] // 2))
            if layer["name"] in wanted:
                found[layer["name"]] = x
            if len(found) == len(wanted):
                break
        return found

    def content(self, pictures: Tensor) -> dict[str, Tensor]:
        """What a picture has to keep."""
        with torch.no_grad():
            return self.features(pictures, self.settings["content_layers"])

    def losses(self, pictures: Tensor, content: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(B,) content and (B,) style losses: mean squared differences, as shares of what is compared with."""
        layers = list(dict.fromkeys([*self.settings["content_layers"], *self.settings["style_layers"]]))
        found = self.features(pictures, layers)
        with torch.autocast(pictures.device.type, enabled=False):  # sums over all places need their digits
            kept = [
                (found[name].float() - content[name].float()).square().mean((1, 2, 3)) / self.scales[name]
                for name in self.settings["content_layers"]
            ]
            styled = []
            for name in self.settings["style_layers"]:
                target = self.fixed[f"gram.{name}"]
                styled.append((gram(found[name]) - target).square().mean((1, 2)) / target.square().mean())
        return torch.stack(kept).mean(0), torch.stack(styled).mean(0)

    def total(self, content: Tensor, style: Tensor) -> Tensor:
        """The loss that is learnt from and reported."""
        weighed: Tensor = self.settings["content_weight"] * content + self.settings["style_weight"] * style
        return weighed


class StyleTransfer(Task):
    score = "content_and_style_loss"
    maximize = False
    dimensions = 2
    reads = "picture"
    dependent = True  # squares of one picture follow each other
    references = frozenset({"optimised"})
    MATCHING = ("style_digests",)
    SETTINGS: ClassVar = {
        "content_layers": NAMES, "style_layers": NAMES, "content_weight": POSITIVE, "style_weight": POSITIVE,
        "iterations": whole(1, 10_000),
    }  # fmt: skip
    ANSWERING = frozenset({"iterations"})
    RANGES: ClassVar = {"decoder_width": (4, 512), "window": (16, 4096), "zoom": (0.0, 1.0)}

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self.judge: Judge | None = None  # of the tables that were looked at last
        self.judged: tuple[Tensor, tuple[Tensor, Tensor, Tensor]] | None = None  # pictures and their losses, the last
        self.optimised: pd.DataFrame | None = None  # what the baseline has made of the test pictures

    def prepare(self, parts: Mapping[str, Any], split: Mapping[str, float | None], seed: int) -> Prepared:
        from pipeline.data.style_pictures import prepare_pictures
        from pipeline.tasks.style_targets import with_targets

        return with_targets(prepare_pictures(dict(parts), split, seed), parts, self.settings, seed)

    def examples(self, table: Table, card: Card) -> Batch:
        """Keeps the perceptual network of the table, by which `loss` and `predict` judge."""
        self.judge = Judge(table, card, self.settings)
        return {"images": table["images"]}

    def network(  # type: ignore[override]  # the keywords are this task's parameters in params.yaml
        self, encoders: Encoders, card: Card, *, decoder_width: int, window: int, flip: bool, zoom: float
    ) -> Stylist:
        check_ranges(self.RANGES, decoder_width=decoder_width, window=window, zoom=zoom)
        least, most = card["perceptual"]["least"], min(card["height"], card["width"])
        if not least <= window <= most:
            allowed = f"pixels from {least}, which the perceptual network needs, to {most}, the side of the squares"
            raise ValueError(f"window: found {window}; allowed: {allowed}")
        return Stylist(encoders(SEEN), decoder_width=decoder_width, window=window, flip=flip, zoom=zoom)

    def augment(self, network: nn.Module, batch: Batch) -> Batch:
        """A window at any place, mirrored and enlarged, of every picture by its own draw."""
        assert isinstance(network, Stylist)
        images = batch["images"].float()
        (count, _, height, width), device = images.shape, images.device
        seen = (1 + network.zoom) ** -torch.rand(count, device=device) * network.window  # pixels of a side
        mirror = (torch.rand(count, device=device) < 0.5) & network.flip
        zero, across, down = torch.zeros_like(seen), seen / width, seen / height
        middles = [(2 * torch.rand(count, device=device) - 1) * (1 - share) for share in (across, down)]
        rows = [[across.where(~mirror, -across), zero, middles[0]], [zero, down, middles[1]]]
        moved = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)  # (B, 2, 3)
        lattice = functional.affine_grid(moved, [count, 3, *[network.window] * 2], align_corners=False)
        return {**batch, "images": functional.grid_sample(images, lattice, padding_mode="border", align_corners=False)}

    def output(self, network: nn.Module, batch: Batch) -> Tensor:
        return network(batch["images"])  # type: ignore[no-any-return]

    def loss(self, network: nn.Module, output: Tensor, batch: Batch) -> Tensor:
        return self._judged(output, batch["images"])[-1].mean()

    def scores(self, output: Tensor, batch: Batch, card: Card) -> Tensor:
        return self._judged(output, batch["images"])[-1]

    @torch.inference_mode()
    def predict(self, network: nn.Module, examples: Batch, card: Card) -> pd.DataFrame:
        """One picture at a time, as the served model answers: sums in a batch are rounded in another order."""
        from pipeline.tasks.painted_pictures import prediction_table

        made = [network(picture) for picture in torch.split(examples["images"], 1)]
        judged = [self._judged(*pair) for pair in zip(made, torch.split(examples["images"], 1), strict=True)]
        return prediction_table(torch.cat(made), judged)

    def resampled_metrics(self, predictions: pd.DataFrame, card: Card, weights: np.ndarray) -> dict[str, np.ndarray]:
        from pipeline.tasks.painted_pictures import LOSSES

        return {name: weights @ predictions[name].to_numpy() / weights.sum(1) for name in LOSSES}

    def example_scores(self, predictions: pd.DataFrame) -> np.ndarray:
        return predictions[self.score].to_numpy(np.float64)

    def block(self, card: Card) -> int:
        return 2 * int(card["squares"])  # twice as far as the squares of one picture reach

    def baselines(self, tables: Mapping[str, Table], card: Card, seed: int) -> dict[str, dict[str, pd.DataFrame]]:
        from pipeline.tasks.painted_pictures import classical_pictures

        found = classical_pictures(Judge(tables["test"], card, self.settings), tables, self.settings["iterations"])
        self.optimised = found["optimised"]["test"]
        return found

    def guesses(self, tables: Mapping[str, Table], card: Card, seed: int) -> dict[str, dict[str, pd.DataFrame]]:
        from pipeline.tasks.style_guesses import style_guesses

        return style_guesses(Judge(tables["test"], card, self.settings), tables)

    def pictures(self, predictions: pd.DataFrame, table: Table, card: Card, folder: Path, title: str) -> list[Path]:
        from pipeline.tasks.painted_pictures import before_and_after

        return [before_and_after(predictions, self.optimised, table, folder / "pictures.png", title)]

    def input_example(self, table: Table, card: Card) -> pd.DataFrame:
        from pipeline.data.image_files import png

        return pd.DataFrame({"image": [png(image) for image in table["images"][:2].numpy()]})

    def answer(self, network: nn.Module, request: pd.DataFrame, card: Card) -> pd.DataFrame:
        from pipeline.tasks.painted_pictures import answer_table, decoded

        with torch.inference_mode():
            return answer_table([network(torch.tensor(picture)[None]) for picture in decoded(request)])

    def predictions_of(self, responses: pd.DataFrame, table: Table, card: Card) -> pd.DataFrame:
        from pipeline.tasks.painted_pictures import predictions_of

        return predictions_of(Judge(table, card, self.settings), responses, table["images"])

    def probes(self, table: Table, predictions: pd.DataFrame, card: Card) -> list[Probe]:
        from pipeline.tasks.style_probes import style_probes

        return style_probes(table, predictions)

    def _judged(self, pictures: Tensor, contents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B,) content losses, style losses and both together; validation asks twice for the same pictures."""
        assert self.judge is not None, "`examples` comes first"
        if self.judged is not None and self.judged[0] is pictures:
            return self.judged[1]
        content, style = self.judge.losses(pictures, self.judge.content(contents))
        found = content, style, self.judge.total(content, style)
        self.judged = None if pictures.requires_grad else (pictures, found)
        return found


def painted(before: int, after: int) -> nn.Sequential:
    """Convolution, instance norm and ReLU; the picture is mirrored at its edges, which would show otherwise."""
    kernels = nn.Conv2d(before, after, 3, padding=1, padding_mode="reflect", bias=False)
    return nn.Sequential(kernels, nn.InstanceNorm2d(after, affine=True), nn.ReLU())


def grain(height: int, width: int) -> Tensor:
    """(1, 1, H, W) float32, normally distributed, and always the same: hashes of places (Teschner et al. 2003)."""
    number = (torch.arange(height)[:, None] * 73_856_093) ^ (torch.arange(width) * 19_349_663)
    for _ in range(2):
        number = ((number ^ (number >> 16)) * 0x45D9F3B) & 0xFFFF_FFFF
    shares = (((number ^ (number >> 16)) & 0xFFFFFF).double() + 0.5) / 2**24
    return torch.special.ndtri(shares).float()[None, None]  # type: ignore[no-any-return]


def gram(features: Tensor) -> Tensor:
    """(B, C, H, W) → (B, C, C): how often features go together, averaged over all places (Gatys et al. 2016)."""
    flat = features.float().flatten(2)  # (B, C, H·W)
    return flat @ flat.transpose(1, 2) / flat.shape[2]


def prime_factors(number: int) -> list[int]:
    """12 → 2, 2, 3."""
    least = next((factor for factor in range(2, number + 1) if number % factor == 0), None)
    return [] if least is None else [least, *prime_factors(number // least)]
