"""The ten differences between the families as differences/results/ has them, in words and figures that can be shown.

It knows neither the differences nor PyTorch: the caller passes their names, in the order in which they are shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.files.atomic import read_json
from pipeline.report import formatting as readable

FOLDER = Path("differences", "results")
COMMAND = "make differences"
ABSENT = "not measured yet"
# Verdict → the kind of it; every other one names what the answer depends on.
KINDS = {"holds": "holds", "does not hold": "fails", "not decided at this budget": "open", ABSENT: "absent"}
Json = Mapping[str, Any]


@dataclass(frozen=True)
class MeasuredDifference:
    """A difference as measured. `facts` is the file of its result, empty where there is none that can be read."""

    number: int  # from 1 on
    name: str
    title: str
    facts: Json
    figure: Path | None
    note: str = ""  # why nothing is known

    @property
    def verdict(self) -> str:
        return str(self.facts.get("verdict", ABSENT))

    @property
    def kind(self) -> str:
        """Returns holds, fails, depends, open or absent."""
        return KINDS.get(self.verdict, "depends")

    @property
    def effects(self) -> list[ShownEffect]:
        """Lists the effects, the main one first."""
        effects = self.facts.get("effects") or {}
        return [ShownEffect(name, effects[name]) for name in self.facts.get("order", effects) if name in effects]


@dataclass(frozen=True)
class ShownEffect:
    """A statistic as a reader sees it: as many digits as its interval allows."""

    name: str
    facts: Json

    @property
    def value(self) -> str:
        return readable.signed(self.facts.get("value"), self._decimals)

    @property
    def interval_95(self) -> str:
        return self._ends("interval_95")

    @property
    def interval_995(self) -> str:
        return self._ends("interval_995")

    @property
    def margin(self) -> str:
        """Formats the margin without zeros behind the last digit: a margin is a number that somebody has chosen."""
        margin = self.facts.get("margin")
        return f"{margin + 0.0:g}" if readable.is_number(margin) else readable.ABSENT

    @property
    def statistic(self) -> str:
        return str(self.facts.get("statistic", self.name))

    @property
    def unit(self) -> str:
        return str(self.facts.get("unit", ""))

    @property
    def verdict(self) -> str:
        return str(self.facts.get("verdict", ""))

    @property
    def _decimals(self) -> int:
        low, high = self._interval("interval_995")
        both = readable.is_number(low) and readable.is_number(high)
        return readable.decimals_for((high - low) / 2 if both else None)

    def _interval(self, name: str) -> tuple[Any, Any]:
        low, high = self.facts.get(name) or (None, None)
        return low, high

    def _ends(self, name: str) -> str:
        return " to ".join(readable.signed(end, self._decimals) for end in self._interval(name))


def read_differences(names: Mapping[str, str], root: Path = Path()) -> list[MeasuredDifference]:
    """Reads one for each name, with its title, whether it has been measured or not."""
    return [_read(number, name, title, root) for number, (name, title) in enumerate(names.items(), 1)]


def are_measured(differences: Iterable[MeasuredDifference]) -> bool:
    """Whether there is anything to show."""
    return any(difference.facts or difference.note for difference in differences)


def arms(facts: Json) -> list[dict[str, str]]:
    """Returns a row for each network: what it knows about the length, both sizes, its learning rates."""
    hints, sizes, rates, picked = (facts.get(key) or {} for key in ("told", "sizes", "rates", "picked"))
    return [
        {
            "network": name,
            "told about T": str(hints.get(name, "")),
            "parameters": readable.compact(sizes.get(name, {}).get("parameters")),
            "multiply-adds": readable.compact(sizes.get(name, {}).get("multiply_adds")),
            "learning rate": f"{picked[name]:g}" if picked.get(name) else readable.ABSENT,
            "validation by learning rate": curve(rates.get(name) or {}),
        }
        for name in dict.fromkeys([*hints, *sizes, *picked])
    ]


def curve(rates: Json) -> str:
    """Formats values by learning rate, such as: 0.001: 0.98, 0.003: 1.00."""
    return ", ".join(f"{rate}: {value:.3g}" for rate, value in rates.items()) or readable.ABSENT


def controls(facts: Json) -> list[dict[str, str]]:
    """Returns a row for each check inside the experiment."""
    return [
        {
            "control": name,
            "found": f"{check['found']:.4g}" if readable.is_number(check.get("found")) else str(check.get("found")),
            "expected": str(check.get("expected", "")),
            "outcome": "passed" if check.get("passed") else "failed",
        }
        for name, check in (facts.get("controls") or {}).items()
    ]


def failed_controls(facts: Json) -> list[str]:
    """Returns a sentence for each check that has failed: the verdict is then not to be relied on."""
    return [
        f"{check['control']}: found {check['found']}, expected {check['expected']}"
        for check in controls(facts)
        if check["outcome"] == "failed"
    ]


def budget(facts: Json) -> str:
    """Formats the settings in one line."""
    return ", ".join(f"{readable.words(name)} {_plain(value)}" for name, value in (facts.get("budget") or {}).items())


def machine(facts: Json) -> str:
    """Names system and processor, without the instructions that it has."""
    return ", ".join(str(facts.get("machine", "")).split(", ")[:3])


def in_short(differences: Sequence[MeasuredDifference]) -> list[str]:
    """Returns a sentence for each kind of verdict that occurs: how many, and which."""
    words = {
        "holds": ("holds", "hold"),
        "fails": ("does not hold", "do not hold"),
        "depends": ("depends on a condition", "depend on a condition"),
        "open": ("is not decided at this budget", "are not decided at this budget"),
        "absent": ("is not measured yet", "are not measured yet"),
    }
    sentences = []
    for kind, (one, several) in words.items():
        named = [_named(difference) for difference in differences if difference.kind == kind]
        if named:
            sentences.append(f"{len(named)} {one if len(named) == 1 else several}: {', '.join(named)}")
    return sentences


def _named(difference: MeasuredDifference) -> str:
    """Names a difference, such as: memory (the receptive field)."""
    condition = f" ({difference.verdict.removeprefix('depends on ')})" if difference.kind == "depends" else ""
    return difference.title.lower() + condition


def _read(number: int, name: str, title: str, root: Path) -> MeasuredDifference:
    file, figure = root / FOLDER / f"{name}.json", root / FOLDER / f"{name}.svg"
    if not file.is_file():
        return MeasuredDifference(number, name, title, {}, None)
    try:
        facts = read_json(file)
    except ValueError:
        return MeasuredDifference(number, name, title, {}, None, f"{FOLDER / file.name} is damaged; run `{COMMAND}`")
    return MeasuredDifference(number, name, title, facts, figure if figure.is_file() else None)


def _plain(value: Any) -> str:
    return " ".join(map(_plain, value)) if isinstance(value, list) else readable.value_of_parameter(value)
