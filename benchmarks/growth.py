"""The life of a model on data that grow: how often the gate promotes one that is no better, over all its comparisons.

Test examples keep their place when data grow, and new ones join them, so that every comparison shares most of its
examples with those before it. The account is that of `register`: the lines that it writes, and the levels that it
reads off them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.table import Figure
from pipeline.registry.examples import sketch
from pipeline.registry.gate import decide
from pipeline.registry.spending import asked

CONFIDENCE = 0.95
RESAMPLES = 1000
START, GROWTH, TRAININGS = 400, 1.05, 20

History = list[dict[str, Any]]


def life_on_growing_data(runs: int) -> Iterator[Figure]:
    """Twenty trainings, each on five per cent more data than the one before, of models that are equally good."""
    lives = [life(np.random.default_rng([4, run])) for run in range(runs)]
    share = float(np.mean(lives))
    error = 196 * np.sqrt(share * (1 - share) / runs)
    said = f"gate: {TRAININGS} trainings on data that grow by 5 %, equal models: any promoted, % ± {error:.1f}"
    yield Figure(said, 100 * share, "≤ 5")


def life(generator: np.random.Generator) -> bool:
    """Whether any of the challengers was promoted over the champion of the beginning."""
    sizes = [int(START * GROWTH**step) for step in range(TRAININGS)]
    chance = generator.beta(4.5, 0.5, sizes[-1])  # how easy an example is for any model: 0.9 on average
    units = np.sort(generator.integers(0, 2**63, sizes[-1], dtype=np.uint64))
    champion, order = generator.random(sizes[-1]) < chance, generator.permutation(sizes[-1])
    history: History = []
    for step, size in enumerate(sizes):
        present = order[:size]
        challenger = generator.random(sizes[-1]) < chance
        if promoted(history, f"challenger {step}", challenger[present], champion[present], np.sort(units[present])):
            return True
    return False


def promoted(history: History, key: str, challenger: np.ndarray, champion: np.ndarray, units: np.ndarray) -> bool:
    """One decision at the level that its examples have left, written down as `register` does."""
    level = asked(history, key, "champion", units, CONFIDENCE).level
    found = decide(
        challenger.astype(float), champion.astype(float), maximize=True, dependent=False, resamples=RESAMPLES,
        confidence=CONFIDENCE, level=level, margin=0.0, seed=0, baseline_scores=None,
    )  # fmt: skip
    evidence = {"over_champion": {"p_value": 1.0}, "level": level, "test_split": {"examples": sketch(units)}}
    history.append({"challenger": {"key": key}, "against": {"key": "champion"}, "evidence": evidence})
    return found.promoted
