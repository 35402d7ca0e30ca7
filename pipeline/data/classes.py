"""Labelled records: their classes by number, their splits, and what is worth a warning about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np

from pipeline.data.splits import pool_name, stratified

FEW = 10  # examples of a class in a split, below which a figure about it says little


class Labelled(Protocol):
    """Records of one part with a label each."""

    @property
    def labels(self) -> np.ndarray:
        """(N,) integers or text."""


def class_numbers(parts: Mapping[str, Labelled], order: list[str]) -> tuple[list[str], np.ndarray]:
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


def split_rows(
    parts: Mapping[str, Labelled],
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


def duplicates(hashes: Mapping[str, list[bytes]], things: str, by: str) -> Iterator[str]:
    """Records of a split that another split has, too: they make a result look better than it is.

    `things` is what the records are, such as images, compared `by`, such as pixel.
    """
    for earlier, later in (("train", "validation"), ("train", "test"), ("validation", "test")):
        known = set(hashes[earlier])
        count = sum(value in known for value in hashes[later])
        if count:
            yield f"{count} of {len(hashes[later])} {things} of {later} are also in {earlier}, {by} by {by}"


def rare_classes(names: list[str], counts: Mapping[str, list[int]]) -> Iterator[str]:
    """Classes about which a figure of a split says little, or nothing."""
    for part, numbers in counts.items():
        absent = [name for name, count in zip(names, numbers, strict=True) if not count]
        rare = [f"{name} ({count})" for name, count in zip(names, numbers, strict=True) if 0 < count < FEW]
        if absent:
            yield f"{part} has no example of class {', '.join(absent)}"
        if rare:
            yield f"{part} has fewer than {FEW} examples of class {', '.join(rare)}"
