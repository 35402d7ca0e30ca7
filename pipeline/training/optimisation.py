"""How weights are moved: the parameters of a candidate that belong to no network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import cos, pi
from typing import Any


@dataclass(frozen=True)
class Optimisation:
    """Holds how weights are moved; every field is a parameter of a candidate in params.yaml."""

    learning_rate: float  # the highest one, of AdamW
    weight_decay: float
    warmup: float  # share of the steps in which the learning rate rises; it then falls along a cosine
    gradient_clip: float  # largest norm of the gradient; 0 for no limit
    ema_decay: float  # of the moving average of the weights that is validated and kept; 0 for none

    def __post_init__(self) -> None:
        limits = {"warmup": (0, 1), "ema_decay": (0, 1)}
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) < high:
                raise ValueError(
                    f"{name}: found {getattr(self, name)}; allowed: {low} up to, but not including, {high}"
                )
        for name in ("learning_rate", "weight_decay", "gradient_clip"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: found {getattr(self, name)}; allowed: 0 or more")

    def factor(self, step: int, steps: int) -> float:
        """The share of the highest learning rate that holds in a step."""
        rising = self.warmup * steps
        if step < rising:
            return (step + 1) / (rising + 1)
        return 0.5 * (1 + cos(pi * min((step - rising) / max(steps - rising, 1), 1.0)))


def optimisation_of(parameters: Mapping[str, Any]) -> Optimisation:
    """The parameters of a candidate that belong to the optimiser."""
    return Optimisation(**{name: parameters[name] for name in Optimisation.__dataclass_fields__})
