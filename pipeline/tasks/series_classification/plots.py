"""Plots of series with a class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.data.tables import Card
from pipeline.figures import GREY, figure, save

MOST_CLASSES_WITH_SERIES, MOST_SERIES = 24, 20


WARM = ("#c8641e", "#b3261e", "#8a4fa3", "#d99a00")  # of mistakes


def series_by_class(predictions: pd.DataFrame, series: list[np.ndarray], card: Card, path: Path, title: str) -> Path:
    """Draws the first channel (T,) of test series by class: some that were recognised, and the mistakes in colour."""
    classes = [str(name) for name in card["classes"]][:MOST_CLASSES_WITH_SERIES]
    columns = min(len(classes), 4)
    rows = -(-len(classes) // columns)
    wrong = predictions[predictions["label"] != predictions["predicted"]]
    channel = f", {card['columns'][0]} of {len(card['columns'])}" if len(card["columns"]) > 1 else ""
    drawn = figure(max(columns * 2.6, 5.2), rows * 1.9 + 0.5)
    drawn.suptitle(f"{title}: {len(wrong)} of {len(predictions)} wrong{channel}", fontsize=10)
    for place, name in enumerate(classes):
        axes = drawn.add_subplot(rows, columns, place + 1)
        right = predictions[(predictions["label"] == place) & (predictions["predicted"] == place)]
        for example in right["example"].head(MOST_SERIES):
            axes.plot(series[example], color=GREY, linewidth=0.6, alpha=0.6)
        mistakes = wrong[wrong["label"] == place].sort_values(["confidence", "example"], ascending=[False, True])
        for colour, example, predicted in zip(WARM, mistakes["example"], mistakes["predicted"], strict=False):
            axes.plot(series[example], color=colour, linewidth=1, label=f"as {card['classes'][predicted]}")
        total = len(right) + len(mistakes)
        axes.set_title(f"{name}: {len(mistakes)} of {total} wrong" if total else f"{name}: none", fontsize=8)
        axes.tick_params(labelsize=7)
        if len(mistakes):
            axes.legend(fontsize=6, frameon=False)
    return save(drawn, path)
