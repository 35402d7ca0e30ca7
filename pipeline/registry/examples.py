"""Which test examples may decide between two models, and how many earlier decisions they have already made.

Every example is known by a digest of its content (see data/contents.py). An example that one of the two models has
learned from, or was picked by, says nothing about how they differ on new ones: it is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.serving.rehearse import NotComparable

ARTIFACT = "artifacts/examples.safetensors"  # of a version: digests of the examples of every split
SKETCHED = 48  # smallest digests of a decision's examples that its line keeps (Broder 1997, "bottom-k sketch")


def read_examples(file: Path) -> dict[str, np.ndarray]:
    """{split: digests, see `Prepared`}. Raises NotComparable where a version does not say it."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return dict(load_file(file))
    except (OSError, SafetensorError) as error:
        raise NotComparable(f"it does not say which examples it has learned from ({error})") from None


def learned_from(examples: Mapping[str, np.ndarray]) -> np.ndarray:
    """Digests of what a model was trained on or picked by."""
    return np.union1d(examples["train"], examples["validation"])


def unseen(test: np.ndarray, seen: np.ndarray, count: int) -> np.ndarray:
    """(count,) bool, True where an example was seen by neither model.

    `test` has a digest (N,) or several (N, S) for each example, of which a single one is enough to be known by, or one
    for each row of a series, over a few of which in a row every one of the `count` forecasts reaches.
    """
    if test.ndim == 2:
        return np.asarray(~np.isin(test, seen).any(axis=1))
    rows = np.isin(test, seen)
    span = len(rows) - count + 1
    return np.asarray(~np.lib.stride_tricks.sliding_window_view(rows, span).any(axis=1))


def units_of(test: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Sorted digests of the examples (or rows, or of what examples were joined of) that decide."""
    if test.ndim == 2:
        return np.unique(test[kept])
    span = len(test) - len(kept) + 1
    rows = np.flatnonzero(kept)[:, None] + np.arange(span)
    return np.unique(test[np.unique(rows)])


def sketch(units: np.ndarray) -> dict[str, Any]:
    """Returns what a line of the history keeps of its examples: how many there were, and the smallest digests."""
    return {"count": len(units), "smallest": [f"{int(unit):016x}" for unit in np.sort(units)[:SKETCHED]]}


def shared(known: Mapping[str, Any] | None, units: np.ndarray) -> float:
    """Which fraction of these examples an earlier decision has used; 1 where it does not say.

    Estimated from the sketch, by the part of its digests that are among these, and by the part of these, as far as the
    sketch reaches, that it holds. The first is exact where all earlier examples are among these, the second where all
    of these are among the earlier ones; the larger one counts.
    """
    if not known or not known.get("smallest") or not len(units):
        return 1.0
    earlier = np.array([int(digest, 16) for digest in known["smallest"]], dtype=np.uint64)
    grown = float(np.isin(earlier, units).mean()) * int(known["count"]) / len(units)
    reached = units[units <= earlier.max()]
    within = float(np.isin(reached, earlier).mean()) if len(reached) else float(grown > 0)
    return min(1.0, max(grown, within))


def left_out_note(left_out: int, count: int, champion: str) -> str:
    """A sentence for the reason of a decision, or nothing."""
    if not left_out:
        return ""
    return f" Left out: {left_out} of {count} test examples, from which {champion} or the challenger has learned."
