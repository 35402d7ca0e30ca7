"""Average precision of boxes that have been matched with the true ones, for many weightings of the pictures at once.

As COCO computes it (Lin et al. 2014): the mean, over 101 levels of recall, of the best precision at that recall or
above. Boxes that are equally sure count as one step, so that their order in a table plays no role.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))  # overlaps (IoU) from which a box is right
SURE = 0.5  # confidence from which a box counts for the score of a single picture
CELLS = 4_000_000  # numbers held in memory at a time: 32 MB

Curve = tuple[np.ndarray, np.ndarray, np.ndarray]


def column_of(threshold: float) -> str:
    """Names the column of a threshold: 'matched_50' of 0.5."""
    return f"matched_{round(100 * threshold)}"


def detection_figures(predictions: pd.DataFrame, classes: int, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Computes (R,) figures if picture i counted `weights` (R, N) times.

    Means over the classes that have true boxes: `ap50` and `ap75` at an overlap (IoU) of at least 0.5 and 0.75, `ap`
    the mean over overlaps from 0.5 to 0.95, `recall50` the share of the true boxes that are found at all. The lowest of
    any class: `worst_class_ap50` and `worst_class_recall`.
    """
    rows = max(1, CELLS // max(len(predictions), weights.shape[1]))
    chunks = [_figures(predictions, classes, weights[at : at + rows]) for at in range(0, len(weights), rows)]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def picture_scores(predictions: pd.DataFrame) -> np.ndarray:
    """Computes (N,) F1 of each picture's boxes of a confidence of at least SURE; 1 where nothing is, nor is found."""
    sure = (predictions["confidence"] >= SURE) & (predictions["predicted"] >= 0)
    example = predictions["example"]
    hits = (predictions[column_of(0.5)] & sure).groupby(example).sum().to_numpy(np.float64)
    detected = sure.groupby(example).sum().to_numpy(np.float64)
    truths = _truths(predictions).sum(1)
    return np.where(detected + truths > 0, 2 * hits / np.maximum(detected + truths, 1), 1.0)


def curve(predictions: pd.DataFrame, label: int, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns recall and precision of a class for every number of boxes, the surest first."""
    of_class = predictions[predictions["predicted"] == label].sort_values("confidence", ascending=False, kind="stable")
    hits = of_class[column_of(threshold)].to_numpy(np.float64).cumsum()
    total = max(_truths(predictions)[:, label].sum(), 1)
    return hits / total, hits / np.arange(1, len(hits) + 1)


def _figures(predictions: pd.DataFrame, classes: int, weights: np.ndarray) -> dict[str, np.ndarray]:
    truths = weights @ _truths(predictions)  # (R, K)
    precision = np.zeros((len(weights), classes, len(THRESHOLDS)))
    recall = np.zeros((len(weights), classes))
    for label in range(classes):
        rows = predictions[predictions["predicted"] == label].sort_values("confidence", ascending=False, kind="stable")
        sure, example = rows["confidence"].to_numpy(), rows["example"].to_numpy()
        counted = weights[:, example]  # (R, D)
        so_far = counted.cumsum(1)
        ends = np.searchsorted(-sure, -sure, side="right") - 1  # (D,) the last box that is as sure as this one
        for at, threshold in enumerate(THRESHOLDS):
            right = np.flatnonzero(rows[column_of(threshold)].to_numpy())  # precision is best where a box is right
            hits = counted[:, right].cumsum(1)
            steps = np.searchsorted(right, ends[right], side="right") - 1  # hits up to the end of equals
            precision[:, label, at] = _interpolated(hits[:, steps], so_far[:, ends[right]], truths[:, label])
            if at == 0 and len(right):
                recall[:, label] = hits[:, -1] / np.maximum(truths[:, label], 1)
    used = truths > 0
    means = _mean_where(precision, used)  # (R, T)
    return {
        "ap50": means[:, 0],
        "ap75": means[:, THRESHOLDS.index(0.75)],
        "ap": means.mean(1),
        "recall50": _mean_where(recall[..., None], used)[:, 0],
        "worst_class_ap50": _lowest(precision[..., 0], used),
        "worst_class_recall": _lowest(recall, used),
    }


def _interpolated(hits: np.ndarray, boxes: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """Computes (R,) average precision of (R, S) hits among `boxes`, both never falling, of `truths` (R,) true ones."""
    if not hits.shape[1]:
        return np.zeros(len(hits))
    precision = hits / np.maximum(boxes, 1e-12)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]  # at this recall or above
    reached = np.floor(100 * hits / np.maximum(truths, 1e-12)[:, None] + 1e-9) + (hits > 0)  # levels 0, 0.01, …, 1
    levels = np.diff(reached, axis=1, prepend=0)
    result: np.ndarray = (best * levels).sum(1) / 101
    return result


def _truths(predictions: pd.DataFrame) -> np.ndarray:
    """Counts the true boxes of each class in every picture: (N, K)."""
    columns = [name for name in predictions if str(name).startswith("truths_")]
    return predictions.drop_duplicates("example").sort_values("example")[columns].to_numpy(np.float64)


def _mean_where(values: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Averages (R, K, T) over the classes that are used: (R, T); 0 where none is."""
    result: np.ndarray = (values * used[..., None]).sum(1) / np.maximum(used.sum(1), 1)[:, None]
    return result


def _lowest(values: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Returns the lowest (R,) of (R, K) over the classes that are used; 0 where none is."""
    result: np.ndarray = np.where(used.any(1), np.where(used, values, np.inf).min(1), 0.0)
    return result
