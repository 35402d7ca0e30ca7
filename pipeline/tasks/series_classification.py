"""Series classification: one label for a series of any length, on features pooled over its steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import pi
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from pipeline.data.tables import Prepared, Table
from pipeline.models.encoder import Encoder, Pooling, check_pooling, check_ranges, pooled, trimmed
from pipeline.tasks.settings import one_of
from pipeline.tasks.task import Batch, Card, ClassificationTask, Encoders

if TYPE_CHECKING:
    from pipeline.tasks.probes import Probe

Normalise = Literal["series", "train", "none"]
AT_ONCE = 65_536  # steps that are predicted together: enough to be quick, few enough for any memory


@dataclass(frozen=True)
class Augmentation:
    """What training does to normalised series, each by its own draw."""

    crop: float  # largest share of the steps that is cut off
    warp: float  # how far time is bent
    scaling: float  # deviation of the logarithm of a factor
    jitter: float  # deviation of noise, in units of the normalised values

    def __call__(self, values: Tensor, lengths: Tensor) -> Tensor:
        """(B, C, T) with lengths (B,) → (B, C, T)."""
        if self.crop or self.warp:
            values = stretched(values, lengths, self.crop, self.warp)
        if self.scaling:
            values = values * torch.exp(self.scaling * torch.randn_like(values[..., :1]))
        if self.jitter:
            values = values + self.jitter * torch.randn_like(values)
        return values


class SeriesClassifier(nn.Module):
    """Encodes normalised series, pools the features over the steps and weighs the classes.

    A channel of ones goes with every series. Encoders may normalise each step by itself: beside the ones a step keeps
    its size, and their end tells where the series begins and ends.
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
        """(B, C, T) and, where they differ, lengths (B,) → (B, classes) logits."""
        ones = torch.ones_like(values[:, :1])
        features = self.encoder(torch.cat([values, ones], dim=1), lengths).float()  # (B, F, T'), zero in padding
        logits: Tensor = self.head(pooled(features, lengths, self.encoder.stride, self.pooling))
        return logits


class SeriesClassification(ClassificationTask):
    dimensions = 1
    MATCHING = ("classes", "columns")
    lengths = ("lengths",)
    reads = "series"
    SETTINGS: ClassVar = {"normalise": one_of(*get_args(Normalise))}
    RANGES: ClassVar[Mapping[str, tuple[float, float]]] = {
        "crop": (0.0, 0.9),
        "warp": (0.0, 0.9),
        "scaling": (0.0, 2.0),
        "jitter": (0.0, 2.0),
        "label_smoothing": (0.0, 0.9),
    }

    def prepare(self, parts: Mapping[str, Any], split: Mapping[str, float | None], seed: int) -> Prepared:
        from pipeline.data.labelled_series import prepare_labelled_series

        return prepare_labelled_series(dict(parts), split, seed)

    def examples(self, table: Table, card: Card) -> Batch:
        """Normalised values (N, C, T), zero behind the lengths (N,), and labels (N,)."""
        values = normalised(table["values"], table["lengths"], self.settings["normalise"], card)
        return {"values": values, "lengths": table["lengths"], "labels": table["labels"]}

    def network(  # type: ignore[override]  # the keywords are this task's parameters in params.yaml
        self, encoders: Encoders, card: Card, *, pooling: Pooling, crop: float, warp: float, scaling: float,
        jitter: float, label_smoothing: float,
    ) -> SeriesClassifier:  # fmt: skip
        check_pooling(pooling)
        augmentation = Augmentation(crop, warp, scaling, jitter)
        check_ranges(self.RANGES, label_smoothing=label_smoothing, **asdict(augmentation))
        encoder, classes = encoders(len(card["columns"]) + 1), len(card["classes"])
        return SeriesClassifier(
            encoder, classes, pooling=pooling, augmentation=augmentation, label_smoothing=label_smoothing
        )

    def augment(self, network: nn.Module, batch: Batch) -> Batch:
        assert isinstance(network, SeriesClassifier)
        return {**batch, "values": network.augmentation(batch["values"], batch["lengths"])}

    def output(self, network: nn.Module, batch: Batch) -> Tensor:
        logits: Tensor = network(*trimmed(batch["values"], batch["lengths"]))
        return logits

    @torch.inference_mode()
    def predict(self, network: nn.Module, examples: Batch, card: Card) -> pd.DataFrame:
        from pipeline.tasks.classification import prediction_table
        from pipeline.tasks.network import by_length

        logits = by_length(network, examples["values"], examples["lengths"], AT_ONCE)
        return prediction_table(logits.softmax(1).double().cpu().numpy(), examples["labels"].cpu().numpy())

    def baselines(self, tables: Mapping[str, Table], card: Card, seed: int) -> dict[str, dict[str, pd.DataFrame]]:
        from pipeline.tasks.classification import calibrated
        from pipeline.tasks.neighbours import nearest_neighbours

        examples = {split: self.examples(table, card) for split, table in tables.items()}
        labels = {split: table["labels"].numpy() for split, table in tables.items()}
        return {"nearest_neighbour": calibrated(nearest_neighbours(examples, len(card["classes"])), labels)}

    def pictures(self, predictions: pd.DataFrame, table: Table, card: Card, folder: Path, title: str) -> list[Path]:
        from pipeline.tasks.pictures import confusion_matrix, series_by_class

        examples = self.examples(table, card)
        first = [row[:length].numpy() for row, length in zip(examples["values"][:, 0], table["lengths"], strict=True)]
        return [
            confusion_matrix(predictions, card["classes"], folder / "confusion.png", title),
            series_by_class(predictions, first, card, folder / "series.png", title),
        ]

    def input_example(self, table: Table, card: Card) -> pd.DataFrame:
        from pipeline.data.requests import request_of_series

        return request_of_series(unpadded(table, 3), card)

    def answer(self, network: nn.Module, request: pd.DataFrame, card: Card) -> pd.DataFrame:
        from pipeline.data.labelled_series import fill, padded
        from pipeline.data.requests import series_of
        from pipeline.tasks.classification import class_answer, probability_columns

        names, series = series_of(request, card)
        if not series:
            return pd.DataFrame({name: [] for name in ("series", "class", "confidence", *probability_columns(card))})
        table = {name: torch.from_numpy(array) for name, array in padded([fill(values) for values in series]).items()}
        table["labels"] = torch.full((len(series),), -1)
        answer = class_answer(self.predict(network, self.examples(table, card), card), card)
        answer.insert(0, "series", names)
        return answer

    def probes(self, table: Table, predictions: pd.DataFrame, card: Card) -> list[Probe]:
        from pipeline.tasks.probes import BATCHES, labelled_series_probes

        return labelled_series_probes(unpadded(table, max(BATCHES)), predictions, card)


def unpadded(table: Table, count: int) -> list[np.ndarray]:
    """The first series of a table, (C, T) each."""
    found = zip(table["values"][:count].numpy(), table["lengths"][:count].tolist(), strict=True)
    return [values[:, :length] for values, length in found]


def normalised(values: Tensor, lengths: Tensor, how: Normalise, card: Card) -> Tensor:
    """(N, C, T) in units of each series' own deviation from its mean, or of all of train; zero behind the lengths.

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
    """(B, C, T): a random window of each series, its time bent, brought back to its length along straight lines.

    The window leaves out up to a share `crop` of the steps (Le Guennec et al. 2016). With `warp`, time runs up to so
    much faster at one end and slower at the other (a smooth form of Um et al. 2017). All channels move alike. What
    stands behind the lengths is still padding, though not zero: encoders do not look at it.
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
