"""Translations that need no model: one sentence for all, and the source as it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pandas as pd

from pipeline.data.tables import Table
from pipeline.data.tokens import as_texts
from pipeline.tasks.translation.metrics import prediction_table


def sentence_guesses(tables: Mapping[str, Table]) -> dict[str, dict[str, pd.DataFrame]]:
    """Guesses `most_common_sentence` among the targets of train, of equal ones the first, and `copied_source`."""
    ((usual, _),) = Counter(as_texts(tables["train"]["reference"].numpy())).most_common(1)
    guessed: dict[str, dict[str, pd.DataFrame]] = {"most_common_sentence": {}, "copied_source": {}}
    for split in ("validation", "test"):
        sources, references = (as_texts(tables[split][side].numpy()) for side in ("text", "reference"))
        guessed["most_common_sentence"][split] = prediction_table(sources, references, [usual] * len(sources))
        guessed["copied_source"][split] = prediction_table(sources, references, sources)
    return guessed
