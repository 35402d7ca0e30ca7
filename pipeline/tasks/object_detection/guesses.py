"""Boxes without looking at a picture: where train usually has objects.

Boxes are fractions of the height and width of a picture, so that they fit pictures of any shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from pipeline.data.tables import Card, Table
from pipeline.tasks.object_detection.detections import inner_sizes, prediction_table
from pipeline.tasks.object_detection.network import HALF, overlaps

CANDIDATES = 500  # boxes of train, evenly out of all, among which the places of a class are chosen


@dataclass(frozen=True)
class Guess:
    """A box that is reported in every picture."""

    box: np.ndarray  # (4,) left, top, right, bottom, as fractions
    confidence: float  # in what share of the pictures of train it finds an object that no surer one has found
    label: int


def box_guesses(tables: Mapping[str, Table], card: Card, most_boxes: int) -> dict[str, dict[str, pd.DataFrame]]:
    """Guesses `constant_box`: in every picture the median box of the class for which this works best in train.

    `constant_boxes`: of every class as many boxes as a picture has on average, each where it fits most of the objects
    of train that none before it fits. The surest of them, at most `most_boxes`.
    """
    pictures, boxes, labels = _objects(tables["train"], card)
    count = len(tables["train"]["images"])
    of_class = {label: (pictures[labels == label], boxes[labels == label]) for label in np.unique(labels).tolist()}
    medians = [_median_box(label, *objects, count) for label, objects in of_class.items()]
    several = [guess for label, objects in of_class.items() for guess in _usual_boxes(label, *objects, count)]
    several.sort(key=lambda guess: -guess.confidence)
    # One box in each picture: its average precision is precision times recall.
    best = max(medians, key=lambda guess: guess.confidence**2 / len(of_class[guess.label][0]))
    chosen = {"constant_box": [best], "constant_boxes": several[:most_boxes]}
    return {
        name: {split: _predictions(guesses, tables[split], card) for split in ("validation", "test")}
        for name, guesses in chosen.items()
    }


def _objects(table: Table, card: Card) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns (M,) pictures, (M, 4) boxes as fractions and (M,) labels of all true boxes."""
    labels = table["labels"].numpy()
    pictures, places = np.nonzero(labels >= 0)
    boxes = table["boxes"].double().numpy() / _sides(table, card)[:, None]
    return pictures, boxes[pictures, places], labels[pictures, places]


def _sides(table: Table, card: Card) -> np.ndarray:
    """Returns (N, 4) width, height, width, height of the pictures inside of the grid."""
    inner = inner_sizes(table["sizes"], card["height"], card["width"]).double().numpy()
    return np.tile(inner[:, ::-1], 2)


def _median_box(label: int, pictures: np.ndarray, boxes: np.ndarray, count: int) -> Guess:
    box = np.median(boxes, axis=0)
    return Guess(box, len(np.unique(pictures[_fits(box, boxes)])) / count, label)


def _usual_boxes(label: int, pictures: np.ndarray, boxes: np.ndarray, count: int) -> list[Guess]:
    """Chooses boxes greedily out of the median box and true ones, at least one."""
    some = boxes[np.unique(np.linspace(0, len(boxes) - 1, CANDIDATES).astype(int))]
    candidates = np.concatenate([np.median(boxes, axis=0)[None], some])
    fits = np.stack([_fits(candidate, boxes) for candidate in candidates])  # (Q, M)
    free = np.ones(len(boxes), dtype=bool)
    guesses = []
    for _ in range(max(1, round(len(boxes) / count))):
        best = int((fits & free).sum(1).argmax())
        new = fits[best] & free
        if not new.any():
            break
        guesses.append(Guess(candidates[best], len(np.unique(pictures[new])) / count, label))
        free &= ~new
    return guesses


def _fits(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Returns (M,) bool, which of the boxes (M, 4) it overlaps by half."""
    candidate, objects = (torch.from_numpy(1000 * sides) for sides in (box, boxes))  # `overlaps` is made for pixels
    fits: np.ndarray = overlaps(candidate, objects)[0].numpy() >= HALF
    return fits


def _predictions(guesses: list[Guess], table: Table, card: Card) -> pd.DataFrame:
    sides = _sides(table, card)  # (N, 4)
    reported = np.empty((len(sides), len(guesses), 6))
    for place, guess in enumerate(guesses):
        reported[:, place, :4] = guess.box * sides
        reported[:, place, 4:] = guess.confidence, guess.label
    return prediction_table(reported, table, card)
