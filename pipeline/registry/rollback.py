"""An earlier champion comes back: which one, whether it may, and the line that says who did it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pipeline.registry import ledger, moves, preflight, record
from pipeline.registry.store import Store, Version
from pipeline.registry.trial import TrialFailed


def roll_back(store: Store, history: list[record.Entry], to: str | None) -> tuple[Version, list[record.Entry]]:
    """(the new champion, the history with its line). Raises ValueError, and changes nothing, where it must not be."""
    history = ledger.merged(history, ledger.lines_of(store.tags))
    history += moves.noticed(store, history, lambda version: "not tried: it was replaced at once")
    before = store.at("champion")
    target = _named_version(store, to) if to is not None else _previous(store, history, before)
    if before is not None and before.number == target.number:
        raise ValueError(f"{store.name}: {target} is champion already")
    verdict = _preflight(store, target)
    line = record.rolled_back(None if before is None else before.named(), target.named(), {"preflight": verdict})
    ledger.write(store, history)
    store.tag(target, {preflight.TAG: verdict})
    ledger.move_champion(store, store.numbers[target.number], line)
    return store.numbers[target.number], [*history, line]


def _named_version(store: Store, to: str) -> Version:
    """Raises ValueError for what is no version of this pipeline."""
    if not to.isascii() or not to.isdigit():
        raise ValueError(
            f"--to: found {to}; allowed: the number of a version of {store.name}, such as {_numbers(store)}"
        )
    number = str(int(to))
    if number not in store.numbers:
        raise ValueError(f"--to: found {to}; {store.name} has the versions {_numbers(store)}")
    if not store.numbers[number].ours:
        raise ValueError(
            f"--to: version {number} of {store.name} was not made by this pipeline (it has no content key), so that "
            "nobody can say what it was trained on; move the alias in the MLflow UI if you know"
        )
    return store.numbers[number]


def _previous(store: Store, history: list[record.Entry], before: Version | None) -> Version:
    """The champion before the present one, or before the one that is gone."""
    keys = moves.champions(history)
    if keys and (keys[-1] not in store.versions or (before is not None and keys[-1] == before.key)):
        keys.pop()
    if not keys:
        raise ValueError(f"{store.name}: the history tells of no earlier champion; name one: --to {_numbers(store)}")
    if keys[-1] not in store.versions:
        raise ValueError(
            f"{store.name}: the earlier champion, version {moves.number_of(history, keys[-1])}, is gone from MLflow; "
            f"name one: --to {_numbers(store)}"
        )
    return store.versions[keys[-1]]


def _preflight(store: Store, version: Version) -> str:
    """Tried anew, whatever a tag says: libraries may have changed since. Raises ValueError where it fails."""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            verdict = preflight.inspect(store.download(version, "", Path(scratch))).verdict
        except TrialFailed as error:
            verdict = f"was not possible: {error}"
    if verdict != preflight.PASSED:
        raise ValueError(f"{store.name}: {version} does not become champion: its pre-flight {verdict}")
    return verdict


def _numbers(store: Store) -> str:
    return ", ".join(number for number, version in store.numbers.items() if version.ours) or "none"
