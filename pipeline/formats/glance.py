"""Some records of large data in the place of all, for a quick look at what they are like."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")


@dataclass
class Glance:
    """The most records that are read of each part, and how many there were."""

    most: int
    total: int = 0


_glance: ContextVar[Glance | None] = ContextVar("glance", default=None)


@contextmanager
def glancing(most: int) -> Iterator[Glance]:
    """Lets readers take `most` records of each list of files while the block runs."""
    glance = Glance(most)
    token = _glance.set(glance)
    try:
        yield glance
    finally:
        _glance.reset(token)


def glanced(items: Sequence[Item]) -> list[Item]:
    """Returns all items; within `glancing` some, evenly spread, so that classes in their order are all among them."""
    glance = _glance.get()
    if glance is None:
        return list(items)
    glance.total += len(items)
    if len(items) <= glance.most:
        return list(items)
    return [items[place * len(items) // glance.most] for place in range(glance.most)]
