"""Image generation: pictures of a class, pixel by pixel, each value given all values before it.

The chance of a picture is the product of the chances of its values in raster order, red before green before blue (van
den Oord et al., 2016, "Pixel recurrent neural networks"). Its logarithm scores a model on pictures that it has never
seen: bits per dimension, what a value costs on average. They count for one number of levels only, which is a setting of
the experiment and so the same for all models.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from pipeline.data.tables import Batch, Card, Prepared, Table
from pipeline.models.encoder import check_ranges
from pipeline.tasks.image_generation.network import PixelModel
from pipeline.tasks.settings import whole
from pipeline.tasks.task import Encoders, Task

if TYPE_CHECKING:
    from pipeline.tasks.probes import Probe


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
        from pipeline.tasks.image_generation.preparation import prepare_levels

        return prepare_levels(dict(parts), split, seed, self.settings["levels"], self.settings["samples"])

    def examples(self, table: Table, card: Card) -> Batch:
        return {"images": table["images"], "labels": table["labels"]}

    def network(  # type: ignore[override]  # the keywords are this task's parameters in params.yaml
        self, encoders: Encoders, card: Card, *, likelihood: Literal["softmax", "mixture"], components: int,
        label_channels: int, head_width: int,
    ) -> PixelModel:  # fmt: skip
        """Takes as likelihood a chance for every level, or a mixture of `components` discretised logistic ones."""
        check_ranges(self.RANGES, components=components, label_channels=label_channels, head_width=head_width)
        if likelihood not in ("softmax", "mixture"):
            raise ValueError(f"likelihood: found {likelihood!r}; allowed: softmax, mixture")
        return PixelModel(
            encoders, card, likelihood=likelihood, components=components, label_channels=label_channels,
            head_width=head_width,
        )  # fmt: skip

    def augment(self, network: nn.Module, batch: Batch) -> Batch:
        """Leaves pictures as they are: moved or mirrored ones would be others, whose chances are of no interest."""
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
        from pipeline.tasks.image_generation.sampling import drawn, evaluation_draws, prediction_table

        assert isinstance(network, PixelModel)
        draws = evaluation_draws(self.settings["samples"], card)
        samples = drawn(network, draws)
        bits = network(examples["images"], examples["labels"]).double().cpu().numpy()
        return prediction_table(bits, examples, samples, draws.labels, card)

    def resampled_metrics(self, predictions: pd.DataFrame, card: Card, weights: np.ndarray) -> dict[str, np.ndarray]:
        count = weights.sum(1)
        metrics = {"bits_per_dimension": weights @ predictions["bits"].to_numpy() / count}
        if len(card["classes"]) > 1:
            right = (predictions["label"] == predictions["predicted"]).to_numpy(np.float64)
            metrics["sample_accuracy"] = weights @ right / count
        return metrics

    def example_scores(self, predictions: pd.DataFrame) -> np.ndarray:
        return predictions["bits"].to_numpy()

    def baselines(self, tables: Mapping[str, Table], card: Card, seed: int) -> dict[str, dict[str, pd.DataFrame]]:
        from pipeline.tasks.image_generation.baselines import histogram_predictions

        return histogram_predictions(tables, card, self.settings["samples"])

    def guesses(self, tables: Mapping[str, Table], card: Card, seed: int) -> dict[str, dict[str, pd.DataFrame]]:
        from pipeline.tasks.image_generation.guesses import level_guesses

        return level_guesses(tables, card, self.settings["samples"])

    def pictures(self, predictions: pd.DataFrame, table: Table, card: Card, folder: Path, title: str) -> list[Path]:
        from pipeline.tasks.image_generation.plots import bits_by_pixel, samples_by_class

        return [
            samples_by_class(predictions, table, card, folder / "samples.png", title),
            bits_by_pixel(predictions, table, card, folder / "bits.png", title),
        ]

    def input_example(self, table: Table, card: Card) -> pd.DataFrame:
        """Leaves `label` and `seed` null in the second row, so that the signature does not require them."""
        labels = pd.Series([str(card["classes"][0]), None], dtype=object)
        return pd.DataFrame({"samples": [2, 1], "label": labels, "seed": [7.0, np.nan]})

    def answer(self, network: nn.Module, request: pd.DataFrame, card: Card) -> pd.DataFrame:
        from pipeline.tasks.image_generation.sampling import answer_table, drawn, requested

        assert isinstance(network, PixelModel)
        rows, draws = requested(request, card)
        return answer_table(rows, draws, drawn(network, draws), card)

    def respond(self, network: nn.Module, requests: pd.DataFrame, card: Card) -> pd.DataFrame:
        """Returns the bits that each picture costs; they cannot be counted from pictures that were drawn."""
        from pipeline.tasks.image_generation.responses import bits_of

        assert isinstance(network, PixelModel)
        return bits_of(network, requests, card)

    def predictions_of(self, responses: pd.DataFrame, table: Table, card: Card) -> pd.DataFrame:
        labels = table["labels"].numpy()
        columns = {"example": np.arange(len(labels)), "label": labels, "bits": responses["bits"].to_numpy()}
        return pd.DataFrame({**columns, "predicted": -1})  # no samples were drawn

    def probes(self, table: Table, predictions: pd.DataFrame, card: Card) -> list[Probe]:
        from pipeline.tasks.image_generation.probes import generation_probes

        return generation_probes(predictions, card)
