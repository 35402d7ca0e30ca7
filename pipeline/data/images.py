"""Images: records of all parts → splits → tables and card."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from pipeline.data.records import Images
from pipeline.data.splits import Shares, described, in_order, pool_name, shares_of_pool, stratified
from pipeline.data.tables import SPLITS, Prepared, schema

FEW = 10  # examples of a class in a split, below which a figure about it says little


def prepare_images(parts: Mapping[str, Images], split: Shares, seed: int) -> Prepared:
    """Splits the records, stratified by class where the parts are not published, and describes them.

    Raises ValueError if the parts do not fit together, or a class is too small or not in train.
    """
    shares = shares_of_pool(parts, split)
    order = in_order(parts)
    records = [parts[name] for name in order]
    _check_same_shape(dict(zip(order, records, strict=True)))
    pixels = np.concatenate([part.pixels for part in records])  # (N, C, H, W)
    names, labels = _class_numbers(parts, order)
    rows = _rows(parts, order, labels, names, shares, seed)
    tables = {part: {"images": pixels[rows[part]], "labels": labels[rows[part]], "rows": rows[part]} for part in SPLITS}
    counts = {part: np.bincount(labels[rows[part]], minlength=len(names)).tolist() for part in SPLITS}
    mean, deviation, used = _moments(tables["train"]["images"], records[0].maximum)
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
            *_duplicates(tables),
            *_rare_classes(names, counts),
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


def _class_numbers(parts: Mapping[str, Images], order: list[str]) -> tuple[list[str], np.ndarray]:
    """Names of the classes, sorted, and (N,) int64 positions in them. Raises ValueError for a class not in train."""
    labels = [parts[name].labels for name in order]
    if len({part.dtype.kind for part in labels}) > 1:  # numbers in one part, text in another
        labels = [part.astype(str) for part in labels]
    known = np.unique(labels[0])
    for name, part in zip(order, labels, strict=True):
        strangers = np.setdiff1d(part, known)
        if len(strangers):
            raise ValueError(
                f"part {name} has examples of class {', '.join(map(repr, strangers.tolist()))}, which is not in train "
                f"({', '.join(map(repr, known.tolist()))}); add some to train or remove the class from {name}"
            )
    if len(known) < 2:
        raise ValueError(f"found one class only, {known.tolist()[0]!r}; a classification needs at least two")
    return [str(name) for name in known.tolist()], np.searchsorted(known, np.concatenate(labels)).astype(np.int64)


def _rows(
    parts: Mapping[str, Images],
    order: list[str],
    labels: np.ndarray,
    names: list[str],
    shares: Mapping[str, float],
    seed: int,
) -> dict[str, np.ndarray]:
    """Rows of every split: published parts as they are, the others out of the pool."""
    ends = np.cumsum([len(parts[name].labels) for name in order])
    rows = {name: np.arange(end - len(parts[name].labels), end) for name, end in zip(order, ends, strict=True)}
    pool = rows.pop(pool_name(parts))  # comes first, so that its rows start at 0
    return rows | (stratified(labels[pool], names, shares, seed) if shares else {"train": pool})


def _moments(images: np.ndarray, maximum: int) -> tuple[list[float], list[float], list[int]]:
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


def _duplicates(tables: Mapping[str, Mapping[str, np.ndarray]]) -> Iterator[str]:
    """Pictures of a split that another split has, too, pixel by pixel: they make a result look better than it is."""
    hashes = {
        part: [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in table["images"]]
        for part, table in tables.items()
    }
    for earlier, later in (("train", "validation"), ("train", "test"), ("validation", "test")):
        known = set(hashes[earlier])
        count = sum(value in known for value in hashes[later])
        if count:
            yield f"{count} of {len(hashes[later])} images of {later} are also in {earlier}, pixel by pixel"


def _rare_classes(names: list[str], counts: Mapping[str, list[int]]) -> Iterator[str]:
    for part, numbers in counts.items():
        absent = [name for name, count in zip(names, numbers, strict=True) if not count]
        rare = [f"{name} ({count})" for name, count in zip(names, numbers, strict=True) if 0 < count < FEW]
        if absent:
            yield f"{part} has no example of class {', '.join(absent)}"
        if rare:
            yield f"{part} has fewer than {FEW} examples of class {', '.join(rare)}"
