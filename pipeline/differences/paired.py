"""Paired trainings: every network on the same data, in the same order, with the same budget, seed by seed.

The learning rate of an arm is picked on other seeds than those that count, by what `measure` calls "validation".
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from pipeline.data.threads import use_threads
from pipeline.files.atomic import write_json
from pipeline.params import Section
from pipeline.training.pool import open_pool

PRELOADED = ["pipeline.differences.networks", "pipeline.differences.optimise"]
APART = 1000  # seeds that pick a learning rate begin here

Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, lt=1)]


class Common(Section):
    """The settings that all differences with trainings have in common."""

    seeds: Annotated[int, Field(ge=2)]  # paired trainings that count
    selection_seeds: Count  # others, on which the learning rate is picked
    rates: Annotated[list[Rate], Field(min_length=1)]  # learning rates that are tried
    steps: Count  # of one training
    batch: Count  # examples of a step


@dataclass(frozen=True)
class Arm:
    """A network under a condition: `facts` is what `measure` makes of it, plain JSON.

    `rate_of` names another arm whose learning rate it takes; None picks one of its own. `fixed` needs none at all: it
    is measured as it is made, without training. `rate` is one that is known already.
    """

    facts: Mapping[str, Any]
    rate_of: str | None = None
    fixed: bool = False
    rate: float | None = None

    @property
    def picks(self) -> bool:
        """Whether it needs a learning rate of its own."""
        return self.rate_of is None and self.rate is None and not self.fixed

    def rate_from(self, picked: float) -> float:
        """Returns its learning rate, where `picked` is that of its own or of `rate_of`."""
        return 0.0 if self.fixed else picked if self.rate is None else self.rate


@dataclass(frozen=True)
class Measured:
    """The measurements of all arms."""

    values: Mapping[str, Sequence[Mapping[str, Any]]]  # arm → one entry for every seed that counts
    picked: Mapping[str, float]  # arm → its learning rate
    rates: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # arm → learning rate → mean validation

    def of(self, arm: str, name: str) -> list[float]:
        """Returns a figure of an arm, seed by seed."""
        return [float(value[name]) for value in self.values[arm]]

    def minus(self, first: str, second: str, name: str) -> tuple[float, ...]:
        """Returns the figure of one arm minus that of another, seed by seed."""
        return tuple(a - b for a, b in zip(self.of(first, name), self.of(second, name), strict=True))


@dataclass(frozen=True)
class Piece:
    """One training, as the pool runs it; what it has seen stays in a file of `work`."""

    name: str
    work: str
    module: str
    arm: Mapping[str, Any]
    seed: int
    rate: float
    settings: Mapping[str, Any]
    counts: bool
    threads: int
    epochs: int = 1

    @property
    def journal(self) -> Path:
        return Path(self.work, f"{self.name}.jsonl")

    def run(self) -> dict[str, Any]:
        """Returns the output of `measure` of the difference; from its file where an earlier process has got so far."""
        file = Path(self.work, f"{self.name}.json")
        try:
            known: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            return known
        except (FileNotFoundError, ValueError):
            pass
        use_threads(self.threads)
        module: Any = importlib.import_module(self.module)
        seen = module.measure(self.arm, self.seed, self.rate, module.Settings(**self.settings), self.counts)
        write_json(file, seen)
        written: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return written


def measure_all(module: Any, settings: Common, *, work: Path, workers: int, threads: int, title: str) -> Measured:
    """Trains every arm of a difference, `workers` of them side by side; their number changes no result."""
    arms: Mapping[str, Arm] = module.arms(settings)
    if not arms:  # it measures nothing of its own
        return Measured({}, {})
    own = [name for name, arm in arms.items() if arm.picks]
    tried = [
        (name, rate, APART + seed)
        for name in own
        for rate in settings.rates for seed in range(settings.selection_seeds)
    ]  # fmt: skip

    def piece(name: str, rate: float, seed: int) -> Piece:
        return Piece(
            f"{name}-{rate:g}-{seed}", str(work), module.__name__, arms[name].facts, seed, rate,
            settings.model_dump(), seed < APART, threads,
        )  # fmt: skip

    with open_pool(workers, title, len(tried) + len(arms) * settings.seeds, PRELOADED) as pool:
        scores = pool.run(piece(*one) for one in tried)
        rates = {name: _means(name, tried, scores) for name in own}
        best = {name: max(curve, key=lambda rate: curve[rate]) for name, curve in rates.items()}
        picked = {name: arm.rate_from(best.get(arm.rate_of or name, 0.0)) for name, arm in arms.items()}
        counted = [(name, picked[name], seed) for name in arms for seed in range(settings.seeds)]
        seen = pool.run(piece(*one) for one in counted)
    values = {name: seen[place * settings.seeds : (place + 1) * settings.seeds] for place, name in enumerate(arms)}
    shown = {name: {f"{rate:g}": score for rate, score in curve.items()} for name, curve in rates.items()}
    return Measured(values, picked, shown)


def _means(
    name: str, tried: Sequence[tuple[str, float, int]], scores: Sequence[Mapping[str, Any]]
) -> dict[float, float]:
    """Averages the validation by learning rate."""
    by_rate: dict[float, list[float]] = {}
    for (arm, rate, _), score in zip(tried, scores, strict=True):
        if arm == name:
            by_rate.setdefault(rate, []).append(float(score["validation"]))
    return {rate: sum(values) / len(values) for rate, values in by_rate.items()}


def best_of(measured: Measured, arms: Sequence[str]) -> str:
    """Picks the arm with the highest validation, which was measured on other seeds than those that count."""
    return max(arms, key=lambda arm: max(measured.rates[arm].values()))
