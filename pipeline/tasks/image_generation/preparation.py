"""Pictures whose pixels have few levels: records of all parts → quantised pictures → splits, tables and card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from pipeline.data.images import prepare_images
from pipeline.data.splits import Shares
from pipeline.data.tables import Prepared
from pipeline.formats.records import Images


def prepare_levels(parts: Mapping[str, Images], split: Shares, seed: int, levels: int, samples: int) -> Prepared:
    """Works like `prepare_images`, with pixels from 0 to `levels` - 1; the card records the levels that bits count.

    A single class is enough: pictures can be drawn without telling any apart.

    Raises ValueError for more levels than the pixels have, and for fewer samples than there are classes.
    """
    quantised = {name: quantise(part, levels) if isinstance(part, Images) else part for name, part in parts.items()}
    prepared = prepare_images(quantised, split, seed, classes=1, originals=parts)
    classes = len(prepared.card["classes"])
    if samples < classes:
        raise ValueError(f"settings.samples: found {samples}; allowed: at least one for each of the {classes} classes")
    values = next(iter(parts.values())).maximum + 1
    prepared.card.update(levels=levels, values=values)  # of a pixel: as they are counted, and as they were in the files
    labels = prepared.tables["test"]["labels"]
    requests = prepared.requests.assign(label=[prepared.card["classes"][label] for label in labels])
    return replace(prepared, requests=requests)


def quantise(images: Images, levels: int) -> Images:
    """Joins the values of the pixels to so many levels, as even as whole numbers allow."""
    values = images.maximum + 1
    if levels > values:
        raise ValueError(f"settings.levels: found {levels}; allowed: 2 to {values}, the values that a pixel can have")
    table = (np.arange(values) * levels // values).astype(np.uint8)
    return replace(images, pixels=table[images.pixels], maximum=levels - 1)
