"""Fashion-MNIST in memory, or pictures of the same shape where its files are not at hand."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.data.images import prepare_images
from pipeline.data.tables import Batch
from pipeline.formats import FORMATS
from pipeline.formats.records import Images

CLASSES = 10


@dataclass(frozen=True)
class Clothes:
    """Training and validation pictures, (N, 1, 28, 28) uint8 with labels (N,), and the card that describes them."""

    train: Batch
    validation: Batch
    card: dict[str, Any]
    real: bool


def load_clothes(train: int, validation: int) -> Clothes:
    """So many pictures of each split, the same in every process."""
    folder = _folder()
    records = _synthetic(train + validation) if folder is None else _read(folder)
    order = _evenly(records.labels)
    rows = {"train": order[:train], "validation": order[train : train + validation]}
    parts = {
        part: Images(records.pixels[own], records.labels[own], records.maximum, None) for part, own in rows.items()
    }
    prepared = prepare_images({**parts, "test": parts["validation"]}, {"validation": None, "test": None}, seed=0)
    tables = {
        split: {name: torch.from_numpy(np.ascontiguousarray(table[name])) for name in ("images", "labels")}
        for split, table in prepared.tables.items()
    }
    return Clothes(tables["train"], tables["validation"], prepared.card, folder is not None)


def _evenly(labels: np.ndarray) -> np.ndarray:
    """(N,) rows by chance, one of every class in turn."""
    drawn = np.random.default_rng(0).permutation(len(labels))
    number = np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        own = drawn[labels[drawn] == label]
        number[own] = np.arange(len(own))
    return drawn[np.argsort(number[drawn], kind="stable")]


def _folder() -> Path | None:
    mirror = os.environ.get("PIPELINE_DATA_MIRROR")
    places = [Path(mirror, "fashion-mnist")] if mirror else []
    places += [Path("data/raw/fashion-mnist"), Path("../shared/data/fashion-mnist")]
    return next((place for place in places if (place / "train-images-idx3-ubyte.gz").is_file()), None)


def _read(folder: Path) -> Images:
    found = FORMATS["idx"](folder, images="train-images-idx3-ubyte.gz", labels="train-labels-idx1-ubyte.gz")
    assert isinstance(found, Images)
    return found


def _synthetic(count: int) -> Images:
    """A blurred pattern for each class under noise."""
    random = np.random.default_rng(0)
    labels = np.arange(count) % CLASSES
    patterns = np.repeat(np.repeat(random.integers(0, 200, (CLASSES, 1, 7, 7)), 4, axis=2), 4, axis=3)
    pixels = np.clip(patterns[labels] + random.normal(0, 60, (count, 1, 28, 28)), 0, 255)
    return Images(pixels.astype(np.uint8), labels, 255, None)
