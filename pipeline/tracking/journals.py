"""Journals: what a training writes while it runs, one line an epoch, read as they grow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.tracking.specification import Point, metric_name, number


@dataclass
class Piece:
    """One journal on its way into a run: how much of it was read, and what of that the server has not confirmed yet."""

    journal: Path
    run_id: str
    suffix: str = ""
    stored: dict[str, set[int]] | None = None  # metric → steps of it that the run had when it was asked; None: ask
    unsent: list[Point] = field(default_factory=list)
    seen: set[tuple[str, int]] = field(default_factory=set)  # (metric, step) of all points read so far
    offset: int = 0
    last: bytes = b""  # the line before the offset: if it is no longer there, the journal was written anew

    def read(self) -> None:
        """Adds what is new in the journal to `unsent`; a line that is still being written waits for the next time."""
        for line in self._new_lines():
            for point in points_of(line, self.suffix):
                if (point.metric, point.step) not in self.seen:
                    self.seen.add((point.metric, point.step))
                    self.unsent.append(point)

    def _new_lines(self) -> list[bytes]:
        try:
            with self.journal.open("rb") as stream:
                stream.seek(self.offset - len(self.last))
                text = stream.read()
                if not text.startswith(self.last):  # a resumed training wrote it anew, shorter or not
                    self.offset, self.last = 0, b""
                    stream.seek(0)
                    text = stream.read()
        except OSError:
            return []  # removed in this moment
        lines = text[len(self.last) :].split(b"\n")[:-1]
        if lines:
            self.offset += sum(len(line) + 1 for line in lines)
            self.last = lines[-1] + b"\n"
        return lines


def points_of(line: bytes, suffix: str) -> list[Point]:
    """The points of a line; none of one that is damaged."""
    entry = _entry(line)
    if entry is None:
        return []
    epoch, time, metrics = entry
    values = {metric_name(name + suffix): number(value) for name, value in metrics.items()}
    return [Point(name, epoch, value, time) for name, value in values.items() if value is not None]


def times(work: Path) -> dict[str, dict[str, float]]:
    """Piece → epoch → when it ended, of all journals: when something happened is no part of the outputs."""
    return {journal.stem: dict(_times(journal)) for journal in sorted(work.glob("*.jsonl"))}


def _times(journal: Path) -> Iterator[tuple[str, float]]:
    for line in journal.read_bytes().split(b"\n"):
        entry = _entry(line)
        if entry is not None:
            yield str(entry[0]), entry[1]


def _entry(line: bytes) -> tuple[int, float, dict[str, Any]] | None:
    try:
        entry = json.loads(line)
        return int(entry["epoch"]), float(entry["time"]), dict(entry["metrics"])
    except (ValueError, KeyError, TypeError):
        return None
