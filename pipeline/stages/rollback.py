"""Makes an earlier version champion again, after the same pre-flight, and writes down who did it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.params import Params, ParamsError, nearest
from pipeline.registry import ledger, record
from pipeline.registry.rollback import roll_back
from pipeline.registry.store import Store, Version, store_with_versions
from pipeline.tracking.address import address_of
from pipeline.tracking.client import Unreachable, connect, reported


def main(name: str | None, params: Params, to: str | None = None) -> None:
    """Moves the alias champion of an experiment to the champion before this one, or to version `to`."""
    if name not in params.experiments:
        raise ParamsError(f"experiment: found {name}; {nearest(str(name), params.experiments)}")
    address = address_of(params.tracking)
    known = record.read(address.root)
    before: dict[str, Any] = known["experiments"].get(name, {})
    try:
        with reported(address):
            store = store_with_versions(connect(address), address, name)
            ledger.finish_move(store)
            version, history = roll_back(store, before.get("history", []), to)
    except Unreachable as error:
        raise ValueError(f"{error}; nothing was changed") from None
    known["experiments"][name] = _told(before, version, store, history)
    record.write(known, {address.root, Path.cwd()})
    print(f"rollback {name}: {history[-1]['reason']}; its pre-flight passed → {record.FILE}")


def _told(before: dict[str, Any], version: Version, store: Store, history: list[record.Entry]) -> dict[str, Any]:
    """The record of the experiment with another champion."""
    line = history[-1]
    decision = {"promoted": False, "reason": line["reason"], "evidence": line["evidence"], "against": None}
    empty: dict[str, Any] = {"model": store.name, "challenger": None, "sent": [], "pending": []}
    kept = {key: value for key, value in before.items() if key != "note"}
    now = {"champion": version.named(), "decision": decision, "versions": len(store.versions), "history": history}
    return {**empty, **kept, **now}
