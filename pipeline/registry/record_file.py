"""What commands read of reports/registry.json and write into it after a champion was made by a person."""

from __future__ import annotations

from typing import Any

from pipeline.registry import ledger, record
from pipeline.registry.record import Entry
from pipeline.registry.store import Store, Version
from pipeline.tracking.address import Address


def history_of(address: Address, name: str) -> list[Entry]:
    """The lines that the file tells of an experiment at this moment."""
    entry: dict[str, Any] = record.read(address.root)["experiments"].get(name, {})
    return list(entry.get("history") or [])


def write_entry(address: Address, name: str, now: dict[str, Any], *, here_alone: bool = False) -> dict[str, Any]:
    """Changes parts of an experiment's entry and returns it. No line of the history that another process of this clone
    has written in the meantime is lost."""

    def change(before: dict[str, Any]) -> dict[str, Any]:
        kept = {key: value for key, value in before.items() if key not in ("note", "sent", "pending")}
        history = ledger.merged(before.get("history") or [], now.get("history") or [])
        return {**EMPTY, **kept, **now, "history": history}

    return record.update(address, name, change, here_alone=here_alone)


def write_champion(store: Store, version: Version, history: list[Entry]) -> None:
    """The entry after the last line of the history has made a version champion."""
    line = history[-1]
    decision = {"kind": line["kind"], "promoted": False, "against": None}
    decision |= {name: line[name] for name in ("reason", "evidence")}
    now = {"champion": version.named(), "decision": decision, "versions": len(store.versions), "history": history}
    write_entry(store.address, store.name, {"model": store.name, **now})


EMPTY: dict[str, Any] = {
    "model": None,
    "champion": None,
    "challenger": None,
    "decision": None,
    "versions": 0,
    "sent": [],
    "pending": [],
    "history": [],
}
