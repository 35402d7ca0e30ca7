"""Series classification: one label for a series of any length, on features pooled over its steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, get_args

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from pipeline.data.tables import Batch, Card, Prepared, Table
from pipeline.models.encoder import Pooling, check_pooling, check_ranges, trimmed
from pipeline.tasks.series_classification.network import Augmentation, Normalise, SeriesClassifier, normalised
from pipeline.tasks.settings import one_of
from pipeline.tasks.task import ClassificationTask, Encoders

if TYPE_CHECKING:
    from pipeline.tasks.probes import Probe

AT_ONCE = 65_536  # steps that are predicted together: enough to be quick, few enough for any memory


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
        from pipeline.tasks.series_classification.preparation import prepare_labelled_series

        return prepare_labelled_series(dict(parts), split, seed)

    def examples(self, table: Table, card: Card) -> Batch:
        """Returns normalised values (N, C, T), zero behind the lengths (N,), and labels (N,)."""
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
        from pipeline.tasks.series_classification.baselines import nearest_neighbours

        examples = {split: self.examples(table, card) for split, table in tables.items()}
        labels = {split: table["labels"].numpy() for split, table in tables.items()}
        return {"nearest_neighbour": calibrated(nearest_neighbours(examples, len(card["classes"])), labels)}

    def pictures(self, predictions: pd.DataFrame, table: Table, card: Card, folder: Path, title: str) -> list[Path]:
        from pipeline.tasks.plots import confusion_matrix
        from pipeline.tasks.series_classification.plots import series_by_class

        examples = self.examples(table, card)
        first = [row[:length].numpy() for row, length in zip(examples["values"][:, 0], table["lengths"], strict=True)]
        return [
            confusion_matrix(predictions, card["classes"], folder / "confusion.png", title),
            series_by_class(predictions, first, card, folder / "series.png", title),
        ]

    def input_example(self, table: Table, card: Card) -> pd.DataFrame:
        from pipeline.tasks.requests import request_of_series

        return request_of_series(unpadded(table, 3), card)

    def answer(self, network: nn.Module, request: pd.DataFrame, card: Card) -> pd.DataFrame:
        from pipeline.tasks.classification import class_answer, probability_columns
        from pipeline.tasks.requests import series_of
        from pipeline.tasks.series_classification.preparation import fill, padded

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
    """Returns the first series of a table, (C, T) each."""
    pairs = zip(table["values"][:count].numpy(), table["lengths"][:count].tolist(), strict=True)
    return [values[:, :length] for values, length in pairs]
