"""Makes versions anew that MLflow has lost together with its database, in their old order."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.registry import ledger, record
from pipeline.registry.making import Publisher
from pipeline.registry.record import Entry
from pipeline.registry.store import RESTORING, Store


def is_lost(store: Store, history: list[Entry]) -> bool:
    """Whether MLflow knows nothing of a history that a file tells of, or was left half restored.

    A store that still has lines of the ledger is not lost: there somebody has deleted versions.
    """
    unfinished = any(RESTORING in version.tags for version in store.versions.values())
    return bool(history) and (unfinished or not (store.versions or ledger.lines_of(store.tags)))


def restore(store: Store, maker: Publisher, history: list[Entry], work: Path) -> tuple[list[str], list[str]]:
    """(what was made anew, what could not be), in words. The aliases come after this.

    Versions keep their mark until all are there, so that whoever is killed here goes on the next time.
    """
    sent: list[str] = []
    lost: list[str] = []
    for line in history:
        for role in ("against", "challenger"):
            known = line[role]
            if known and known["key"] not in store.versions:
                made, message = _restored(store, maker, known, work)
                (sent if made else lost).append(message)
    for line in history:
        if line["challenger"] and line["challenger"]["key"] in store.versions:
            store.tag(store.versions[line["challenger"]["key"]], record.decision_tags(line))
    return sent, list(dict.fromkeys(lost))


def finish(store: Store, history: list[Entry]) -> None:
    """Takes the marks off, after the aliases are back."""
    if store.exists:
        ledger.write(store, history)
    for version in list(store.versions.values()):
        if RESTORING in version.tags:
            store.untag(version, RESTORING)


def _restored(store: Store, maker: Publisher, known: Mapping[str, str], work: Path) -> tuple[bool, str]:
    candidate = maker.outputs.candidate_with(known["key"])
    if candidate is not None and candidate in maker.outputs.metrics["models"]:
        return True, str(maker.add(candidate, **{RESTORING: "true"}))
    stray = store.stray_version(known["key"], known["version"], work / f"stray-{known['key']}")
    if stray is None or stray.folder is None:
        return False, (
            f"version {known['version']} ({known['candidate']}, key {known['key'][:12]}) is lost: "
            "neither models/ nor mlartifacts/ holds it any more"
        )
    version = store.add(stray.folder, {**stray.tags, RESTORING: "true"}, maker.run_ids.get(known["key"]))
    return True, f"{version}, from mlartifacts"
