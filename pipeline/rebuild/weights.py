"""How alike two trainings are: byte for byte, or how far their weights and their validation score lie apart."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

# Other libraries or processors round differently, and training multiplies that; what a user notices is the score.
SCORE_TOLERANCE = 0.01  # of the score's value


@dataclass(frozen=True)
class Likeness:
    """Differences of a rebuilt model from its version."""

    identical: bool
    absolute: float  # largest difference of a weight
    relative: float  # the same over the largest weight of its tensor
    score: str
    found: float  # validation score of the rebuilt model
    wanted: float

    @property
    def within_tolerance(self) -> bool:
        return abs(self.found - self.wanted) <= SCORE_TOLERANCE * max(abs(self.wanted), 1e-12)

    def __str__(self) -> str:
        if self.identical:
            return f"identical, byte for byte; validation {self.score} {self.found:.6g}"
        gain = self.found - self.wanted
        return (
            f"weights differ by at most {self.absolute:.2g} ({self.relative:.2g} of the largest of their tensor), "
            f"validation {self.score} is {self.found:.6g} instead of {self.wanted:.6g} ({gain:+.2g})"
        )


class Unlike(Exception):
    """Two models that are no rounding apart: they have other tensors."""


def likeness(rebuilt: Path, version: Path, score: str) -> Likeness:
    """Compares model.safetensors and model.json of two folders. Raises Unlike where tensors or shapes differ."""
    score_of_rebuilt, wanted = (float(_description(folder)["validation"][score]) for folder in (rebuilt, version))
    weights = [folder / "model.safetensors" for folder in (rebuilt, version)]
    if weights[0].read_bytes() == weights[1].read_bytes():
        return Likeness(True, 0.0, 0.0, score, score_of_rebuilt, wanted)
    absolute, relative = _distance(*weights)
    return Likeness(False, absolute, relative, score, score_of_rebuilt, wanted)


def _distance(rebuilt: Path, version: Path) -> tuple[float, float]:
    from safetensors.torch import load_file  # PyTorch takes a second to import, and most rebuilds are identical

    ours, theirs = load_file(rebuilt), load_file(version)
    shapes = [{name: tuple(tensor.shape) for name, tensor in tensors.items()} for tensors in (ours, theirs)]
    if shapes[0] != shapes[1]:
        names = sorted(name for name in shapes[0] | shapes[1] if shapes[0].get(name) != shapes[1].get(name))
        raise Unlike(f"{len(names)} tensors have another shape or exist on one side only, such as {names[0]}")
    distances = [_apart(ours[name], theirs[name]) for name in ours]
    return max(distance[0] for distance in distances), max(distance[1] for distance in distances)


def _apart(ours: Tensor, theirs: Tensor) -> tuple[float, float]:
    """(largest difference, the same over the largest value); a NaN on one side is infinitely far away."""
    if not theirs.numel():
        return 0.0, 0.0
    difference = (ours.double() - theirs.double()).abs().nan_to_num(nan=float("inf"))
    absolute, largest = float(difference.max()), float(theirs.double().abs().max())
    return absolute, absolute / largest if largest else absolute


def _description(folder: Path) -> dict[str, dict[str, float]]:
    description: dict[str, dict[str, float]] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    return description
