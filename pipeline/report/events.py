"""The history of a registered model, line by line, for those who read the report."""

from __future__ import annotations

from pipeline.report.results import Json


def _outcome(entry: Json) -> str:
    """Names what a line of the history is about: a decision of the gate, or something that a person did."""
    if entry.get("challenger") and entry.get("kind", "decision") == "decision":
        return "promoted" if entry.get("promoted") else "not promoted"
    return str(entry.get("kind", "moved by hand"))


def history(registry: Json | None) -> list[dict[str, str]]:
    """Returns all lines of the history, the newest first: their order is that of the file, not of clocks."""
    entries = (registry or {}).get("history") or []
    return [
        {
            "time": str(entry.get("time", ""))[:16].replace("T", " "),
            "candidate": str((entry.get("challenger") or {}).get("candidate", "")),
            "version": str((entry.get("challenger") or {}).get("version", "")),
            "outcome": _outcome(entry),
            "reason": str(entry.get("reason", "")),
        }
        for entry in reversed(entries)
    ]
