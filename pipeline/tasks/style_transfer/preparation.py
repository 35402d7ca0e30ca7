"""Style transfer: records of all parts → splits → tables and card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipeline.data.classes import duplicates
from pipeline.data.images import grid_card, picture_hashes
from pipeline.data.splits import BY_CONTENT, Shares, described, in_order, shares_of_pool, split_rows
from pipeline.data.tables import SPLITS, Prepared, schema
from pipeline.formats.contents import digests_of, digests_of_pictures
from pipeline.formats.image import png
from pipeline.formats.records import StyledPictures


def prepare_pictures(parts: Mapping[str, StyledPictures], split: Shares, seed: int) -> Prepared:
    """Splits the content pictures, by content where the parts are not published, and describes them.

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
    units = np.concatenate([digests_of_pictures(part.files) for part in records])
    taken = split_rows({name: len(parts[name].names) for name in order}, shares, seed, units, classes=["pictures"])
    rows = {part: np.flatnonzero(np.isin(pictures, taken[part])) for part in SPLITS}
    tables = {part: {"images": pixels[rows[part]], "rows": rows[part], "pictures": pictures[rows[part]]}
              for part in SPLITS}  # fmt: skip
    card: dict[str, Any] = grid_card(tables, 255) | {
        "schema": schema(tables),
        "counts": {part: len(rows[part]) for part in SPLITS},
        "split": described(shares, order, "content", BY_CONTENT, seed),
        "contents": {part: [names[row] for row in np.unique(table["pictures"])] for part, table in tables.items()},
        "styles": records[0].style_names,
        "style_digests": [f"{unit:016x}" for unit in digests_of(s.tobytes() for s in records[0].styles).tolist()],
        "squares": int(np.bincount(pictures).max()),  # of one picture, at most
        "missing": {},
        "warnings": [
            *dict.fromkeys(warning for part in records for warning in part.warnings),
            *duplicates(picture_hashes(tables), "squares", "pixel"),
        ],
    }
    sent = pd.Series([png(square) for square in tables["test"]["images"]], dtype=object)
    digests = {part: units[table["pictures"]] for part, table in tables.items()}
    return Prepared(tables, card, pd.DataFrame({"image": sent}), digests)


def _check_parts(parts: Mapping[str, StyledPictures]) -> None:
    first, *other_names = parts
    for name, part in parts.items():
        if not isinstance(part, StyledPictures):
            kind = type(part).__name__
            raise ValueError(f"part {name} holds a {kind}; choose a data.format that reads content and style pictures")
    for name in other_names:
        for what in ("style_names", "perceptual"):
            if getattr(parts[name], what) != getattr(parts[first], what):
                option = what.removesuffix("_names")
                raise ValueError(
                    f"data.parts.{name}.{option}: differs from that of {first}; write it into data.options"
                )
        sides = [parts[part].squares.shape[2] for part in (first, name)]
        if sides[0] != sides[1]:
            raise ValueError(f"squares of all parts must have one size: {first} has {sides[0]}, {name} {sides[1]}")
