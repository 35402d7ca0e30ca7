"""differences/params.yaml: a value is one for all settings, or one for each: {quick: …, full: …}."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pipeline.params import ParamsError, Section, nearest, read_raw, report
from pipeline.problems import problems

SETTINGS = ("quick", "full")
ELSEWHERE = ("reads",)  # keys that dvc.yaml reads, and no difference
Chosen = TypeVar("Chosen", bound=Section)


def chosen(path: Path, name: str, kind: type[Chosen]) -> tuple[str, Chosen]:
    """The setting, quick or full, and the values of a difference in it.

    Raises ParamsError with all that is wrong about them at once.
    """
    raw = read_raw(path)
    setting = raw.get("setting")
    if setting not in SETTINGS:
        raise ParamsError(f"{path}: setting: found {setting!r}; {nearest(str(setting), SETTINGS)}")
    entries = raw.get("differences")
    entry = entries.get(name) if isinstance(entries, Mapping) else None
    if not isinstance(entry, Mapping):
        raise ParamsError(f"{path}: differences.{name}: missing; add it")
    values = {key: _of(setting, value) for key, value in entry.items() if key not in ELSEWHERE}
    found = problems(values, kind)
    if found:
        raise ParamsError(report(path, [f"differences.{name}.{line}" for line in found]))
    return setting, kind.model_validate(values)


def _of(setting: str, value: Any) -> Any:
    return value[setting] if isinstance(value, Mapping) and set(value) == set(SETTINGS) else value
