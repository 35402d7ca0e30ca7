"""Pictures of transcripts: the input of the network with its output, and errors by the length of recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from pipeline.data.tables import Table
from pipeline.figures import BLUE, GREY, INK, ORANGE, figure, save
from pipeline.tasks.speech_recognition.network import FULL, LogMel

SHOWN = 6  # recordings
MOST_LETTERS = 48  # of a transcript


def spectrograms(predictions: pd.DataFrame, table: Table, ear: LogMel, path: Path, title: str) -> Path:
    """Draws log-mel features of recordings from the worst to the best, with the transcript and the truth."""
    rates = (predictions["character_errors"] / predictions["characters"]).to_numpy()
    order = np.argsort(-rates, kind="stable")
    shown = order[np.unique(np.linspace(0, len(order) - 1, SHOWN).astype(int))]
    drawn = figure(10, 2.3 * -(-len(shown) // 2) + 0.4)
    wrong = int((predictions["word_errors"] > 0).sum())
    drawn.suptitle(f"{title}: {wrong} of {len(predictions)} recordings with an error, the worst first", fontsize=10)
    for place, example in enumerate(shown.tolist()):
        axes = drawn.add_subplot(-(-len(shown) // 2), 2, place + 1)
        length = int(table["lengths"][example])
        with torch.inference_mode():
            heard = ear(table["samples"][None, example, :length] / FULL)[0].numpy()
        entry = predictions.iloc[example]
        end = max(float(entry["seconds"]), 1e-3)
        axes.imshow(heard, origin="lower", aspect="auto", cmap="magma", extent=(0, end, 0, len(heard)))
        right = entry["transcript"] == entry["truth"]
        axes.set_title(_cut(entry["transcript"]) or "(nothing)", color=BLUE if right else ORANGE, fontsize=9,
                       parse_math=False)  # fmt: skip
        spoken = "as said" if right else f"said: {_cut(entry['truth'])}"
        axes.set_xlabel(f"{spoken} · {end:.2f} s, confidence {entry['confidence']:.0%}", fontsize=7, parse_math=False)
        axes.set_ylabel("mel band", fontsize=7)
        axes.tick_params(labelsize=6)
    return save(drawn, path)


def errors_by_length(predictions: pd.DataFrame, path: Path, title: str) -> Path:
    """Draws word and character error rates of quarters of the recordings, from the shortest to the longest."""
    order = np.argsort(predictions["seconds"].to_numpy(), kind="stable")
    parts = [predictions.iloc[part] for part in np.array_split(order, 4) if len(part)]
    drawn = figure(5.4, 3.0)
    axes = drawn.add_subplot()
    places = np.arange(len(parts))
    for shift, colour, unit in ((-0.2, BLUE, "word"), (0.2, GREY, "character")):
        rates = [100 * part[f"{unit}_errors"].sum() / part[f"{unit}s"].sum() for part in parts]
        bars = axes.bar(places + shift, rates, 0.38, color=colour, label=f"{unit}s")
        axes.bar_label(bars, fmt="%.1f", fontsize=7, color=INK)
    axes.set_xticks(places, [f"{part['seconds'].min():.2f} to {part['seconds'].max():.2f}" for part in parts])
    axes.set(xlabel="seconds", ylabel="errors, %", ylim=(0, None))
    axes.set_title(title, loc="left", fontsize=9)
    axes.legend(fontsize=7, frameon=False)
    return save(drawn, path)


def _cut(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else text[: MOST_LETTERS - 1] + "…"
