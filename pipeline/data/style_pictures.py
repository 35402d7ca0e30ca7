"""Style transfer: records of all parts → splits → tables and card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.data.classes import duplicates
from pipeline.data.images import moments, picture_hashes
from pipeline.data.records import StyledPictures
from pipeline.data.splits import Shares, described, in_order, pool_name, shares_of_pool, stratified
from pipeline.data.tables import SPLITS, Prepared, schema


def prepare_pictures(parts: Mapping[str, StyledPictures], split: Shares, seed: int) -> Prepared:
    """Splits the content pictures, by chance where the parts are not published, and describes them.

    Squares of one picture never come into two splits. Tables: images (N, 3, S, S) uint8; rows (N,) int64, the squares
    by number; pictures (N,) int64, which picture a square is of. Raises ValueError where the parts do not fit together.
    """
    shares, order = shares_of_pool(parts, split), in_order(parts)
    records = [parts[name] for name in order]
    _check_parts({name: parts[name] for name in order})
    names = [name for part in records for name in part.names]
    ends = np.cumsum([0, *(len(part.names) for part in records)])
    pixels = np.concatenate([part.squares for part in records])  # (N, 3, S, S)
    pictures = np.concatenate([part.pictures + start for part, start in zip(records, ends[:-1], strict=True)])
    rows = {
        part: np.flatnonzero(np.isin(pictures, taken)) for part, taken in _taken(parts, order, shares, seed).items()
    }
    tables = {part: {"images": pixels[rows[part]], "rows": rows[part], "pictures": pictures[rows[part]]}
              for part in SPLITS}  # fmt: skip
    mean, deviation, used = moments(tables["train"]["images"], 255)
    card: dict[str, Any] = {
        "shape": "grid",
        "schema": schema(tables),
        "counts": {part: len(rows[part]) for part in SPLITS},
        "split": described(shares, order, "random", "pictures drawn by chance", seed),
        "contents": {part: [names[row] for row in np.unique(table["pictures"])] for part, table in tables.items()},
        "styles": records[0].style_names,
        "squares": int(np.bincount(pictures).max()),  # of one picture, at most
        "channels": pixels.shape[1],
        "height": pixels.shape[2],
        "width": pixels.shape[3],
        "maximum": 255,
        "mean": mean,
        "deviation": [value or 1.0 for value in deviation],  # a constant channel is shifted, not scaled
        "ranges": {"train": used},
        "missing": {},
        "warnings": [
            *dict.fromkeys(warning for part in records for warning in part.warnings),
            *duplicates(picture_hashes(tables), "squares", "pixel"),
        ],
    }
    return Prepared(tables, card)


def _check_parts(parts: Mapping[str, StyledPictures]) -> None:
    first, *others = parts
    for name, part in parts.items():
        if not isinstance(part, StyledPictures):
            kind = type(part).__name__
            raise ValueError(f"part {name} holds a {kind}; choose a data.format that reads content and style pictures")
    for name in others:
        for what in ("style_names", "perceptual"):
            if getattr(parts[name], what) != getattr(parts[first], what):
                option = what.removesuffix("_names")
                raise ValueError(
                    f"data.parts.{name}.{option}: differs from that of {first}; write it into data.options"
                )
        sides = [parts[part].squares.shape[2] for part in (first, name)]
        if sides[0] != sides[1]:
            raise ValueError(f"squares of all parts must have one size: {first} has {sides[0]}, {name} {sides[1]}")


def _taken(
    parts: Mapping[str, StyledPictures], order: Sequence[str], shares: Mapping[str, float], seed: int
) -> dict[str, np.ndarray]:
    """Pictures of every split by number: published parts as they are, the others out of the pool."""
    ends = np.cumsum([len(parts[name].names) for name in order])
    found = {name: np.arange(end - len(parts[name].names), end) for name, end in zip(order, ends, strict=True)}
    pool = found.pop(pool_name(parts))  # comes first, so that its pictures start at 0
    one_class = np.zeros(len(pool), dtype=np.int64)
    return found | (stratified(one_class, ["all pictures"], shares, seed) if shares else {"train": pool})
