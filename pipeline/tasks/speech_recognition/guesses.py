"""Transcripts without listening: nothing at all, and what is said most often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pandas as pd

from pipeline.data.tables import Card, Table
from pipeline.data.tokens import as_texts
from pipeline.tasks.speech_recognition.metrics import compared


def transcript_guesses(tables: Mapping[str, Table], card: Card) -> dict[str, dict[str, pd.DataFrame]]:
    """Guesses `empty_transcript` and `most_common_transcript` (of equals the first), as sure as train has them."""
    counts = Counter(as_texts(tables["train"]["reference"].numpy()))
    ((usual, _),) = counts.most_common(1)
    guessed: dict[str, dict[str, pd.DataFrame]] = {}
    for name, text in (("empty_transcript", ""), ("most_common_transcript", usual)):
        share = counts[text] / counts.total()
        guessed[name] = {
            split: compared([text] * len(table["lengths"]), [share] * len(table["lengths"]), table, card)
            for split, table in tables.items()
            if split != "train"
        }
    return guessed
