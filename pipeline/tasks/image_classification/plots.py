"""Plots of classified images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.data.tables import Card
from pipeline.figures import figure, save

MISTAKES = 24


def worst_mistakes(predictions: pd.DataFrame, images: np.ndarray, card: Card, path: Path, title: str) -> Path:
    """Draws the mistakes that the model was surest of."""
    wrong = predictions[predictions["label"] != predictions["predicted"]]
    worst = wrong.sort_values(["confidence", "example"], ascending=[False, True]).head(MISTAKES)
    columns = 8
    rows = max(-(-len(worst) // columns), 1)
    drawn = figure(columns * 1.15, rows * 1.55 + 0.4)
    drawn.suptitle(
        f"{title}: {len(wrong)} of {len(predictions)} wrong" + (", the surest first" if len(wrong) > 1 else ""),
        fontsize=10,
    )
    classes = [str(name) for name in card["classes"]]
    for place, (example, label, predicted, confidence) in enumerate(
        zip(worst["example"], worst["label"], worst["predicted"], worst["confidence"], strict=True)
    ):
        axes = drawn.add_subplot(rows, columns, place + 1)
        picture = images[example].transpose(1, 2, 0)
        axes.imshow(picture.squeeze(), cmap="gray_r" if card["channels"] == 1 else None, vmin=0, vmax=card["maximum"])
        axes.set_title(f"{classes[label]} as {classes[predicted]}\n{confidence:.0%}", fontsize=7)
        axes.axis("off")
    return save(drawn, path)
