"""Pictures of predictions. Drawn without a display and without dates in the files, so that the same predictions give
the same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.figures import INK, figure, save

MOST_CLASSES_WITH_NUMBERS = 20


def confusion_matrix(predictions: pd.DataFrame, classes: list[str], path: Path, title: str) -> Path:
    """Draws how often each class was taken for which: shares of the true class as colour, counts as numbers."""
    count = len(classes)
    matrix = np.zeros((count, count), dtype=int)
    np.add.at(matrix, (predictions["label"].to_numpy(), predictions["predicted"].to_numpy()), 1)
    side = min(2.2 + 0.38 * count, 10)
    drawn = figure(side + 0.6, side)
    axes = drawn.add_subplot()
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if count <= MOST_CLASSES_WITH_NUMBERS:
        for row, column in zip(*np.nonzero(matrix), strict=True):
            ink = "white" if shares[row, column] > 0.6 else INK
            axes.text(column, row, str(matrix[row, column]), ha="center", va="center", color=ink, fontsize=8)
    axes.set_xticks(
        range(count),
        [str(name) for name in classes],
        rotation=45 if count > 6 else 0,
        ha="right" if count > 6 else "center",
    )
    axes.set_yticks(range(count), [str(name) for name in classes])
    axes.set(xlabel="predicted", ylabel="true", title=title)
    return save(drawn, path)
