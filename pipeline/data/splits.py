"""Assignment of records to training, to selection and to the report."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.data.tables import SPLITS

Shares = Mapping[str, float | None]

FEW = 10  # different examples of a class, below which chance alone would often leave a split without it

BY_CONTENT = "by the content of each example and the seed"


def shares_of_pool(parts: Mapping[str, Any], split: Shares) -> dict[str, float]:
    """Returns the shares that validation and test take from the part `all`, or from `train` where unpublished.

    A share counts the records of the part that it is taken from. Raises ValueError where a part is published and
    has a share, or has neither.
    """
    for name in parts:
        if name not in ("all", *SPLITS):
            match = difflib.get_close_matches(name, SPLITS, n=1)
            hint = f"; did you mean {match[0]!r}?" if match else ""
            raise ValueError(f"data.parts: found {name!r}; allowed: all, or train, validation and test{hint}")
    if ("all" in parts) == ("train" in parts) or ("all" in parts and len(parts) > 1):
        raise ValueError(
            f"data.parts: found {', '.join(parts) or 'none'}; allowed: all alone, or train, validation and test"
        )
    shares: dict[str, float] = {}
    for name in ("validation", "test"):
        share = split.get(name)
        if name in parts and share is not None:
            raise ValueError(f"split.{name}: found {share}; part {name} is published and not split again, use null")
        if name not in parts and share is None:
            raise ValueError(f"split.{name}: found null; give a share such as 0.2, as data.parts has no part {name}")
        if share is not None:
            shares[name] = share
    if any(not 0 < share < 1 for share in shares.values()) or sum(shares.values()) >= 1:
        raise ValueError(f"split: found {dict(split)}; allowed: shares above 0 that leave something to train on")
    return shares


def pool_name(parts: Mapping[str, Any]) -> str:
    """Names the part that missing splits are taken from."""
    return "all" if "all" in parts else "train"


def in_order(parts: Mapping[str, Any]) -> list[str]:
    """Lists the parts as their records are counted: train, validation, test."""
    return [name for name in ("all", *SPLITS) if name in parts]


def described(shares: Mapping[str, float], order: list[str], kind: str, how: str, seed: int) -> dict[str, Any]:
    """Describes the split for the card: `how` the rows were taken that no published part gave."""
    if not shares:
        return {"kind": "published", "seed": None, "detail": "train, validation and test as published"}
    taken = " and ".join(f"{part} {share:g}" for part, share in shares.items())
    published = [f"{part} as published" for part in order[1:]]
    return {"kind": kind, "seed": seed, "detail": "; ".join([*published, f"{taken} of the part {order[0]}, {how}"])}


def split_rows(
    sizes: Mapping[str, int], shares: Mapping[str, float], seed: int, units: np.ndarray, *, classes: Sequence[str],
    labels: np.ndarray | None = None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Returns the rows of every split among all records: published parts as they are, the others out of the pool.

    sizes: records of every part, in order. units: (N,) digests of what stays together, the content of a record or its
    group. labels: (N,) positions in `classes` of all records; without them all are of one class, whose name is used
    in messages.
    """
    ends = np.cumsum(list(sizes.values()))
    rows = {name: np.arange(end - size, end) for (name, size), end in zip(sizes.items(), ends, strict=True)}
    pool = rows.pop(pool_name(sizes))  # comes first, so that its rows start at 0
    if not shares:
        return rows | {"train": pool}
    drawn = draws(units[pool], seed)
    if labels is not None:
        return rows | by_class(drawn, labels[pool], classes, shares)
    if len(np.unique(drawn)) <= len(shares):
        raise ValueError(
            f"found {len(np.unique(drawn))} different {classes[0]}, too few for train and shares of "
            f"{' and '.join(shares)}; add some"
        )
    return rows | by_class(drawn, np.zeros(len(pool), dtype=np.int64), classes, shares)


def draws(units: np.ndarray, seed: int) -> np.ndarray:
    """Draws (N,) numbers from 0 to 1 that follow from each unit and the seed alone (SplitMix64, Steele et al. 2014).

    Units are digests, so that the last step of that generator is enough to make another seed another draw.
    """
    with np.errstate(over="ignore"):
        x = units.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15) * np.uint64(seed % 2**63 + 1)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray((x ^ (x >> np.uint64(31))) >> np.uint64(11)) / 2**53


def by_class(
    drawn: np.ndarray, labels: np.ndarray, classes: Sequence[str], shares: Mapping[str, float]
) -> dict[str, np.ndarray]:
    """Returns rows of train, validation and test, increasing, from the draw (N,) of every row.

    A draw below the share of validation goes to validation, the next ones to test, the others to train: that does not
    depend on how many rows there are, so that a row stays in its split when data are added. A class of fewer than FEW
    different rows gets its share of each split instead, at least one, in the order of the draws. Equal draws are the
    same content: they stay together, with the class that comes first. Raises ValueError for a class that is too small.
    """
    values, first, inverse = np.unique(drawn, return_index=True, return_inverse=True)
    owner = labels[first]
    part = np.full(len(values), "train", dtype=object)
    for position, name in enumerate(classes):
        own = np.flatnonzero(owner == position)  # increasing draws
        if 0 < len(own) < FEW:
            _assign_ranks(part, own, name, shares)
        else:
            _assign_draws(part, own, values[own], shares)
    for name in shares:  # a split without any example could not be used at all
        if not (part == name).any():
            part[np.flatnonzero(part == "train")[0]] = name
    if not (part == "train").any():
        part[-1] = "train"
    part_of_row = part[inverse]
    return {name: np.flatnonzero(part_of_row == name) for name in ("train", *shares)}


def _assign_draws(part: np.ndarray, own: np.ndarray, drawn: np.ndarray, shares: Mapping[str, float]) -> None:
    low = 0.0
    for name, share in shares.items():
        part[own[(low <= drawn) & (drawn < low + share)]] = name
        low += share


def _assign_ranks(part: np.ndarray, own: np.ndarray, name: str, shares: Mapping[str, float]) -> None:
    counts = {split: max(1, int(np.floor(len(own) * share + 0.5))) for split, share in shares.items()}
    if sum(counts.values()) >= len(own):
        raise ValueError(
            f"class {name!r} has {len(own)} different examples, too few to leave any for train when the split takes "
            f"{' and '.join(f'{count} for {split}' for split, count in counts.items())}; "
            f"add examples (at least {len(shares) + 1}) or remove the class"
        )
    start = 0
    for split, count in counts.items():
        part[own[start : start + count]] = split
        start += count


def in_time(count: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Counts the rows of train and the splits taken from it: floor(share · count), train has the rest."""
    taken = {part: int(np.floor(count * share + 1e-9)) for part, share in shares.items()}  # 0.29 · 100 is 28.999…
    return {"train": count - sum(taken.values()), **taken}
