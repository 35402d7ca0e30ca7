"""Requests that try a served model of pictures before it is promoted."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.data.tables import Card
from pipeline.tasks.image_generation.sampling import ANSWER
from pipeline.tasks.probes import BATCHES, Probe


def generation_probes(predictions: pd.DataFrame, card: Card) -> list[Probe]:
    """Lists requests for samples that evaluation has stored, and for what else a request may leave open."""
    classes = [str(name) for name in card["classes"]]
    kept = predictions[predictions["sample_label"] >= 0]
    names = [classes[label] for label in kept["sample_label"]]
    probes = []
    for size in BATCHES:
        chosen = [row % len(kept) for row in range(size)]
        labels = pd.Series([names[row] for row in chosen], dtype=object)
        request = pd.DataFrame({"samples": [1] * size, "label": labels, "seed": [float(row) for row in chosen]})
        files = pd.Series([kept["sample"].iloc[row] for row in chosen], dtype=object)
        probes.append(
            Probe(f"{size} rows", request, pd.DataFrame({"request": range(size), "label": labels, "image": files}))
        )
    nothing = pd.DataFrame({name: pd.Series([], dtype=object) for name in ANSWER})
    probes.append(Probe("pictures of any class", pd.DataFrame({"samples": [3]})))
    probes.append(Probe("no picture", pd.DataFrame({"samples": pd.Series([], dtype=np.int64)}), nothing))
    unknown = pd.DataFrame({"samples": [1], "label": ["no such class"]})
    probes.append(Probe("an unknown class", unknown, error="label: found 'no such class'"))
    probes.append(Probe("a negative number", pd.DataFrame({"samples": [-1]}), error="samples: found -1"))
    return probes
