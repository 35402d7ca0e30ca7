"""How often test examples may be asked: every comparison with a champion spends a part of their error level.

A gate that lets every fortieth equal model pass promotes one of them sooner or later if only enough are tried. So the
k-th comparison on the same examples gets the error level (1 - confidence) / (k (k + 1)): the largest chance that it
promotes a model which is no better. These levels add up to 1 - confidence over any number of decisions, which therefore
bounds the chance that even one of them is a false promotion (the union bound; "alpha spending", the rule without
rewards of Foster and Stine, 2008, "α-investing: a procedure for sequential control of expected false discoveries").
The first comparison gets half of it, and so asks for the plain interval of that confidence, which has two sides.

The account follows examples and not files. An earlier comparison counts by the fraction of the present examples that it
has asked, and the sum is rounded up: examples that are asked for the first time give budget back, more data in train or
another setting do not.

It does not pay for developers who look at the test figures and tune by hand: only fresh test examples do (Blum and
Hardt, 2015, "The Ladder").

What spends nothing: a first version without a champion, a decision that is already taken, a model that a limit or the
failure to compare keeps out before the test examples are asked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.registry.examples import shared
from pipeline.registry.record import Entry


@dataclass(frozen=True)
class Asked:
    """Holds how often these examples have been asked, this time included, and the error level of this time."""

    decisions: int
    level: float


def level_of(decided: int, confidence: float) -> float:
    """The error level of the next comparison on examples on which `decided` were made."""
    return (1 - confidence) / ((decided + 1) * (decided + 2))


def left(decided: int, confidence: float) -> float:
    """Returns what all later comparisons have together: the sum of their levels."""
    return (1 - confidence) / (decided + 1)


def decided(history: Iterable[Entry], units: np.ndarray) -> int:
    """Counts the comparisons with a champion on these examples (sorted digests); the same two models count once."""
    return math.ceil(sum(_weights(history, units).values()) - 1e-9)


def asked(history: Iterable[Entry], challenger: str, champion: str, units: np.ndarray, confidence: float) -> Asked:
    """For the comparison of two content keys. Made before, it is the same again: with its level, and spends nothing."""
    lines = list(history)
    weights = _weights(lines, units)
    pair = (challenger, champion)
    before = math.ceil(sum(weight for key, weight in weights.items() if key != pair) - 1e-9)
    known = next((_level(line) for line in lines if _pair(line) == pair and _level(line) is not None), None)
    if known is not None and weights.get(pair, 0.0) >= 1:
        return Asked(before + 1, known)
    return Asked(before + 1, level_of(before, confidence))


def _weights(history: Iterable[Entry], units: np.ndarray) -> dict[tuple[str, str], float]:
    """The fraction of these examples that the comparison of every pair of challenger and champion has asked.

    Lines of a time when nothing was written down count in full: rather one too many than one too few.
    """
    weights: dict[tuple[str, str], float] = {}
    for line in history:
        pair = _pair(line)
        if pair is None or not _evidence(line).get("over_champion"):
            continue
        weight = shared((_evidence(line).get("test_split") or {}).get("examples"), units)
        weights[pair] = max(weight, weights.get(pair, 0.0))
    return {pair: weight for pair, weight in weights.items() if weight > 0}


def _pair(line: Entry) -> tuple[str, str] | None:
    if not line.get("challenger") or not line.get("against"):
        return None
    return line["challenger"]["key"], line["against"]["key"]


def _level(line: Entry) -> float | None:
    level = _evidence(line).get("level")
    return None if level is None else float(level)


def _evidence(line: Entry) -> Mapping[str, Any]:
    return line.get("evidence") or {}
