"""Pictures of image generation: samples next to real pictures, and what every pixel costs."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.data.tables import Card, Table
from pipeline.figures import figure, save

EACH = 8  # real pictures, and samples, of a class
MOST_CLASSES = 12
EXAMPLES = 6


def samples_by_class(predictions: pd.DataFrame, table: Table, card: Card, path: Path, title: str) -> Path:
    """Draws a row for every class: real test pictures on the left, samples on the right."""
    classes = [str(name) for name in card["classes"]][:MOST_CLASSES]
    drawn = figure(EACH * 2 * 0.55 + 1.4, len(classes) * 0.62 + 0.5)
    learnt = (
        f", of which a classifier learns {_accuracy(predictions):.1%} of the test" if len(card["classes"]) > 1 else ""
    )
    drawn.suptitle(f"{title}: real pictures | samples{learnt}", fontsize=10)
    grid = drawn.subplots(len(classes), 2 * EACH + 1, squeeze=False)
    for row, name in enumerate(classes):
        real = table["images"][table["labels"] == row][:EACH].numpy().transpose(0, 2, 3, 1)
        samples = [_decoded(file) for file in predictions["sample"][predictions["sample_label"] == row][:EACH]]
        for axes in grid[row]:
            axes.axis("off")
        for place, picture in enumerate(real):
            _show(grid[row][place], picture, card["maximum"])
        for place, picture in enumerate(samples):
            _show(grid[row][EACH + 1 + place], picture, 255)
        grid[row][EACH].text(0.5, 0.5, name, ha="center", va="center", fontsize=6, wrap=True)
    return save(drawn, path)


def bits_by_pixel(predictions: pd.DataFrame, table: Table, card: Card, path: Path, title: str) -> Path:
    """Draws what the values of a pixel cost on average over some test pictures, and in single ones."""
    kept = predictions[predictions["pixel_bits"].str.len() > 0]
    shape = (card["height"], card["width"])
    maps = np.stack([np.frombuffer(data, "<f2").reshape(shape) for data in kept["pixel_bits"]]).astype(np.float64)
    highest = max(float(np.quantile(maps, 0.99)), 1e-6)
    drawn = figure(9.5, 3.4)
    mean = float(predictions["bits"].mean())
    drawn.suptitle(f"{title}: {mean:.3f} bits per dimension of {card['levels']} levels", fontsize=10)
    (whole, singles), *_ = drawn.subfigures(1, 2, squeeze=False, width_ratios=(1, 2))
    axes = whole.subplots()
    shown = axes.imshow(maps.mean(0), cmap="viridis", vmin=0, vmax=highest)
    axes.set_title(f"mean of {len(maps)} pictures", fontsize=8)
    axes.axis("off")
    whole.colorbar(shown, ax=axes, shrink=0.8, label="bits")
    grid = singles.subplots(2, EXAMPLES, squeeze=False)
    for place, pair in enumerate(grid.T):
        for axes in pair:
            axes.axis("off")
        if place < len(maps):
            _show(pair[0], table["images"][place].numpy().transpose(1, 2, 0), card["maximum"])
            pair[0].set_title(f"{predictions['bits'].iloc[place]:.2f}", fontsize=8)
            pair[1].imshow(maps[place], cmap="viridis", vmin=0, vmax=highest)
    return save(drawn, path)


def _show(axes: Any, picture: np.ndarray, highest: int) -> None:
    """Shows a picture (H, W, C), dark on light where it is grey, as the others of the report."""
    grey = picture.ndim == 2 or picture.shape[2] == 1
    if grey:
        axes.imshow(picture.reshape(picture.shape[:2]), cmap="gray_r", vmin=0, vmax=highest)
    else:
        axes.imshow(picture / highest)


def _decoded(file: bytes) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(file)))


def _accuracy(predictions: pd.DataFrame) -> float:
    return float((predictions["label"] == predictions["predicted"]).mean())
