"""How often a test split may be asked: every comparison with a champion spends a part of its error level.

A gate that lets every fortieth equal model pass promotes one of them sooner or later if only enough are tried. So the
k-th comparison on one test split gets the error level (1 - confidence) / (k (k + 1)): the largest chance that it
promotes a model which is no better. These levels add up to 1 - confidence over any number of decisions, which therefore
bounds the chance that even one of them is a false promotion (the union bound; "alpha spending", the rule without
rewards of Foster and Stine, 2008, "α-investing: a procedure for sequential control of expected false discoveries").
The first comparison gets half of it, and so asks for the plain interval of that confidence, which has two sides.

It does not pay for developers who look at the test figures and tune by hand: only a fresh test split does (Blum and
Hardt, 2015, "The Ladder").

What spends nothing: a first version without a champion, a decision that is already taken, a model that a limit or the
failure to compare keeps out before the test split is asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.registry.record import Entry


@dataclass(frozen=True)
class Asked:
    """How often a test split has been asked, this time included, and the error level of this time."""

    decisions: int
    level: float


def level_of(decided: int, confidence: float) -> float:
    """The error level of the next comparison on a test split on which `decided` were made."""
    return (1 - confidence) / ((decided + 1) * (decided + 2))


def left(decided: int, confidence: float) -> float:
    """What all later comparisons have together: the sum of their levels."""
    return (1 - confidence) / (decided + 1)


def decided(history: Iterable[Entry], test_digest: str) -> int:
    """How many comparisons with a champion were made on these test examples; the same two models count once."""
    return len(_levels(history, test_digest))


def asked(history: Iterable[Entry], challenger: str, champion: str, test_digest: str, confidence: float) -> Asked:
    """For the comparison of two content keys. Made before, it is the same again: with its level, and spends nothing."""
    levels = _levels(history, test_digest)
    known = levels.get((challenger, champion))
    if known is not None:
        return Asked(len(levels), known)
    return Asked(len(levels) + 1, level_of(len(levels), confidence))


def _levels(history: Iterable[Entry], test_digest: str) -> dict[tuple[str, str], float | None]:
    """The level that every pair of challenger and champion got on a test split.

    Lines of a time when nothing was written down count on every split: rather one too many than one too few.
    """
    found: dict[tuple[str, str], float | None] = {}
    for line in history:
        if not line.get("challenger") or not line.get("against"):
            continue
        evidence = line.get("evidence") or {}
        level = evidence.get("level")
        digest = (evidence.get("test_split") or {}).get("test_digest")
        if (level is not None and digest == test_digest) or (digest is None and evidence.get("over_champion")):
            found.setdefault((line["challenger"]["key"], line["against"]["key"]), level)
    return found
