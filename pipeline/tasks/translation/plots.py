"""Plots of translations: sentences next to their references, and the score by length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.figures import BLUE, GREY, INK, figure, save


def translated_sentences(predictions: pd.DataFrame, scores: np.ndarray, path: Path, title: str) -> Path:
    """Draws sentences from the worst to the best translation: source, translation and truth."""
    order = np.argsort(scores, kind="stable")
    shown = order[np.unique(np.linspace(0, len(order) - 1, 10).astype(int))]
    drawn = figure(9.5, 0.4 + 0.72 * len(shown))
    axes = drawn.add_subplot()
    axes.axis("off")
    axes.set_title(f"{title}: sentences from the worst to the best", loc="left")
    axes.set_ylim(len(shown), 0)
    axes.set_xlim(0, 1)
    for row, index in enumerate(shown):
        entry = predictions.iloc[index]
        axes.text(0, row + 0.2, f"{scores[index]:.0f}", color=GREY, va="center")
        for line, (name, ink) in enumerate((("source", GREY), ("translation", BLUE), ("truth", INK))):
            axes.text(0.05, row + 0.2 + 0.27 * line, _cut(entry[name]), color=ink, va="center", parse_math=False)
    return save(drawn, path)


def score_by_length(predictions: pd.DataFrame, scores: np.ndarray, path: Path, title: str) -> Path:
    """Draws the mean sentence score of quarters of the sentences, from the shortest to the longest source."""
    lengths = np.array([len(text.split()) for text in predictions["source"]])
    parts = [part for part in np.array_split(np.argsort(lengths, kind="stable"), 4) if len(part)]
    drawn = figure(5.4, 3.0)
    axes = drawn.add_subplot()
    axes.bar([f"{lengths[part].min()} to {lengths[part].max()}" for part in parts],
             [scores[part].mean() for part in parts], color=BLUE)  # fmt: skip
    axes.set_xlabel("words of the source")
    axes.set_ylabel("mean BLEU of a sentence")
    axes.set_title(title, loc="left", fontsize=8)
    return save(drawn, path)


def _cut(text: str, most: int = 110) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
