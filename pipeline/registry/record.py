"""reports/registry.json: who is champion, how every decision was made, and what MLflow has still to get."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.files.atomic import write_json
from pipeline.files.digests import content_key
from pipeline.files.lock import alone
from pipeline.tracking import origin
from pipeline.tracking.address import Address

FILE = Path("reports", "registry.json")

# One line of the history. Of all: time, kind, by (who ran it), reason, evidence, from and to (numbers of the champion's
# version before and after), champion_after (its key), previous (the digest of the line before it, see chain.py). Of a
# decision: challenger, against, promoted, test_digest, level.
Entry = dict[str, Any]
DECISION, ROLLBACK, BY_HAND, JOINED = "decision", "rollback", "promotion by hand", "joined"
MOVED, REMOVED, DELETED = "moved", "removed", "deleted"
OUTSIDE = (MOVED, REMOVED, DELETED)  # what somebody did in MLflow, past the gate, rollback and promote
BY_A_PERSON = (ROLLBACK, BY_HAND)
SOMEBODY = "unknown"
SEAL = "pipeline.decision_digest"  # of the tags below, so that one that somebody has edited is noticed
TAGS = (
    "pipeline.decision",
    "pipeline.reason",
    "pipeline.against",
    "pipeline.against_version",
    "pipeline.evidence",
    "pipeline.decided",
)


def read(root: Path) -> dict[str, Any]:
    """Reads the file, or makes an empty record. Raises ValueError for a damaged one: its history would be lost."""
    file = root / FILE
    if not file.is_file():
        return {"experiments": {}}
    try:
        document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _damaged(file, str(error)) from None
    experiments = document.get("experiments", {}) if isinstance(document, dict) else None
    if not isinstance(experiments, dict) or not all(isinstance(entry, dict) for entry in experiments.values()):
        raise _damaged(file, "found no object of experiments")
    for name, entry in experiments.items():
        for number, line in enumerate(entry.get("history") or [], 1):
            if not is_line(line):
                raise _damaged(file, f"line {number} of the history of {name} is none")
    return {"experiments": {}, **document}


def _damaged(file: Path, reason: str) -> ValueError:
    return ValueError(f"{file} is damaged ({reason}); restore it, or remove it to forget earlier decisions")


def write(record: Mapping[str, Any], roots: Iterable[Path]) -> None:
    """Writes the file under every root at once or not at all: a run in a copy of the repository has two."""
    for root in roots:
        write_json(root / FILE, record)


def update(
    address: Address, name: str, change: Callable[[dict[str, Any]], Mapping[str, Any]], *, here_alone: bool = False
) -> dict[str, Any]:
    """Changes the entry of one experiment in the file and returns it.

    `change` gets the entry as it is now: another process of this clone may have written since this one has read. With
    `here_alone`, a copy of the repository keeps what it writes to itself.
    """
    with alone(address.root / ".work", "registry.json"):
        known = read(address.root)
        known["tracking"] = address.shown
        known["experiments"][name] = dict(change(known["experiments"].get(name, {})))
        write(known, {Path.cwd()} if here_alone else {address.root, Path.cwd()})
    stored: dict[str, Any] = known["experiments"][name]
    return stored


def is_line(document: object) -> bool:
    """Whether something is a line of a history: all that reads one relies on these parts."""
    if not isinstance(document, dict) or not {"time", "reason", "champion_after", "promoted"} <= set(document):
        return False
    models = (document.get("challenger"), document.get("against"))
    texts = (document["time"], document["reason"], *(text for model in models if isinstance(model, dict) for text in
             (model.get("key"), model.get("version"), model.get("candidate"))))  # fmt: skip
    links = document.get("joins") or []
    return (
        all(isinstance(text, str) for text in texts)
        and all(model is None or isinstance(model, dict) for model in models)
        and {"challenger", "against"} <= set(document)
        and isinstance(document.get("evidence") or {}, dict)
        and all(isinstance(document.get(part), str | None) for part in ("champion_after", "previous", "kind"))
        and isinstance(links, list)
        and all(isinstance(link, str) for link in links)
    )


def entry(
    challenger: Mapping[str, str],
    against: Mapping[str, str] | None,
    *,
    promoted: bool,
    reason: str,
    evidence: Mapping[str, Any],
) -> Entry:
    """A decision of the gate. Without evidence, the reason says why the two could not be compared."""
    before = None if against is None else against["version"]
    return {
        **_line(DECISION, reason, evidence, before, challenger["version"] if promoted else before),
        "by": user(),
        "challenger": dict(challenger),
        "against": None if against is None else dict(against),
        "promoted": promoted,
        "champion_after": challenger["key"] if promoted else against and against["key"],
        "test_digest": (evidence.get("test_split") or {}).get("test_digest"),
        "level": evidence.get("level"),
    }


def rolled_back(before: Mapping[str, str] | None, after: Mapping[str, str], evidence: Mapping[str, Any]) -> Entry:
    """A champion that a person has put back into its place."""
    came_from = f" from version {before['version']}" if before else ""
    reason = f"rolled back{came_from} to version {after['version']} ({after['candidate']}) by {user()}"
    line = _line(ROLLBACK, reason, evidence, before["version"] if before else None, after["version"])
    return {**line, "by": user(), "champion_after": after["key"]}


def by_hand(
    before: Mapping[str, str] | None, after: Mapping[str, str], because: str, evidence: Mapping[str, Any]
) -> Entry:
    """A champion that a person has made, past the gate; the evidence keeps what the gate has said about it."""
    reason = f"version {after['version']} ({after['candidate']}) was made champion by hand by {user()}: {because}"
    line = _line(
        BY_HAND, reason, {**evidence, "because": because}, before["version"] if before else None, after["version"]
    )
    return {**line, "by": user(), "champion_after": after["key"]}


def joined(ends: Sequence[str], champion: Mapping[str, str] | None, key: str | None) -> Entry:
    """The line after a fork. `ends`: of the histories beside the one that it follows; `key`: of the champion."""
    number = None if champion is None else champion["version"]
    stays = "" if champion is None else f"; version {number} ({champion['candidate']}) is champion"
    reason = f"{len(ends) + 1} histories that were written apart are one from here on{stays}"
    return {**_line(JOINED, reason, {}, number, number), "by": user(), "champion_after": key, "joins": list(ends)}


def outside(
    kind: str, before: str | None, after: str | None, champion: str | None, reason: str, evidence: Mapping[str, Any]
) -> Entry:
    """Returns a line about what somebody did in MLflow.

    `champion` is the key that counts from now on: of a deleted one its own, as a challenger is still compared with it.
    """
    return {**_line(kind, reason, evidence, before, after), "by": SOMEBODY, "champion_after": champion}


def _line(kind: str, reason: str, evidence: Mapping[str, Any], before: str | None, after: str | None) -> Entry:
    none: Entry = {"challenger": None, "against": None, "promoted": False, "test_digest": None, "level": None}
    line = {"reason": reason, "evidence": dict(evidence), "from": before, "to": after}
    return {"time": _stamp(), "kind": kind, **none, **line}


def kind_of(line: Entry) -> str:
    """Lines of a time before there were kinds are decisions, or moves by hand where they have no challenger."""
    return str(line.get("kind") or (DECISION if line["challenger"] else MOVED))


def user() -> str:
    """Who runs this: in a workflow the person who has started it."""
    return os.environ.get("GITHUB_ACTOR") or origin.user()


def decided(history: Iterable[Entry], challenger: str, champion: str | None) -> Entry | None:
    """The last decision about two content keys, if there was one: only one that a limit prevented is taken again."""
    for line in reversed(list(history)):
        against = line["against"] and line["against"]["key"]
        if line["challenger"] and line["challenger"]["key"] == challenger and against == champion:
            return line
    return None


def last_decision(history: Iterable[Entry], key: str) -> Entry | None:
    """Returns what the gate has said last about a challenger."""
    lines = [line for line in history if line["challenger"] and line["challenger"]["key"] == key]
    return lines[-1] if lines else None


def last_promotion(history: Iterable[Entry], key: str) -> Entry | None:
    """The line that made a key the champion."""
    moves = (*BY_A_PERSON, MOVED)
    lines = [line for line in history if line["champion_after"] == key and (line["promoted"] or kind_of(line) in moves)]
    return lines[-1] if lines else None


def champion_of(history: list[Entry]) -> str | None:
    """The key of the champion after the last decision."""
    return history[-1]["champion_after"] if history else None


def decision_tags(line: Entry) -> dict[str, str]:
    """A decision as tags of the challenger's version."""
    against = line["against"]
    values = (
        "promoted" if line["promoted"] else "kept out",
        line["reason"],
        against["key"] if against else "",
        against["version"] if against else "",
        json.dumps(line["evidence"], sort_keys=True),
        line["time"],
    )
    tags = dict(zip(TAGS, values, strict=True))
    return {**tags, SEAL: _seal(tags)}


def are_edited(tags: Mapping[str, str]) -> bool:
    """Whether the tags of a version tell of a decision, but not as this pipeline has written them."""
    return any(name in tags for name in (*TAGS, SEAL)) and tags.get(SEAL) != _seal(tags)


def _seal(tags: Mapping[str, str]) -> str:
    return content_key(**{name: tags.get(name) for name in TAGS})[:16]


def told_by_tags(version: Mapping[str, str], tags: Mapping[str, str], against: str | None = None) -> Entry | None:
    """The decision that a version's tags tell of, for a record that was lost or is kept on another machine.

    `against` asks for the decision against that key only; an empty one stands for no champion. Tags that somebody has
    edited tell nothing.
    """
    if TAGS[0] not in tags or are_edited(tags) or (against is not None and tags.get("pipeline.against") != against):
        return None
    other = tags["pipeline.against"]
    promoted = tags["pipeline.decision"] == "promoted"
    return {
        "time": tags["pipeline.decided"],
        "challenger": dict(version),
        "against": {"key": other, "version": tags["pipeline.against_version"], "candidate": ""} if other else None,
        "promoted": promoted,
        "reason": tags["pipeline.reason"],
        "evidence": json.loads(tags["pipeline.evidence"]),
        "champion_after": version["key"] if promoted else other,
    }


def _stamp() -> str:
    """Fine enough to keep the lines of one run in their order."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
