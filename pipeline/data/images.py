"""Images: records of all parts → splits → tables and card."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.data.classes import class_numbers, duplicates, rare_classes, split_rows
from pipeline.data.records import Images
from pipeline.data.splits import Shares, described, in_order, shares_of_pool
from pipeline.data.tables import SPLITS, Prepared, schema


def prepare_images(parts: Mapping[str, Images], split: Shares, seed: int) -> Prepared:
    """Splits the records, stratified by class where the parts are not published, and describes them.

    Raises ValueError if the parts do not fit together, or a class is too small or not in train.
    """
    shares = shares_of_pool(parts, split)
    order = in_order(parts)
    records = [parts[name] for name in order]
    _check_same_shape(dict(zip(order, records, strict=True)))
    pixels = np.concatenate([part.pixels for part in records])  # (N, C, H, W)
    names, labels = class_numbers(parts, order)
    rows = split_rows(parts, order, labels, names, shares, seed)
    tables = {part: {"images": pixels[rows[part]], "labels": labels[rows[part]], "rows": rows[part]} for part in SPLITS}
    counts = {part: np.bincount(labels[rows[part]], minlength=len(names)).tolist() for part in SPLITS}
    mean, deviation, used = moments(tables["train"]["images"], records[0].maximum)
    card: dict[str, Any] = {
        "shape": "grid",
        "schema": schema(tables),
        "counts": {part: len(rows[part]) for part in SPLITS},
        "split": described(shares, order, "stratified", "drawn class by class", seed),
        "classes": names,
        "class_counts": {part: dict(zip(names, counts[part], strict=True)) for part in SPLITS},
        "channels": pixels.shape[1],
        "height": pixels.shape[2],
        "width": pixels.shape[3],
        "maximum": records[0].maximum,
        "mean": mean,
        "deviation": [value or 1.0 for value in deviation],  # a constant channel is shifted, not scaled
        "ranges": {"train": used},
        "missing": {},
        "warnings": [
            *(warning for part in records for warning in part.warnings),
            *duplicates(picture_hashes(tables), "images", "pixel"),
            *rare_classes(names, counts),
            *(f"channel {channel} is constant in train" for channel, value in enumerate(deviation) if not value),
        ],
    }
    return Prepared(tables, card)


def _check_same_shape(parts: Mapping[str, Images]) -> None:
    first, *others = parts
    for name, part in parts.items():
        if not isinstance(part, Images):
            raise ValueError(f"part {name} holds a {type(part).__name__}; choose a data.format that reads images")
        if not len(part.pixels):
            raise ValueError(f"part {name} has no images; check data.parts.{name} in params.yaml")
    for name in others:
        shapes = {part: (*parts[part].pixels.shape[1:], parts[part].maximum) for part in (first, name)}
        if shapes[first] != shapes[name]:
            found = ", ".join(f"{part} has {c} × {h} × {w} up to {top}" for part, (c, h, w, top) in shapes.items())
            raise ValueError(f"images of all parts must have one size: {found}")


def moments(images: np.ndarray, maximum: int) -> tuple[list[float], list[float], list[int]]:
    """Mean and standard deviation of every channel after division by `maximum`, and the lowest and highest pixel.

    Sums are whole numbers, so that the result does not depend on the order of addition, that is on the machine.
    """
    counts = np.zeros((images.shape[1], 256), dtype=np.int64)  # (C, value)
    for start in range(0, len(images), 1024):
        for channel, histogram in enumerate(counts):
            histogram += np.bincount(images[start : start + 1024, channel].ravel(), minlength=256)
    values = np.arange(256)
    number = int(counts[0].sum())
    sums, squares = (counts @ values).tolist(), (counts @ values**2).tolist()
    mean = [total / number / maximum for total in sums]
    spread = [number * square - total**2 for total, square in zip(sums, squares, strict=True)]  # exact
    present = np.flatnonzero(counts.sum(axis=0))
    return mean, [value**0.5 / number / maximum for value in spread], [int(present[0]), int(present[-1])]


def picture_hashes(tables: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, list[bytes]]:
    """A number of every picture of every split that another picture does not have."""
    return {
        part: [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in table["images"]]
        for part, table in tables.items()
    }
