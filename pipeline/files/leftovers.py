"""Remains of files and folders that killed processes were making. They are not outputs, and are removed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pipeline.files.atomic import NEW, OLD, PART, held, remove

# Where stages write: folders and how far below them.
PLACES = {
    "data/raw": 1, "data/prepared": 1, "search": 2, "models": 2, "evaluation": 1, "metrics": 1, "reports": 1,
    "differences/results": 1,
}  # fmt: skip
YOUNG = 10.0  # seconds in which a new one is left alone: its maker may not hold it yet


def remove_leftovers(root: Path) -> list[Path]:
    """Removes what nobody is making any more and returns it. An old folder whose successor never came is put back."""
    removed = []
    for path in list(_leftovers(root)):
        with suppress(FileNotFoundError):  # another process was faster
            if _is_gone(path):
                removed.append(path)
    return removed


def _leftovers(root: Path) -> Iterator[Path]:
    """Yields the new ones first: whoever is making one may have put the old one aside at this moment."""
    for ending in (NEW, PART, OLD):
        for place, depth in PLACES.items():
            for level in range(1, depth + 1):
                yield from (root / place).glob("/".join(["*"] * (level - 1) + [f".*{ending}"]))


def _is_gone(path: Path) -> bool:
    if path.name.endswith(OLD):
        return _is_settled(path)
    with held(path) as free:
        free = free and time.time() - path.stat().st_mtime > YOUNG
        if free:
            remove(path)
    return free


def _is_settled(old: Path) -> bool:
    """Whether an old folder was removed, or put back where its successor is missing."""
    name = old.name.removesuffix(OLD)
    if old.with_name(name + NEW).exists():  # somebody is at it
        return False
    folder = old.with_name(name.removeprefix("."))
    if folder.exists():
        remove(old)
    else:
        old.rename(folder)
    return True
