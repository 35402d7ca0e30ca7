"""Labelled records: their classes by number, their part of a card, and what is worth a warning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from pipeline.data.tables import schema

FEW = 10  # of a class in a split, below which a figure about it means little
Tables = Mapping[str, Mapping[str, np.ndarray]]


class Labelled(Protocol):
    """Records of one part with a label each."""

    @property
    def labels(self) -> np.ndarray:
        """Returns (N,) integers or text."""


def class_numbers(parts: Mapping[str, Labelled], order: list[str], fewest: int = 2) -> tuple[list[str], np.ndarray]:
    """Returns names of the classes, sorted, and (N,) int64 positions in them.

    Raises ValueError for a class that is not in train, and for fewer classes than a task can do with.
    """
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
    if len(known) < fewest:
        raise ValueError(f"found one class only, {known.tolist()[0]!r}; a classification needs at least two")
    return [str(name) for name in known.tolist()], np.searchsorted(known, np.concatenate(labels)).astype(np.int64)


def labelled_card(tables: Tables, names: list[str]) -> dict[str, Any]:
    """Describes tables of labelled examples for a card; `labels` are positions in `names`, -1 for none."""
    seen = {part: table["labels"][table["labels"] >= 0] for part, table in tables.items()}
    numbers = {part: np.bincount(labels, minlength=len(names)).tolist() for part, labels in seen.items()}
    return {
        "schema": schema(tables),
        "counts": {part: len(table["labels"]) for part, table in tables.items()},
        "classes": names,
        "class_counts": {part: dict(zip(names, numbers[part], strict=True)) for part in tables},
        "missing": {},
    }


def duplicates(hashes: Mapping[str, list[bytes]], things: str, by: str) -> Iterator[str]:
    """Counts records of a split that another split has, too: they make a result look better than it is.

    `things` is what the records are, such as images, compared `by`, such as pixel.
    """
    for earlier, later in (("train", "validation"), ("train", "test"), ("validation", "test")):
        known = set(hashes[earlier])
        count = sum(value in known for value in hashes[later])
        if count:
            yield f"{count} of {len(hashes[later])} {things} of {later} are also in {earlier}, {by} by {by}"


def rare_classes(class_counts: Mapping[str, Mapping[str, int]], one: str, many: str) -> Iterator[str]:
    """Names classes about which a figure of a split means little, or nothing; `one` and `many` name the examples."""
    for part, counts in class_counts.items():
        absent = [name for name, count in counts.items() if not count]
        rare = [f"{name} ({count})" for name, count in counts.items() if 0 < count < FEW]
        if absent:
            yield f"{part} has no {one} of class {', '.join(absent)}"
        if rare:
            yield f"{part} has fewer than {FEW} {many} of class {', '.join(rare)}"
