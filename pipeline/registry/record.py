"""reports/registry.json: who is champion, how every decision was made, and what MLflow has still to get."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.data.folders import write_json
from pipeline.tracking import origin

FILE = Path("reports", "registry.json")

# One line of the history. Of all: time, kind, by (who ran it), reason, evidence, from and to (numbers of the champion's
# version before and after), champion_after (its key). Of a decision: challenger, against, promoted, test_digest, level.
Entry = dict[str, Any]
DECISION, ROLLBACK, MOVED, REMOVED, DELETED = "decision", "rollback", "moved", "removed", "deleted"
OUTSIDE = (MOVED, REMOVED, DELETED)  # what somebody did in MLflow, past the gate and past rollback
SOMEBODY = "unknown"


def read(root: Path) -> dict[str, Any]:
    """What the file says, or an empty record. Raises ValueError for a damaged file: its history cannot be made anew."""
    file = root / FILE
    if not file.is_file():
        return {"experiments": {}}
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is damaged ({error}); restore it, or remove it to forget earlier decisions") from None
    return {"experiments": {}, **found}


def write(record: Mapping[str, Any], roots: Iterable[Path]) -> None:
    """Writes the file under every root at once or not at all: a run in a copy of the repository has two."""
    for root in roots:
        write_json(root / FILE, record)


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


def outside(
    kind: str, before: str | None, after: str | None, champion: str | None, reason: str, evidence: Mapping[str, Any]
) -> Entry:
    """What somebody did in MLflow. `champion` is the key that counts as champion from now on: of a deleted one its own,
    because a challenger is still compared with it."""
    return {**_line(kind, reason, evidence, before, after), "by": SOMEBODY, "champion_after": champion}


def _line(kind: str, reason: str, evidence: Mapping[str, Any], before: str | None, after: str | None) -> Entry:
    none: Entry = {"challenger": None, "against": None, "promoted": False, "test_digest": None, "level": None}
    said = {"reason": reason, "evidence": dict(evidence), "from": before, "to": after}
    return {"time": _stamp(), "kind": kind, **none, **said}


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


def last_promotion(history: Iterable[Entry], key: str) -> Entry | None:
    """The line that made a key the champion."""
    moves = (ROLLBACK, MOVED)
    found = [line for line in history if line["champion_after"] == key and (line["promoted"] or kind_of(line) in moves)]
    return found[-1] if found else None


def champion_of(history: list[Entry]) -> str | None:
    """The key of the champion after the last decision."""
    return history[-1]["champion_after"] if history else None


def decision_tags(line: Entry) -> dict[str, str]:
    """A decision as tags of the challenger's version."""
    against = line["against"]
    return {
        "pipeline.decision": "promoted" if line["promoted"] else "kept out",
        "pipeline.reason": line["reason"],
        "pipeline.against": against["key"] if against else "",
        "pipeline.against_version": against["version"] if against else "",
        "pipeline.evidence": json.dumps(line["evidence"], sort_keys=True),
        "pipeline.decided": line["time"],
    }


def told_by_tags(version: Mapping[str, str], tags: Mapping[str, str], against: str | None = None) -> Entry | None:
    """The decision that a version's tags tell of, for a record that was lost or is kept on another machine.

    `against` asks for the decision against that key only; an empty one stands for no champion.
    """
    if "pipeline.decision" not in tags or (against is not None and tags.get("pipeline.against") != against):
        return None
    other = tags.get("pipeline.against")
    promoted = tags["pipeline.decision"] == "promoted"
    return {
        "time": tags.get("pipeline.decided", ""),
        "challenger": dict(version),
        "against": {"key": other, "version": tags.get("pipeline.against_version", ""), "candidate": ""}
        if other
        else None,
        "promoted": promoted,
        "reason": tags.get("pipeline.reason", ""),
        "evidence": json.loads(tags.get("pipeline.evidence") or "{}"),
        "champion_after": version["key"] if promoted else other,
    }


def _stamp() -> str:
    """Fine enough to keep the lines of one run in their order."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
