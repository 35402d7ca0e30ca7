"""The values that the settings of a task in params.yaml may have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any


@dataclass(frozen=True)
class Allowed:
    """Values of one setting: how a message names them, and whether a value is one of them."""

    text: str
    holds: Callable[[Any], bool]


def whole(low: int, high: int) -> Allowed:
    return Allowed(f"a whole number from {low} to {high}", lambda value: type(value) is int and low <= value <= high)


def number(low: float, high: float) -> Allowed:
    return Allowed(f"a number from {low:g} to {high:g}", lambda value: _is_number(value) and low <= value <= high)


def one_of(*names: str) -> Allowed:
    return Allowed(", ".join(names), lambda value: isinstance(value, str) and value in names)


POSITIVE = Allowed("a number above 0", lambda value: _is_number(value) and 0 < value < inf)
SHARE = Allowed("between 0 and 1, such as 0.5", lambda value: _is_number(value) and 0 < value < 1)
YES_OR_NO = Allowed("true or false", lambda value: isinstance(value, bool))
NAMES = Allowed(
    "a list of names such as [relu2_2]",
    lambda value: isinstance(value, list) and bool(value) and all(isinstance(name, str) for name in value),
)


def check_settings(allowed: Mapping[str, Allowed], settings: Mapping[str, Any]) -> None:
    """Raises a ValueError for the first setting that is not as its task allows."""
    for name, values in allowed.items():
        if not values.holds(settings[name]):
            raise ValueError(f"settings.{name}: found {settings[name]!r}; allowed: {values.text}")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)
