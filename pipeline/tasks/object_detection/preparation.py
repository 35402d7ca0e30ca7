"""Pictures with boxes: records of all parts → splits → tables and card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
import pandas as pd

from pipeline.data.classes import duplicates, labelled_card, rare_classes
from pipeline.data.images import grid_card, picture_hashes
from pipeline.data.splits import BY_CONTENT, Shares, described, in_order, shares_of_pool, split_rows
from pipeline.data.tables import SPLITS, Prepared
from pipeline.formats.contents import digests_of, digests_of_pictures
from pipeline.formats.image import png
from pipeline.formats.padding import check_padding
from pipeline.formats.records import AnnotatedImages


def prepare_scenes(parts: Mapping[str, AnnotatedImages], split: Shares, seed: int) -> Prepared:
    """Splits the records, by content where the parts are not published, and describes them.

    Tables: images (N, C, H, W) uint8; boxes (N, M, 4) float32 in pixels of the table's pictures; labels (N, M) int64,
    -1 where a picture has fewer than M boxes; sizes (N, 2) int64, height and width in the file; rows (N,) int64. Raises
    ValueError if the parts do not fit together, or a class is not in train.
    """
    shares, order = shares_of_pool(parts, split), in_order(parts)
    records = [parts[name] for name in order]
    _check_parts({name: parts[name] for name in order})
    classes = _classes(parts, order)
    sizes_of_parts = {name: len(parts[name].names) for name in order}
    units = np.concatenate([_digests(part) for part in records])
    rows = split_rows(sizes_of_parts, shares, seed, units, classes=["pictures"])  # a picture has many: none decides
    pixels = np.concatenate([part.pixels for part in records])  # (N, C, H, W)
    boxes, labels = _padded(records, classes)
    sizes = np.concatenate([part.sizes for part in records])
    tables = {
        part: {"images": pixels[rows[part]], "boxes": boxes[rows[part]], "labels": labels[rows[part]],
               "sizes": sizes[rows[part]], "rows": rows[part]}
        for part in SPLITS
    }  # fmt: skip
    card = labelled_card(tables, classes) | grid_card(tables, 255)
    card["split"] = described(shares, order, "content", BY_CONTENT, seed)
    card["side"] = _usual_side(tables["train"])
    card["warnings"] = [
        *(warning for part in records for warning in part.warnings),
        *duplicates(picture_hashes(tables), "images", "pixel"),
        *rare_classes(card["class_counts"], "box", "boxes"),
    ]
    return Prepared(tables, card, _sent(records, rows["test"]), {part: units[rows[part]] for part in SPLITS})


def _digests(part: AnnotatedImages) -> np.ndarray:
    return (
        digests_of(image.tobytes() for image in part.pixels) if part.files is None else digests_of_pictures(part.files)
    )


def _sent(records: Sequence[AnnotatedImages], rows: np.ndarray) -> pd.DataFrame:
    """Returns what a user would send of these rows of all records: the files, or PNG files of the pixels."""
    every = [(part, own) for part in records for own in range(len(part.names))]
    chosen = [every[row] for row in rows]
    files = [png(part.pixels[own]) if part.files is None else part.files[own].read_bytes() for part, own in chosen]
    return pd.DataFrame({"image": pd.Series(files, dtype=object)})


def _check_parts(parts: Mapping[str, AnnotatedImages]) -> None:
    for name, part in parts.items():
        if not isinstance(part, AnnotatedImages):
            kind = type(part).__name__
            raise ValueError(f"part {name} holds a {kind}; choose a data.format that reads pictures with boxes")
    shapes = {name: part.pixels.shape[1:] for name, part in parts.items()}
    if len(set(shapes.values())) > 1:
        sizes = ", ".join(f"{name} has {c} × {h} × {w}" for name, (c, h, w) in shapes.items())
        raise ValueError(f"pictures of all parts must be brought to one size: {sizes}; write the size into options")


def _classes(parts: Mapping[str, AnnotatedImages], order: Sequence[str]) -> list[str]:
    """Lists the classes, sorted. Raises ValueError for a class that is not in train, with the picture it is in."""
    known = sorted(set(chain.from_iterable(parts[order[0]].labels)))
    if not known:
        raise ValueError(f"part {order[0]} has no boxes at all; there is nothing to learn from it")
    for name in order[1:]:
        for file, labels in zip(parts[name].names, parts[name].labels, strict=True):
            strangers = sorted(set(labels) - set(known))
            if strangers:
                raise ValueError(
                    f"{file} of part {name} has a box of class {strangers[0]!r}, which is not in train "
                    f"({', '.join(known)}); add some to train, or correct or remove the box"
                )
    return known


def _padded(records: Sequence[AnnotatedImages], classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns (N, M, 4) float32 boxes and (N, M) int64 labels."""
    number = {name: position for position, name in enumerate(classes)}
    pictures = [pair for part in records for pair in zip(part.boxes, part.labels, strict=True)]
    most = max(1, *(len(labels) for _, labels in pictures)) if pictures else 1
    check_padding(np.array([len(labels) for _, labels in pictures], dtype=np.int64), 24)
    boxes = np.zeros((len(pictures), most, 4), dtype=np.float32)
    labels = np.full((len(pictures), most), -1, dtype=np.int64)
    for row, (sides, names) in enumerate(pictures):
        boxes[row, : len(names)] = sides
        labels[row, : len(names)] = [number[name] for name in names]
    return boxes, labels


def _usual_side(table: Mapping[str, np.ndarray]) -> float:
    """Returns the median over the boxes of the square root of their area, in pixels of the table's pictures."""
    boxes = table["boxes"][table["labels"] >= 0].astype(np.float64)
    if not len(boxes):
        raise ValueError("train has no boxes; take a smaller share for validation and test")
    return float(np.median(np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))))
