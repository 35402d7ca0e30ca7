"""Mean, deviation and range of channels and columns: the same numbers on every machine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

COARSEST = 20  # steps of its rounding to single precision that a deviation needs: with fewer a series becomes stairs


def column_statistics(columns: Mapping[str, list[float]]) -> dict[str, Any]:
    """Computes mean, deviation and range of the columns of train; a constant column is shifted, not scaled.

    Raises ValueError for a column that tables of single precision would flatten, such as a meter that counts up.
    """
    mean = {name: math.fsum(values) / len(values) for name, values in columns.items()}  # exact sums
    squares = {name: [(value - mean[name]) ** 2 for value in values] for name, values in columns.items()}
    spread = {name: math.sqrt(math.fsum(values) / len(values)) for name, values in squares.items()}
    ranges = {name: [min(values), max(values)] for name, values in columns.items()}
    for name, values in columns.items():
        rounded = np.array(values) - np.array(values, dtype=np.float32)
        step = math.sqrt(12 * float(np.mean(rounded**2)))  # of even steps, from the deviation of what they cut off
        if spread[name] < COARSEST * step:
            raise ValueError(
                f"column {name!r} lies around {mean[name]:.6g} and varies by {spread[name]:.2g} in train, but numbers "
                f"of that size are kept in steps of about {step:.2g}; subtract a constant or take differences"
            )
    deviation = [1.0 if low == high else spread[name] for name, (low, high) in ranges.items()]
    return {"mean": list(mean.values()), "deviation": deviation, "ranges": ranges}


def moments(images: np.ndarray, maximum: int) -> tuple[list[float], list[float], list[int]]:
    """Computes mean and deviation of every channel after division by `maximum`, and the lowest and highest pixel.

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
