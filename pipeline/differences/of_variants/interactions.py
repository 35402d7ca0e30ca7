"""Interactions between networks and tasks, tested by permuting the labels of the tasks within seeds.

Where no network suits one task better than the others do, the labels of the two tasks may be swapped in any seed, for
all networks at once: the differences of differences change their signs there, and are as likely as before. All 2^n
swaps of n seeds give the exact distribution of the largest |t| of all pairs of networks, so that no pair is favoured by
having been looked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from pipeline.differences.verdicts import DECIDING, DOES_NOT_HOLD, HOLDS, NOT_DECIDED, SHOWN, Effect

# With n seeds two of 2^n swaps, none and all, are as extreme as what was seen: fewer seeds could decide nothing.
FEWEST, MOST = 9, 16
# By network, the values of all seeds in the first and in the second task.
Accuracies = Mapping[str, tuple[Sequence[float], Sequence[float]]]


@dataclass(frozen=True)
class Interaction(Effect):
    """A difference of differences in either direction: it holds where it is beyond the margin on one of the sides.

    Attributes:
        widths: by confidence, how many standard errors the interval reaches to either side, see `widths`.
    """

    widths: Mapping[float, float] | None = None

    def interval(self, confidence: float) -> tuple[float, float]:
        """Simultaneous for all pairs."""
        assert self.widths is not None
        error = float(np.std(self.values, ddof=1)) / len(self.values) ** 0.5
        half = self.widths[confidence] * error if error else 0.0
        return self.mean - half, self.mean + half

    @property
    def verdict(self) -> str:
        low, high = self.interval(DECIDING)
        if low > self.margin or high < -self.margin:
            return HOLDS
        return DOES_NOT_HOLD if -self.margin < low <= high < self.margin else NOT_DECIDED

    def described(self) -> dict[str, Any]:
        ends = {"interval_95": list(self.interval(SHOWN)), "interval_995": list(self.interval(DECIDING))}
        return {**super().described(), **ends}


def interactions(accuracy: Accuracies, tasks: tuple[str, str], margin: float) -> dict[str, Interaction]:
    """Computes, by pair of networks, how much further one is ahead in the first task than in the second."""
    advantage = {name: np.subtract(first, second) for name, (first, second) in accuracy.items()}
    differences = {
        (first, second): advantage[first] - advantage[second] for first, second in combinations(advantage, 2)
    }
    reach = widths(np.array(list(differences.values())), (SHOWN, DECIDING))
    return {
        f"{first} − {second}, {tasks[0]} − {tasks[1]}": Interaction(
            f"accuracy, {first} − {second} in {tasks[0]} minus the same in {tasks[1]}", "share",
            tuple(values.tolist()), margin, widths=reach,
        )
        for (first, second), values in differences.items()
    }  # fmt: skip


def widths(differences: np.ndarray, confidences: Sequence[float]) -> dict[float, float]:
    """Returns, by confidence, the |t| that the largest of all pairs (P, n) exceeds in no larger a share of swaps."""
    largest = _largest_t(differences)
    return {level: float(np.quantile(largest, level, method="inverted_cdf")) for level in confidences}


def _largest_t(differences: np.ndarray) -> np.ndarray:
    """Returns (2^n,) the largest |mean| / standard error of all pairs, for every swap of labels within seeds."""
    count = differences.shape[1]
    signs = 1 - 2.0 * (np.arange(2**count)[:, None] >> np.arange(count) & 1)
    means = signs @ differences.T / count  # (2^n, P)
    squares = (differences**2).mean(1)  # which no swap changes
    variances = np.clip(squares - means**2, 0, None)
    variances[variances < 1e-12 * squares] = 0.0  # all values alike, but for rounding
    errors = np.sqrt(variances / (count - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(errors > 0, np.abs(means) / errors, np.where(means != 0, np.inf, 0.0))
    largest: np.ndarray = t.max(1)
    return largest


def found_by_chance(accuracy: Accuracies, tasks: tuple[str, str], margin: float, times: int) -> float:
    """Returns the share of permutations of task labels that put the largest interaction beyond the margin.

    They are swapped or not in every training on its own, so that no interaction is left, and all is tested afresh.
    """
    draw = np.random.default_rng(0)
    beyond = 0
    for _ in range(times):
        permuted = {}
        for name, values in accuracy.items():
            both = np.array(values)  # (2, n)
            swapped = draw.integers(2, size=both.shape[1])
            first, second = np.where(swapped, both[::-1], both)
            permuted[name] = (first.tolist(), second.tolist())
        beyond += largest_verdict(list(interactions(permuted, tasks, margin).values())) == HOLDS
    return beyond / times


def largest_verdict(effects: Sequence[Interaction]) -> str:
    """Judges the largest interaction: one beyond the margin is enough, and to fail all have to be inside it."""
    verdicts = {effect.verdict for effect in effects}
    if HOLDS in verdicts:
        return HOLDS
    return DOES_NOT_HOLD if verdicts == {DOES_NOT_HOLD} else NOT_DECIDED
