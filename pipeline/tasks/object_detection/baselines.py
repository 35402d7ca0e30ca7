"""The classical detector: what differs from the background, cut into connected pieces at several thresholds, and how
well each piece fits an object of each class, by its size, form and colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from pipeline.data.tables import Card, Table
from pipeline.tasks.object_detection.detections import CANDIDATES, inner_sizes, prediction_table, reported
from pipeline.tasks.object_detection.network import overlaps

LEVELS = 9  # thresholds
BLUR = 1.0  # pixels
SMALLEST = 0.25  # of the area of the smallest box in train: less is noise
SPLITS = ("validation", "test")


@dataclass(frozen=True)
class Scale:
    """The background and the thresholds that are fitted on train before there are pieces."""

    background: np.ndarray  # (C, 1, 1) the usual pixel outside of all boxes
    deviation: np.ndarray  # (C, 1, 1)
    thresholds: np.ndarray  # (LEVELS,) of the distance from the background
    smallest: float  # area of a piece, pixels


def component_predictions(
    tables: Mapping[str, Table], card: Card, seed: int, settings: Mapping[str, Any]
) -> dict[str, pd.DataFrame]:
    """Builds prediction tables of validation and test; everything is fitted on train."""
    from sklearn.ensemble import RandomForestRegressor

    scale = _scale(tables["train"], card)
    pieces = [_pieces(*picture, scale) for picture in _pictures(tables["train"], card)]
    fits = [_fits(boxes, *truth, card) for (boxes, _), truth in zip(pieces, _truths(tables["train"]), strict=True)]
    forest = RandomForestRegressor(100, min_samples_leaf=3, random_state=seed)
    features = np.concatenate([piece_features for _, piece_features in pieces])
    known = len(features) > 0
    if known:
        targets = np.concatenate(fits)
        forest.fit(features, targets.ravel() if targets.shape[1] == 1 else targets)
    predictions = {}
    for split in SPLITS:
        table = tables[split]
        detections = np.stack([
            _answers(*_pieces(pixels, inner, scale), inner, forest if known else None, card, settings)
            for pixels, inner in _pictures(table, card)
        ])  # fmt: skip
        predictions[split] = prediction_table(detections, table, card)
    return predictions


def _pictures(table: Table, card: Card) -> list[tuple[np.ndarray, Sequence[int]]]:
    """Returns (C, H, W) pixels of every picture and its (height, width) inside of the grid."""
    inner = inner_sizes(table["sizes"], card["height"], card["width"]).tolist()
    return list(zip(table["images"].numpy(), inner, strict=True))


def _truths(table: Table) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(zip(table["boxes"].numpy(), table["labels"].numpy(), strict=True))


def _scale(table: Table, card: Card) -> Scale:
    """Takes pixels outside of all boxes as background; thresholds are between their distance and most others'."""
    deviation = np.array(card["deviation"]).reshape(-1, 1, 1) * card["maximum"]
    outside, inside, areas = [], [], []
    for (pixels, (height, width)), (boxes, labels) in zip(_pictures(table, card), _truths(table), strict=True):
        covered = np.zeros((height, width), dtype=bool)
        for left, top, right, bottom in boxes[labels >= 0]:
            covered[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))] = True
            areas.append((right - left) * (bottom - top))
        values = pixels[:, :height, :width].astype(np.float64)
        step = 4 if covered[::4, ::4].any() else 1  # few pixels are enough, unless the boxes lie between them
        outside.append(values[:, ::4, ::4][:, ~covered[::4, ::4]])
        inside.append(values[:, ::step, ::step][:, covered[::step, ::step]])
    free, taken = np.concatenate(outside, axis=1), np.concatenate(inside, axis=1)  # (C, pixels)
    background = np.median(free if free.shape[1] else taken, axis=1).reshape(-1, 1, 1)
    low = np.median(_distances(free[..., None], background, deviation)) if free.shape[1] else 0.0
    high = np.quantile(_distances(taken[..., None], background, deviation), 0.95)
    thresholds = np.linspace(low, max(high, low), LEVELS + 2)[1:-1]
    return Scale(background, deviation, thresholds, SMALLEST * float(min(areas)))


def _distances(pixels: np.ndarray, background: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Measures how far each pixel is from the background: (C, H, W) → (H, W)."""
    result: np.ndarray = np.sqrt((((pixels - background) / deviation) ** 2).mean(axis=0))
    return result


def _pieces(pixels: np.ndarray, inner: Sequence[int], scale: Scale) -> tuple[np.ndarray, np.ndarray]:
    """Finds (P, 4) boxes and (P, F) features of the connected pieces of a picture at all thresholds."""
    from scipy import ndimage

    values = pixels[:, : inner[0], : inner[1]].astype(np.float64)
    distance = ndimage.gaussian_filter(_distances(values, scale.background, scale.deviation), BLUR)
    boxes, features = [np.zeros((0, 4))], [np.zeros((0, 4 + 2 * len(values)))]
    for level in scale.thresholds:
        numbers, count = ndimage.label(ndimage.binary_fill_holes(distance > level))
        index = np.arange(1, count + 1)
        areas = ndimage.sum_labels(np.ones_like(distance), numbers, index)
        large = index[areas >= scale.smallest]
        if not len(large):
            continue
        slices = ndimage.find_objects(numbers)
        sides = np.array([[across.start, down.start, across.stop, down.stop]
                          for down, across in (slices[number - 1] for number in large)], dtype=np.float64)  # fmt: skip
        width, height = sides[:, 2] - sides[:, 0], sides[:, 3] - sides[:, 1]
        colours = [ndimage.mean(channel, numbers, large) for channel in values]
        spreads = [ndimage.standard_deviation(channel, numbers, large) for channel in values]
        share = areas[large - 1] / (width * height)
        boxes.append(sides)
        features.append(np.stack([np.log(width), np.log(height), share, np.full(len(large), level),
                                  *colours, *spreads], axis=1))  # fmt: skip
    return np.concatenate(boxes), np.concatenate(features)


def _fits(pieces: np.ndarray, boxes: np.ndarray, labels: np.ndarray, card: Card) -> np.ndarray:
    """Computes (P, K) how much each piece overlaps (IoU) the nearest true box of each class."""
    fits = overlaps(torch.from_numpy(pieces)[:, None], torch.from_numpy(boxes.astype(np.float64)))[0].numpy()  # (P, M)
    classes = [np.where(labels == label, fits, 0.0).max(1) for label in range(len(card["classes"]))]
    return np.stack(classes, axis=1)


def _answers(
    pieces: np.ndarray, features: np.ndarray, inner: Sequence[int], forest: Any, card: Card, settings: Mapping[str, Any]
) -> np.ndarray:
    """Returns (most_boxes, 6) what is reported of a picture, as of a network."""
    classes = len(card["classes"])
    sure = np.zeros(0)
    if forest is not None and len(pieces):
        sure = forest.predict(features).reshape(-1)  # (P · K,)
    order = np.argsort(-sure, kind="stable")[:CANDIDATES]
    boxes, labels = pieces[order // classes], order % classes
    answer = reported(
        torch.from_numpy(boxes)[None], torch.from_numpy(sure[order])[None], torch.from_numpy(labels)[None],
        torch.tensor([list(inner)]), **settings,
    )  # fmt: skip
    result: np.ndarray = answer[0].numpy()
    return result
