"""Which records train, which pick and which report."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.data.tables import SPLITS

Shares = Mapping[str, float | None]


def shares_of_pool(parts: Mapping[str, Any], split: Shares) -> dict[str, float]:
    """What validation and test take from the part `all`, or from `train` where they are not published.

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
    """The part that missing splits are taken from."""
    return "all" if "all" in parts else "train"


def in_order(parts: Mapping[str, Any]) -> list[str]:
    """The names of the parts as their records are counted: train, validation, test."""
    return [name for name in ("all", *SPLITS) if name in parts]


def described(shares: Mapping[str, float], order: list[str], kind: str, how: str, seed: int) -> dict[str, Any]:
    """What the card says about the split: `how` the rows were taken that no published part gave."""
    if not shares:
        return {"kind": "published", "seed": None, "detail": "train, validation and test as published"}
    taken = " and ".join(f"{part} {share:g}" for part, share in shares.items())
    published = [f"{part} as published" for part in order[1:]]
    return {"kind": kind, "seed": seed, "detail": "; ".join([*published, f"{taken} of the part {order[0]}, {how}"])}


def split_rows(
    sizes: Mapping[str, int], shares: Mapping[str, float], seed: int, *, classes: Sequence[str],
    labels: np.ndarray | None = None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Rows of every split among all records: published parts as they are, the others out of the pool.

    sizes: records of every part, in order. labels: (N,) positions in `classes` of all records; without them all are of
    one class, whose name says in messages what they are.
    """
    ends = np.cumsum(list(sizes.values()))
    rows = {name: np.arange(end - size, end) for (name, size), end in zip(sizes.items(), ends, strict=True)}
    pool = rows.pop(pool_name(sizes))  # comes first, so that its rows start at 0
    if not shares:
        return rows | {"train": pool}
    if labels is not None:
        return rows | stratified(labels[pool], classes, shares, seed)
    if len(pool) <= len(shares):
        raise ValueError(
            f"found {len(pool)} {classes[0]}, too few for train and shares of {' and '.join(shares)}; add some"
        )
    return rows | stratified(np.zeros(len(pool), dtype=np.int64), classes, shares, seed)


def stratified(
    labels: np.ndarray, classes: Sequence[str], shares: Mapping[str, float], seed: int
) -> dict[str, np.ndarray]:
    """Rows of train, validation and test, increasing, drawn class by class with a generator of (seed, class).

    labels: (N,) positions in `classes`. Every split gets its share of every class, rounded to the nearest number
    and at least one example. Raises ValueError for a class that is too small for that.
    """
    chosen: dict[str, list[np.ndarray]] = {name: [] for name in ("train", *shares)}
    for position, name in enumerate(classes):
        rows = np.flatnonzero(labels == position)
        counts = {part: max(1, int(np.floor(len(rows) * share + 0.5))) for part, share in shares.items()}
        if sum(counts.values()) >= len(rows) > 0:
            raise ValueError(
                f"class {name!r} has {len(rows)} examples, too few to leave any for train when the split takes "
                f"{' and '.join(f'{count} for {part}' for part, count in counts.items())}; "
                f"add examples (at least {len(shares) + 1}) or remove the class"
            )
        order = np.random.default_rng([seed, position]).permutation(rows)
        for part, count in counts.items():
            chosen[part].append(order[:count])
            order = order[count:]
        chosen["train"].append(order)
    return {part: np.sort(np.concatenate(rows)) for part, rows in chosen.items()}


def in_time(count: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Number of rows of train and the splits taken from it: floor(share · count), train has the rest."""
    taken = {part: int(np.floor(count * share + 1e-9)) for part, share in shares.items()}  # 0.29 · 100 is 28.999…
    return {"train": count - sum(taken.values()), **taken}
