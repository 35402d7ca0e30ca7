"""Image generation: pictures of a class, pixel by pixel, each value given all values before it.

The chance of a picture is the product of the chances of its values in raster order, red before green before blue (van
den Oord et al., 2016, "Pixel recurrent neural networks"). Its logarithm scores a model on pictures that it has never
seen: bits per dimension, what a value costs on average. They count for one number of levels only, which is a setting of
the experiment and so the same for all models.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.tables import Prepared, Table
from pipeline.models.encoder import check_ranges
from pipeline.tasks.settings import whole
from pipeline.tasks.task import Batch, Card, Encoders, Task

if TYPE_CHECKING:
    from pipeline.tasks.probes import Probe

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
        """Whole numbers from 0 to levels - 1 → -1 to 1."""
        return levels.to(self.place.dtype) * (2 / (self.levels - 1)) - 1

    def surroundings(self, labels: Tensor) -> Tensor:
        """(B,) → (B, 3 + label channels, H, W + 1) what the encoder hears beside pixels: their place and the class."""
        label = self.labels(labels)[:, :, None, None].expand(-1, -1, *self.place.shape[1:])
        return torch.cat([self.place.expand(len(labels), -1, -1, -1), label], dim=1)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """(B, C, H, W) levels of pictures of the classes (B,) → (B, C, H, W) bits that each of the values costs."""
        part = max(1, POSITIONS // images.shape[2:].numel())
        both = zip(torch.split(images, part), torch.split(labels, part), strict=True)
        return torch.cat([self._bits(*some) for some in both])

    def _bits(self, images: Tensor, labels: Tensor) -> Tensor:
        pixels = self.scaled(images)
        # A column of nothing in front: what an encoder may see at a position is then what comes before the pixel.
        x = torch.cat([functional.pad(pixels, (1, 0)), self.surroundings(labels)], dim=1)
        features = self.encoder(x)[..., :-1]  # (B, F, H, W)
        found = [
            self.log_chances(self.outputs(features, pixels[:, :channel]), images[:, channel].long())
            for channel in range(images.shape[1])
        ]
        return torch.stack(found, dim=1) / -math.log(2)

    def outputs(self, features: Tensor, before: Tensor) -> Tensor:
        """(B, F, H, W) and the channels of the pixel that are known, (B, c, H, W) → (B, H, W, O) of the next one."""
        found = self.heads[before.shape[1]](torch.cat([features, before], dim=1)).permute(0, 2, 3, 1)
        return found.to(torch.promote_types(found.dtype, torch.float32))  # type: ignore[no-any-return]

    def log_chances(self, outputs: Tensor, levels: Tensor) -> Tensor:
        """(…, O) of a head and (…) levels → (…) natural logarithms of their chances."""
        if self.likelihood == "mixture":
            return mixture_log_chances(outputs, levels, self.levels)
        flat = functional.cross_entropy(outputs.reshape(-1, self.levels), levels.reshape(-1), reduction="none")
        return -flat.view_as(levels)

    def bounds(self, outputs: Tensor) -> Tensor:
        """(…, O) of a head → (…, levels) the chance of a level or one below it."""
        if self.likelihood == "softmax":
            return outputs.softmax(-1).cumsum(-1)
        return mixture_bounds(outputs, self.levels)


class ImageGeneration(Task):
    score = "bits_per_dimension"
    maximize = False
    dimensions = 2
    dependent = False
    reads = "draws"
    MATCHING = ("levels", "values", "channels", "height", "width", "classes")
    SETTINGS: ClassVar = {"levels": whole(2, 256), "samples": whole(2, 100_000)}
    ANSWERING = frozenset({"samples"})
    RANGES: ClassVar[Mapping[str, tuple[float, float]]] = {
        "components": (1, 64), "label_channels": (1, 256), "head_width": (8, 1024),
    }  # fmt: skip

    def prepare(self, parts: Mapping[str, Any], split: Mapping[str, float | None], seed: int) -> Prepared:
        from pipeline.data.levels import prepare_levels

        return prepare_levels(dict(parts), split, seed, self.settings["levels"], self.settings["samples"])

    def examples(self, table: Table, card: Card) -> Batch:
        return {"images": table["images"], "labels": table["labels"]}

    def network(  # type: ignore[override]  # the keywords are this task's parameters in params.yaml
        self, encoders: Encoders, card: Card, *, likelihood: Literal["softmax", "mixture"], components: int,
        label_channels: int, head_width: int,
    ) -> PixelModel:  # fmt: skip
        """likelihood: a chance for every level, or a mixture of `components` discretised logistic distributions."""
        check_ranges(self.RANGES, components=components, label_channels=label_channels, head_width=head_width)
        if likelihood not in ("softmax", "mixture"):
            raise ValueError(f"likelihood: found {likelihood!r}; allowed: softmax, mixture")
        return PixelModel(
            encoders, card, likelihood=likelihood, components=components, label_channels=label_channels,
            head_width=head_width,
        )  # fmt: skip

    def augment(self, network: nn.Module, batch: Batch) -> Batch:
        """As they are: moved or mirrored pictures would be others, whose chances nobody asks for."""
        return batch

    def output(self, network: nn.Module, batch: Batch) -> Tensor:
        bits: Tensor = network(batch["images"], batch["labels"])
        return bits

    def loss(self, network: nn.Module, output: Tensor, batch: Batch) -> Tensor:
        return output.mean()

    def scores(self, output: Tensor, batch: Batch, card: Card) -> Tensor:
        return output.flatten(1).mean(1)

    @torch.inference_mode()
    def predict(self, network: nn.Module, examples: Batch, card: Card) -> pd.DataFrame:
        from pipeline.tasks.drawn_pictures import drawn, evaluation_draws, prediction_table

        assert isinstance(network, PixelModel)
        draws = evaluation_draws(self.settings["samples"], card)
        samples = drawn(network, draws)
        bits = network(examples["images"], examples["labels"]).double().cpu().numpy()
        return prediction_table(bits, examples, samples, draws.labels, card)

    def resampled_metrics(self, predictions: pd.DataFrame, card: Card, weights: np.ndarray) -> dict[str, np.ndarray]:
        count = weights.sum(1)
        found = {"bits_per_dimension": weights @ predictions["bits"].to_numpy() / count}
        if len(card["classes"]) > 1:
            right = (predictions["label"] == predictions["predicted"]).to_numpy(np.float64)
            found["sample_accuracy"] = weights @ right / count
        return found

    def example_scores(self, predictions: pd.DataFrame) -> np.ndarray:
        return predictions["bits"].to_numpy()

    def baselines(self, tables: Mapping[str, Table], card: Card, seed: int) -> dict[str, dict[str, pd.DataFrame]]:
        from pipeline.tasks.pixel_histograms import histogram_predictions

        return histogram_predictions(tables, card, self.settings["samples"])

    def guesses(self, tables: Mapping[str, Table], card: Card, seed: int) -> dict[str, dict[str, pd.DataFrame]]:
        from pipeline.tasks.level_guesses import level_guesses

        return level_guesses(tables, card, self.settings["samples"])

    def pictures(self, predictions: pd.DataFrame, table: Table, card: Card, folder: Path, title: str) -> list[Path]:
        from pipeline.tasks.generation_pictures import bits_by_pixel, samples_by_class

        return [
            samples_by_class(predictions, table, card, folder / "samples.png", title),
            bits_by_pixel(predictions, table, card, folder / "bits.png", title),
        ]

    def input_example(self, table: Table, card: Card) -> pd.DataFrame:
        """`label` and `seed` are optional: where they are null, the signature does not ask for them."""
        labels = pd.Series([str(card["classes"][0]), None], dtype=object)
        return pd.DataFrame({"samples": [2, 1], "label": labels, "seed": [7.0, np.nan]})

    def answer(self, network: nn.Module, request: pd.DataFrame, card: Card) -> pd.DataFrame:
        from pipeline.tasks.drawn_pictures import answer_table, drawn, requested

        assert isinstance(network, PixelModel)
        rows, draws = requested(request, card)
        return answer_table(rows, draws, drawn(network, draws), card)

    def respond(self, network: nn.Module, requests: pd.DataFrame, card: Card) -> pd.DataFrame:
        """The bits that each picture costs; nobody else can count them from pictures that were drawn."""
        from pipeline.tasks.generation_responses import bits_of

        assert isinstance(network, PixelModel)
        return bits_of(network, requests, card)

    def predictions_of(self, responses: pd.DataFrame, table: Table, card: Card) -> pd.DataFrame:
        labels = table["labels"].numpy()
        columns = {"example": np.arange(len(labels)), "label": labels, "bits": responses["bits"].to_numpy()}
        return pd.DataFrame({**columns, "predicted": -1})  # no samples were drawn

    def probes(self, table: Table, predictions: pd.DataFrame, card: Card) -> list[Probe]:
        from pipeline.tasks.generation_probes import generation_probes

        return generation_probes(predictions, card)


def mixture_log_chances(outputs: Tensor, levels: Tensor, count: int) -> Tensor:
    """(…, 3 K) weights, means and logarithms of scales, and (…) levels → (…) natural logarithms of their chances.

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
    """(…, 3 K) as above → (…, count) the chances of a level or one below it."""
    weights, means, scales = (part.unsqueeze(-2) for part in outputs.chunk(3, dim=-1))  # (…, 1, K)
    edges = (2 * torch.arange(count - 1, device=outputs.device, dtype=outputs.dtype) + 1) / (count - 1) - 1
    below = ((edges[:, None] - means) * (-scales.clamp(NARROWEST, -NARROWEST)).exp()).sigmoid()  # (…, count - 1, K)
    return functional.pad((weights.softmax(-1) * below).sum(-1), (0, 1), value=1.0)
