"""What the history tells beside single decisions: earlier champions, and what somebody did in MLflow on their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pipeline.registry import record
from pipeline.registry.chain import PREVIOUS, digest
from pipeline.registry.record import BY_A_PERSON, DECISION, DELETED, MOVED, OUTSIDE, REMOVED, Entry, kind_of
from pipeline.registry.store import Store, Version


def champions(history: Iterable[Entry]) -> list[str]:
    """Keys of the champions that led to the present one, the present one last. A way back takes the later ones off."""
    stack: list[str] = []
    for line in history:
        key = line["champion_after"]
        if key in stack:
            del stack[stack.index(key) + 1 :]
        elif key:
            stack.append(key)
    return stack


def set_aside(history: Iterable[Entry], key: str) -> Entry | None:
    """The line by which a person took this key from the champion's place, unless it came back there since.

    The gate does not promote such a version by itself, against whichever champion: somebody had a reason.
    """
    known: dict[str, str | None] = {}  # the champion after each line: forks stand in a row here, and are none
    last, demotion = None, None
    for line in history:
        before, after = known.get(str(line.get(PREVIOUS)), last), line["champion_after"]
        if before == key != after and kind_of(line) in (*BY_A_PERSON, MOVED):
            demotion = line
        elif after == key != before:
            demotion = None
        known[digest(line)] = last = after
    return demotion


def known_versions(history: Iterable[Entry]) -> dict[str, dict[str, str]]:
    """{key: version, key, candidate} of all that the history speaks of, without those it knows to be deleted."""
    versions: dict[str, dict[str, str]] = {}
    for line in history:
        for role in ("against", "challenger"):
            if line[role]:
                versions[line[role]["key"]] = line[role]
        if kind_of(line) == DELETED:
            versions.pop(str((line["evidence"] or {}).get("key")), None)
    return versions


def noticed(store: Store, history: list[Entry], tried: Callable[[Version], str]) -> list[Entry]:
    """New lines about what somebody did in MLflow since the last one. `tried` says how a version's pre-flight went."""
    if not history:
        return []
    lines = [_deleted(known, history, store) for key, known in known_versions(history).items()
             if key not in store.versions]  # fmt: skip
    last, champion = record.champion_of(history), store.at("champion")
    number = number_of(history, last)
    if champion is None and last in store.versions and not _removed(history):
        reason = (
            f"somebody has removed the alias champion from version {number} outside of this pipeline; "
            f"`python -m pipeline rollback {store.name}` sets it again"
        )
        lines.append(record.outside(REMOVED, number, None, last, reason, {}))
    if champion is not None and champion.key != last:
        verdict = tried(champion)
        reason = (
            f"{champion} was made champion outside of this pipeline by somebody; the gate has not checked it; "
            f"pre-flight: {verdict}"
        )
        lines.append(record.outside(MOVED, number, champion.number, champion.key, reason, {"preflight": verdict}))
    return lines


def notes(history: list[Entry], champion: Version | None) -> list[str]:
    """Returns what every run repeats while it holds: that nobody has checked the champion, or that there is none."""
    since: list[Entry] = []
    for line in history:
        since = [] if line["promoted"] or kind_of(line) in BY_A_PERSON else [*since, line]
    outside = [line for line in since if kind_of(line) in OUTSIDE and line["from"] != line["to"]]
    if not outside or (kind_of(outside[-1]) == MOVED) == (champion is None):
        return []
    return [str(outside[-1]["reason"])]


def _deleted(known: dict[str, str], history: list[Entry], store: Store) -> Entry:
    """A version that is no longer in MLflow. A deleted champion stays the one to be compared with."""
    last = record.champion_of(history)
    number = number_of(history, last)
    was_champion = known["key"] == last
    reason = (
        f"version {known['version']} ({known['candidate']}), which this pipeline did not delete, is gone from MLflow"
    )
    if was_champion:
        reason += f"; it was the champion: `python -m pipeline rollback {store.name}` makes an earlier version champion"
    return record.outside(DELETED, number, None if was_champion else number, last, reason, known)


def _removed(history: list[Entry]) -> bool:
    """Whether it is known already that the champion has lost its alias."""
    for line in reversed(history):
        if kind_of(line) == REMOVED:
            return True
        if line["promoted"] or kind_of(line) in (*BY_A_PERSON, MOVED):
            return False
    return False


def number_of(history: list[Entry], key: str | None) -> str | None:
    """The number under which a key was last known."""
    for line in reversed(history):
        if kind_of(line) != DECISION and line["champion_after"] == key and line.get("to"):
            return str(line["to"])
        for role in ("challenger", "against"):
            if line[role] and line[role]["key"] == key:
                return str(line[role]["version"])
    return None
