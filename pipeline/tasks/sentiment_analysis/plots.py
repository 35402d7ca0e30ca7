"""Sentences with the label that a model gave them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.data.tables import Card
from pipeline.figures import BLUE, GREY, INK, ORANGE, figure, save

SHOWN = 8  # sentences of a kind
LONGEST = 120  # signs


def labelled_sentences(predictions: pd.DataFrame, texts: list[str], card: Card, path: Path, title: str) -> Path:
    """Draws the mistakes that the model was surest of, sentences that it was unsure of, and some that it knew."""
    right = predictions["label"] == predictions["predicted"]
    ordered = predictions.sort_values(["confidence", "example"], ascending=[False, True])
    sure, known = ordered[~right[ordered.index]], ordered[right[ordered.index]]
    evenly = np.unique(np.linspace(0, len(known) - 1, SHOWN).astype(int)) if len(known) else np.zeros(0, int)
    groups = {
        f"{len(sure)} of {len(predictions)} wrong" + (", the surest first" if len(sure) > 1 else ""): sure.head(SHOWN),
        "the least sure": ordered.iloc[::-1].head(SHOWN),
        f"{len(known)} right, from the surest to the least sure": known.iloc[evenly],
    }
    drawn = figure(10.5, 0.7 + 0.27 * (sum(map(len, groups.values())) + 1.6 * len(groups)))
    axes = drawn.add_subplot()
    axes.axis("off")
    axes.set(xlim=(0, 1), ylim=(sum(map(len, groups.values())) + 1.6 * len(groups), 0))
    axes.set_title(f"{title}: what it found and how sure it was; in brackets the truth", loc="left")
    height = 0.0
    for name, rows in groups.items():
        axes.text(0, height + 0.9, name, color=GREY, va="center")
        height += 1.6
        for example, label, predicted, confidence in zip(
            rows["example"], rows["label"], rows["predicted"], rows["confidence"], strict=True
        ):
            prediction = f"{card['classes'][predicted]} {confidence:.0%}"
            truth = "" if label == predicted else f" ({card['classes'][label]})"
            axes.text(0, height, prediction + truth, color=BLUE if label == predicted else ORANGE, va="center",
                      parse_math=False)  # fmt: skip
            axes.text(0.2, height, _cut(texts[example]), color=INK, va="center", parse_math=False)
            height += 1
    return save(drawn, path)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
