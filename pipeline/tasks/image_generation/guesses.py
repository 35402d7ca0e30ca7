"""The guess of image generation: every value of every picture from the same distribution over the levels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from pipeline.data.tables import Card, Table
from pipeline.tasks.image_generation.baselines import Histograms
from pipeline.tasks.image_generation.sampling import evaluation_draws, prediction_table


def level_guesses(tables: Mapping[str, Table], card: Card, samples: int) -> dict[str, dict[str, pd.DataFrame]]:
    """Guesses `level_histogram`: how often train has each level anywhere, each counted once more than it occurs."""
    images = {split: table["images"].numpy() for split, table in tables.items()}
    counts = np.bincount(images["train"].ravel(), minlength=card["levels"]).astype(np.float64)
    everywhere = Histograms(np.tile(counts, (1, images["train"][0].size, 1)), smoothing=1.0)
    draws = evaluation_draws(samples, card)
    pictures = everywhere.drawn(draws, np.zeros_like(draws.labels))
    guessed = {}
    for split in ("validation", "test"):
        bits = everywhere.bits(images[split], np.zeros(len(images[split]), dtype=np.int64))
        guessed[split] = prediction_table(bits, dict(tables[split]), pictures, draws.labels, card)
    return {"level_histogram": guessed}
