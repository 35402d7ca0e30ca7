"""An earlier champion comes back: which one, and the line that says who did it."""

from __future__ import annotations

from typing import Any

from pipeline.registry import moves, record
from pipeline.registry.promotion import named_version, numbers, replace_champion
from pipeline.registry.record import Entry
from pipeline.registry.store import Store, Version


def roll_back(store: Store, file: list[Entry], to: str | None) -> tuple[Version, list[Entry]]:
    """(the new champion, the history with its line). Raises ValueError, and changes nothing, where it must not be."""

    def choose(history: list[Entry], before: Version | None) -> Version:
        return _previous(store, history, before) if to is None else named_version(store, to)

    def line(before: Version | None, after: Version, evidence: dict[str, Any]) -> Entry:
        return record.rolled_back(None if before is None else before.named(), after.named(), evidence)

    return replace_champion(store, file, choose, line)


def _previous(store: Store, history: list[Entry], before: Version | None) -> Version:
    """The champion before the present one, or before the one that is gone."""
    keys = moves.champions(history)
    if keys and (keys[-1] not in store.versions or (before is not None and keys[-1] == before.key)):
        keys.pop()
    if not keys:
        raise ValueError(f"{store.name}: the history tells of no earlier champion; name one: --to {numbers(store)}")
    if keys[-1] not in store.versions:
        raise ValueError(
            f"{store.name}: the earlier champion, version {moves.number_of(history, keys[-1])}, is gone from MLflow; "
            f"name one: --to {numbers(store)}"
        )
    return store.versions[keys[-1]]
