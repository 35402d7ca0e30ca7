"""Tables in which every row is as long as the longest: one long row among many short ones must not fill the memory."""

from __future__ import annotations

import numpy as np

MOST = 1 << 30  # bytes that any table may take
RATIO = 20  # beyond that, a table may be so many times as large as what it holds


def check_padding(lengths: np.ndarray, size: int) -> None:
    """Raises ValueError where rows of these lengths, each step of `size` bytes, are nearly all padding."""
    count, longest = len(lengths), int(lengths.max(initial=1))
    needed, held = count * longest * size, int(lengths.sum()) * size
    if needed > max(MOST, RATIO * held):
        raise ValueError(
            f"the longest of {count} examples has {longest:,} steps, the middle one {int(np.median(lengths)):,}; "
            f"filled up to the longest they take {needed / 1e9:.1f} GB; shorten or remove the longest"
        )
