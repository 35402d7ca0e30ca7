"""The part of params.yaml that a command works with: a fault in one experiment does not stop the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECTIONS = ("downloads", "experiments", "candidates")
OF_CANDIDATES = ("tune", "train")
OF_EXPERIMENTS = (
    "check", "prepare", "evaluate", "register", "predict", "history", "rollback", "promote", "reproduce",
    "leaderboard", "results", "audit",
)  # fmt: skip
OF_NONE = ("difference", "differences")  # they read the settings of the machine alone
OF_WHAT_IS_SOUND = ("register", "report", "leaderboard", "ui")  # without a name they take what there is


@dataclass(frozen=True)
class Entries:
    """Names of entries of the sections of params.yaml."""

    downloads: set[str] = field(default_factory=set)
    experiments: set[str] = field(default_factory=set)
    candidates: set[str] = field(default_factory=set)

    def __contains__(self, entry: tuple[str, str]) -> bool:
        section, name = entry
        return name in getattr(self, section)

    def add(self, section: str, name: str) -> None:
        getattr(self, section).add(name)


def at_hand(raw: Mapping[str, Any], stage: str, name: str | None) -> Entries | None:
    """Returns the entries that a command works with, whatever else is wrong with the file; None for all of them."""
    if stage in OF_NONE:
        return Entries()
    if name is None:
        return Entries() if stage in OF_WHAT_IS_SOUND else None
    if stage == "fetch":
        return Entries(downloads={name})
    entries = Entries()
    if stage in OF_CANDIDATES:
        entries.candidates.add(name)
        for experiment in _owners(raw, name):
            _add_experiment(entries, raw, experiment)
    elif stage in OF_EXPERIMENTS:
        _add_experiment(entries, raw, name.partition("@")[0])  # a version is named digits@3
    else:
        return entries if stage in OF_WHAT_IS_SOUND else None
    return entries


def entry_of(problem: str, raw: Mapping[str, Any]) -> tuple[str, str] | None:
    """Returns (section, name) of the entry that a problem `section.name.…: what` is about; None if it concerns all."""
    for section in SECTIONS:
        for name in sorted(_section(raw, section), key=len, reverse=True):
            if problem.startswith((f"{section}.{name}.", f"{section}.{name}:")):
                return section, name
    return None


def without(raw: Mapping[str, Any], faulty: Iterable[tuple[str, str]]) -> tuple[dict[str, Any], Entries]:
    """Returns the document without faulty entries and the experiments that need them, and what is left out."""
    gone = Entries()
    for section, name in faulty:
        gone.add(section, name)
        for experiment in _owners(raw, name) if section == "candidates" else [name] * (section == "experiments"):
            gone.experiments.add(experiment)
            gone.candidates.update(_candidates(raw, experiment))
    rest = {
        section: {name: entry for name, entry in _section(raw, section).items() if (section, name) not in gone}
        for section in SECTIONS
    }
    return {**raw, **rest}, gone


def _add_experiment(entries: Entries, raw: Mapping[str, Any], name: str) -> None:
    entries.experiments.add(name)
    entries.candidates.update(_candidates(raw, name))
    data = _mapping(_mapping(_section(raw, "experiments").get(name)).get("data"))
    path = Path(str(data.get("path")))
    entries.downloads.update(
        key for key in _section(raw, "downloads") if Path("data/raw", key) in (path, *path.parents)
    )


def _candidates(raw: Mapping[str, Any], experiment: str) -> set[str]:
    """Returns the candidates that name an experiment, and those that it lists."""
    own = {
        name for name, entry in _section(raw, "candidates").items() if _mapping(entry).get("experiment") == experiment
    }
    return own | set(_listed(raw, experiment)) & set(_section(raw, "candidates"))


def _owners(raw: Mapping[str, Any], candidate: str) -> list[str]:
    """Returns the experiments that a candidate names or that list it."""
    named = _mapping(_section(raw, "candidates").get(candidate)).get("experiment")
    return [name for name in _section(raw, "experiments") if name == named or candidate in _listed(raw, name)]


def _listed(raw: Mapping[str, Any], experiment: str) -> list[str]:
    listed = _mapping(_section(raw, "experiments").get(experiment)).get("candidates")
    return [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []


def _section(raw: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {str(key): entry for key, entry in _mapping(raw.get(name)).items()}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
