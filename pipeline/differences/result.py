"""The result of a measured difference: the contents of the file of its results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.differences.verdicts import Effect


@dataclass(frozen=True)
class Result:
    """A verdict with all that it is based on.

    Attributes:
        verdict: one of `verdicts.HOLDS`, `DOES_NOT_HOLD`, `NOT_DECIDED`, or "depends on …".
        effects: by name, the statistics that decide, the main one first. Values speak for the claim where positive.
        shown: one sentence, what the figure shows.
        advice: one sentence, what a practitioner does with it.
        needed: where nothing is decided, what it would take; else "".
        told: by arm, what each network was told about the length, such as a receptive field or a forget bias.
        sizes: by arm, `parameters` and `multiply_adds` of one example: the two matchings.
        controls: by name, the checks inside the experiment: what was found, what was expected, whether it passed.
        curves: what the figure draws, plain JSON.
    """

    verdict: str
    effects: Mapping[str, Effect]
    shown: str
    advice: str
    needed: str = ""
    told: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    controls: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    curves: Mapping[str, Any] = field(default_factory=dict)

    def described(self) -> dict[str, Any]:
        """Returns it as it is stored in differences/results/<name>.json."""
        return {
            "verdict": self.verdict,
            "effects": {name: effect.described() for name, effect in self.effects.items()},
            "order": list(self.effects),  # files hold sorted keys
            "shown": self.shown,
            "advice": self.advice,
            "needed": self.needed,
            "told": dict(self.told),
            "sizes": {name: dict(sizes) for name, sizes in self.sizes.items()},
            "controls": {name: dict(control) for name, control in self.controls.items()},
            "curves": dict(self.curves),
        }


def control(measured: float, expected: str, passed: bool) -> dict[str, Any]:
    """Describes a check inside an experiment."""
    return {"found": measured, "expected": expected, "passed": bool(passed)}
