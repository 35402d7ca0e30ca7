"""Images: records of all parts → splits → tables and card."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipeline.data.classes import Tables, class_numbers, duplicates, labelled_card, rare_classes
from pipeline.data.splits import BY_CONTENT, Shares, described, in_order, shares_of_pool, split_rows
from pipeline.data.statistics import moments
from pipeline.data.tables import SPLITS, Prepared
from pipeline.formats.contents import digests_of, digests_of_pictures
from pipeline.formats.image import png
from pipeline.formats.records import Images

CONSTANT = 1.0  # in the place of the deviation of a constant channel, which is shifted and not scaled; else 0.5 at most


def prepare_images(
    parts: Mapping[str, Images],
    split: Shares,
    seed: int,
    classes: int = 2,
    originals: Mapping[str, Images] | None = None,
) -> Prepared:  # fmt: skip
    """Splits the records, class by class where the parts are not published, and describes them.

    `originals` are the pictures as they were read, where `parts` hold something made of them.

    Raises ValueError if the parts do not fit together, a class is too small or not in train, or there are fewer than
    so many `classes`.
    """
    shares = shares_of_pool(parts, split)
    order = in_order(parts)
    records = [parts[name] for name in order]
    _check_same_shape(dict(zip(order, records, strict=True)))
    pixels = np.concatenate([part.pixels for part in records])  # (N, C, H, W)
    names, labels = class_numbers(parts, order, classes)
    sizes = {name: len(parts[name].labels) for name in order}
    sources = [(originals or parts)[name] for name in order]
    units = np.concatenate([picture_digests(part) for part in sources])
    rows = split_rows(sizes, shares, seed, units, classes=names, labels=labels)
    tables = {part: {"images": pixels[rows[part]], "labels": labels[rows[part]], "rows": rows[part]} for part in SPLITS}
    card = labelled_card(tables, names) | grid_card(tables, records[0].maximum)
    card["split"] = described(shares, order, "content", BY_CONTENT, seed)
    flat = [channel for channel, deviation in enumerate(card["deviation"]) if deviation == CONSTANT]
    card["warnings"] = [
        *(warning for part in records for warning in part.warnings),
        *duplicates(picture_hashes(tables), "images", "pixel"),
        *rare_classes(card["class_counts"], "example", "examples"),
        *(f"channel {channel} is constant in train" for channel in flat),
    ]
    requests = pd.DataFrame({"image": pd.Series(_sent(sources, rows["test"]), dtype=object)})
    return Prepared(tables, card, requests, {part: units[rows[part]] for part in SPLITS})


def picture_digests(images: Images) -> np.ndarray:
    """Returns (N,) uint64 of the files, or of the pixels where a file holds many pictures."""
    if images.files is not None:
        return digests_of_pictures(images.files)
    return digests_of(picture.tobytes() for picture in images.pixels)


def _sent(records: list[Images], rows: np.ndarray) -> list[bytes]:
    """Returns what a user would send of these rows of all records: the files, or PNG files of the pixels."""
    every = [(part, own) for part in records for own in range(len(part.labels))]
    chosen = [every[row] for row in rows]
    return [
        png(part.pixels[own], part.maximum) if part.files is None else part.files[own].read_bytes()
        for part, own in chosen
    ]


def grid_card(tables: Tables, maximum: int) -> dict[str, Any]:
    """Describes tables of pictures for a card; `images` (N, C, H, W) have pixels from 0 to `maximum`."""
    mean, deviation, used = moments(tables["train"]["images"], maximum)
    channels, height, width = tables["train"]["images"].shape[1:]
    return {
        "shape": "grid",
        "channels": channels,
        "height": height,
        "width": width,
        "maximum": maximum,
        "mean": mean,
        "deviation": [value or CONSTANT for value in deviation],
        "ranges": {"train": used},
    }


def _check_same_shape(parts: Mapping[str, Images]) -> None:
    first, *later = parts
    for name, part in parts.items():
        if not isinstance(part, Images):
            raise ValueError(f"part {name} holds a {type(part).__name__}; choose a data.format that reads images")
        if not len(part.pixels):
            raise ValueError(f"part {name} has no images; check data.parts.{name} in params.yaml")
    for name in later:
        shapes = {part: (*parts[part].pixels.shape[1:], parts[part].maximum) for part in (first, name)}
        if shapes[first] != shapes[name]:
            sizes = ", ".join(f"{part} has {c} × {h} × {w} up to {top}" for part, (c, h, w, top) in shapes.items())
            raise ValueError(f"images of all parts must have one size: {sizes}")


def picture_hashes(tables: Tables) -> dict[str, list[bytes]]:
    """Hashes every picture of every split, so that equal pictures are recognised."""
    return {
        part: [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in table["images"]]
        for part, table in tables.items()
    }
