"""The baseline of image generation: every value of a picture on its own, by how often train has it at this place."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch

from pipeline.data.tables import Card, Table
from pipeline.tasks.image_generation.sampling import Draws, evaluation_draws, level_at, prediction_table

SMOOTHING = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # pictures that are added for every level; validation picks


class Histograms:
    """Chances (groups, places, levels) of the levels at every place; a group is all pictures, or those of a class."""

    def __init__(self, counts: np.ndarray, smoothing: float) -> None:
        self.chances = (counts + smoothing) / (counts.sum(2, keepdims=True) + smoothing * counts.shape[2])

    def bits(self, images: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Maps (N, C, H, W) levels of pictures of the groups (N,) to the (N, C, H, W) bits that each value costs."""
        flat = images.reshape(len(images), -1)
        costs = np.stack(
            [-np.log2(self.chances[groups, place, flat[:, place]]) for place in range(flat.shape[1])], axis=1
        )
        return costs.reshape(images.shape)

    def drawn(self, draws: Draws, groups: np.ndarray) -> np.ndarray:
        """Draws (N, C, H, W) uint8 levels."""
        flat = torch.from_numpy(draws.uniforms.reshape(len(groups), -1))
        bounds = torch.from_numpy(self.chances.cumsum(2))
        rows = [level_at(bounds[group], uniforms) for group, uniforms in zip(groups.tolist(), flat, strict=True)]
        return torch.stack(rows).reshape(draws.uniforms.shape).to(torch.uint8).numpy()


def histogram_predictions(tables: Mapping[str, Table], card: Card, samples: int) -> dict[str, dict[str, pd.DataFrame]]:
    """Predicts by `histogram`, which ignores the class, and, of several classes, by a `class_histogram` of each."""
    draws = evaluation_draws(samples, card)
    images = {split: table["images"].numpy() for split, table in tables.items()}
    labels = {split: table["labels"].numpy() for split, table in tables.items()}
    kinds = {"histogram": 0, "class_histogram": 1} if len(card["classes"]) > 1 else {"histogram": 0}
    predictions = {}
    for name, apart in kinds.items():
        groups = {split: labels[split] * apart for split in tables}
        counts = level_counts(images["train"], groups["train"], card)
        fitted = [Histograms(counts, smoothing) for smoothing in SMOOTHING]
        best = min(fitted, key=lambda one: float(one.bits(images["validation"], groups["validation"]).mean()))
        pictures = best.drawn(draws, draws.labels * apart)
        predictions[name] = {
            split: prediction_table(
                best.bits(images[split], groups[split]), dict(tables[split]), pictures, draws.labels, card
            )
            for split in ("validation", "test")
        }
    return predictions


def level_counts(images: np.ndarray, groups: np.ndarray, card: Card) -> np.ndarray:
    """Counts how many pictures of a group have a level at a place: (groups, places, levels)."""
    flat, number = images.reshape(len(images), -1), int(groups.max()) + 1
    levels = card["levels"]
    counts = [
        np.bincount(groups * levels + flat[:, place], minlength=number * levels) for place in range(flat.shape[1])
    ]
    return np.stack(counts, axis=1).reshape(number, levels, -1).transpose(0, 2, 1).astype(np.float64)
