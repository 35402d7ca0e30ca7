"""A person makes a version champion, past the gate: which one, whether it may, and the line that says who and why."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.registry import ledger, moves, record
from pipeline.registry.chain import following
from pipeline.registry.record import Entry
from pipeline.registry.store import Store, Version
from pipeline.serving import preflight
from pipeline.serving.rehearse import RehearsalFailed

Choose = Callable[[list[Entry], Version | None], Version]  # from the history and the champion of this moment
Line = Callable[[Version | None, Version, dict[str, Any]], Entry]  # from champion, next champion and evidence


def promote(store: Store, file: list[Entry], to: str, because: str) -> tuple[Version, list[Entry]]:
    """Makes the version of the number `to` champion. Raises ValueError, and changes nothing, where it must not be."""

    def line(before: Version | None, after: Version, evidence: dict[str, Any]) -> Entry:
        decision = record.last_decision(ledger.merged(file, ledger.lines_of(store.tags)), after.key)
        gate = "it was not asked about this version" if decision is None else decision["reason"]
        champion = None if before is None else before.named()
        return record.by_hand(champion, after.named(), because, {**evidence, "gate": gate})

    return replace_champion(store, file, lambda history, before: named_version(store, to), line)


def replace_champion(store: Store, file: list[Entry], choose: Choose, line_of: Line) -> tuple[Version, list[Entry]]:
    """(the new champion, the history with its line) after a pre-flight. `file`: the history that the record tells."""
    history = ledger.joined(store, file).history
    for line in moves.noticed(store, history, lambda version: "not tried: it was replaced at once"):
        history.append(following(history, line))
    before = store.at("champion")
    target = choose(history, before)
    if before is not None and before.number == target.number:
        raise ValueError(f"{store.name}: {target} is champion already")
    verdict = _preflight(store, target)
    last = following(history, line_of(before, target, {"preflight": verdict}))
    store.hold()
    ledger.write(store, history)
    store.tag(target, {preflight.TAG: verdict})
    ledger.move_champion(store, store.numbers[target.number], last)
    return store.numbers[target.number], [*history, last]


def named_version(store: Store, to: str) -> Version:
    """The version of a number. Raises ValueError for what is no version of this pipeline."""
    if not to.isascii() or not to.isdigit():
        raise ValueError(
            f"--to: found {to}; allowed: the number of a version of {store.name}, such as {numbers(store)}"
        )
    number = str(int(to))
    if number not in store.numbers:
        raise ValueError(f"--to: found {to}; {store.name} has the versions {numbers(store)}")
    if not store.numbers[number].ours:
        raise ValueError(
            f"--to: version {number} of {store.name} was not made by this pipeline (it has no content key), so that "
            "nobody can say what it was trained on; move the alias in the MLflow UI if you know"
        )
    return store.numbers[number]


def numbers(store: Store) -> str:
    """The versions that a person can name."""
    return ", ".join(number for number, version in store.numbers.items() if version.ours) or "none"


def _preflight(store: Store, version: Version) -> str:
    """Tried anew, whatever a tag says: libraries may have changed since. Raises ValueError where it fails."""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            verdict = preflight.inspect(store.download(version, "", Path(scratch))).verdict
        except RehearsalFailed as error:
            verdict = f"was not possible: {error}"
    if verdict != preflight.PASSED:
        raise ValueError(f"{store.name}: {version} does not become champion: its pre-flight {verdict}")
    return verdict
