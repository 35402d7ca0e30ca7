"""The nearest neighbour by Euclidean distance: the classical rule for series, and hard to beat on few of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipeline.data.tables import Batch

AT_ONCE = 256  # series whose distances to all of train are computed together


def nearest_neighbours(examples: Mapping[str, Batch], classes: int) -> dict[str, np.ndarray]:
    """Returns (N, K) scores of validation and test: minus the distance to the nearest training series of each class.

    The largest score names the class of the nearest neighbour. Distances are root mean squares over channels and steps.
    Series of unequal length are stretched along straight lines to the longest one of train.
    """
    steps = int(examples["train"]["lengths"].max())
    known = stretched(examples["train"], steps)
    of_class = [np.flatnonzero(examples["train"]["labels"].numpy() == number) for number in range(classes)]
    scores = {}
    for split in ("validation", "test"):
        queries = stretched(examples[split], steps)
        distances = np.concatenate(
            [_distances(queries[at : at + AT_ONCE], known) for at in range(0, len(queries), AT_ONCE)]
        )
        scores[split] = -np.stack([distances[:, rows].min(1) for rows in of_class], axis=1)
    return scores


def stretched(examples: Batch, steps: int) -> np.ndarray:
    """Stretches padded values (N, C, T) to (N, C · steps) float64."""
    values, lengths = examples["values"].double().numpy(), examples["lengths"].numpy()
    rows = np.empty((*values.shape[:2], steps))
    for row, series, length in zip(rows, values, lengths, strict=True):
        places = np.linspace(0, length - 1, steps)
        for channel, source in zip(row, series, strict=True):
            channel[:] = source[:length] if length == steps else np.interp(places, np.arange(length), source[:length])
    return rows.reshape(len(rows), -1)


def _distances(queries: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Computes (B, N) root mean square differences."""
    squares = (queries**2).sum(1)[:, None] + (known**2).sum(1) - 2 * queries @ known.T
    result: np.ndarray = np.sqrt(np.maximum(squares, 0) / known.shape[1])
    return result
