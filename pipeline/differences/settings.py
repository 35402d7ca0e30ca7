"""differences/params.yaml: a value is one for all settings, or one for each: {quick: …, full: …}."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pipeline.differences import DIFFERENCES
from pipeline.params import ParamsError, Section, nearest, read_raw, report
from pipeline.problems import problems

FILE = Path("differences", "params.yaml")
SETTINGS = ("quick", "full")
KEYS = ("setting", "differences")
FOR_DVC = ("reads", "parts")  # keys that dvc.yaml reads, and no difference
Chosen = TypeVar("Chosen", bound=Section)


def chosen(path: Path, name: str, kind: type[Chosen]) -> tuple[str, Chosen]:
    """Returns the setting, quick or full, and the values of a difference in it.

    Raises ParamsError with all that is wrong about them at once.
    """
    raw = read_raw(path)
    faults = [*_faults_of_setting(raw), *_faults_of_entry(raw, name, kind)]
    if faults:
        raise ParamsError(report(path, faults))
    setting = str(raw["setting"])
    return setting, kind.model_validate(_values(raw["differences"][name], setting))


def check_all(path: Path = FILE) -> str:
    """Describes how many differences the file has. Raises ParamsError with all that is wrong with it.

    Imports the differences that it names, and with them PyTorch.
    """
    raw = read_raw(path)
    faults = [*_faults_of_setting(raw), *_faults(raw)]
    if faults:
        raise ParamsError(report(path, faults))
    return f"{path} is sound: {len(raw['differences'])} of {len(DIFFERENCES)} differences, setting {raw['setting']}"


def read_by(name: str | None, path: Path = FILE) -> list[Path]:
    """Returns the file or folder that a difference reads besides its settings; none where the file names none."""
    entries = read_raw(path).get("differences")
    entry = entries.get(name) if isinstance(entries, Mapping) else None
    place = entry.get(FOR_DVC[0]) if isinstance(entry, Mapping) else None
    return [Path(place)] if isinstance(place, str) else []


def _faults(raw: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{key}: unknown key; {nearest(str(key), KEYS)}" for key in raw if key not in KEYS)
    entries = raw.get("differences")
    if not isinstance(entries, Mapping) or not entries:
        yield f"differences: found {entries!r}; allowed: a mapping with at least one of {', '.join(DIFFERENCES)}"
        return
    for name in entries:
        if name in DIFFERENCES:
            module: Any = importlib.import_module(f"pipeline.differences.{name}")
            yield from _faults_of_entry(raw, name, module.Settings)
        else:
            yield f"differences.{name}: unknown difference; {nearest(str(name), DIFFERENCES)}"


def _faults_of_setting(raw: Mapping[str, Any]) -> list[str]:
    setting = raw.get("setting")
    return [] if setting in SETTINGS else [f"setting: found {setting!r}; {nearest(str(setting), SETTINGS)}"]


def _faults_of_entry(raw: Mapping[str, Any], name: str, kind: type[Section]) -> list[str]:
    """Lists what is wrong with an entry in any of the settings, each fault once."""
    entries = raw.get("differences")
    entry = entries.get(name) if isinstance(entries, Mapping) else None
    if not isinstance(entry, Mapping):
        return [f"differences.{name}: missing; add it"]
    faults = [line for setting in SETTINGS for line in problems(_values(entry, setting), kind)]
    if not isinstance(entry.get(FOR_DVC[0]), str):
        faults.append(f"reads: found {entry.get('reads')!r}; allowed: a file or folder that the difference depends on")
    return [f"differences.{name}.{line}" for line in dict.fromkeys(faults)]


def _values(entry: Mapping[str, Any], setting: str) -> dict[str, Any]:
    """Returns the values of an entry in a setting."""
    return {key: _of(setting, value) for key, value in entry.items() if key not in FOR_DVC}


def _of(setting: str, value: Any) -> Any:
    return value[setting] if isinstance(value, Mapping) and set(value) == set(SETTINGS) else value
