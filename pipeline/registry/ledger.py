"""The history once more, in MLflow: as tags of the registered model, one a line.

A lost reports/registry.json comes back from MLflow, and a lost MLflow from the file. Lines are found by the digest of
what they say, so that joining both doubles nothing and a line that somebody has edited is no line any more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from pipeline.data.provenance import content_key
from pipeline.registry.record import Entry
from pipeline.registry.store import Store, Version

PREFIX = "pipeline.ledger."
MOVING = "pipeline.moving"  # the name of the line whose move of the alias is under way
LONGEST = 4900  # characters of a tag; MLflow's database takes 5000


def digest(line: Entry) -> str:
    """Sixteen hexadecimal digits of what a line says."""
    return content_key(**line)[:16]


def name_of(line: Entry) -> str:
    """The tag of a line. In the order of these names the lines were written."""
    stamp = str(line["time"]).partition("+")[0].replace("-", "").replace(":", "")
    return f"{PREFIX}{stamp}-{digest(line)}"


def lines_of(tags: Mapping[str, str]) -> list[Entry]:
    """The lines that a registered model's tags tell of, the oldest first."""
    found = []
    for name in sorted(name for name in tags if name.startswith(PREFIX) and "/" not in name):
        text, part = tags[name], 2
        while f"{name}/{part}" in tags:
            text, part = text + tags[f"{name}/{part}"], part + 1
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and name == name_of({"time": "", **line}):
            found.append(line)
    return found


def merged(file: Iterable[Entry], mlflow: Iterable[Entry]) -> list[Entry]:
    """Every line of both once, in the order of time; lines of one moment stay in the order of the file."""
    by_digest: dict[str, Entry] = {}
    for line in (*file, *mlflow):
        by_digest.setdefault(digest(line), line)
    return sorted(by_digest.values(), key=lambda line: str(line["time"]))


def write(store: Store, lines: Iterable[Entry]) -> None:
    """Adds the lines that MLflow does not have yet. The first part of a long one comes last and makes it count."""
    for line in lines:
        name, text = name_of(line), json.dumps(line, sort_keys=True, ensure_ascii=False)
        parts = [text[start : start + LONGEST] for start in range(0, len(text), LONGEST)]
        for number in range(len(parts), 0, -1):
            tag = name if number == 1 else f"{name}/{number}"
            if store.tags.get(tag) != parts[number - 1]:
                store.set_tag(tag, parts[number - 1])


def move_champion(store: Store, version: Version, line: Entry) -> None:
    """Writes the line and moves the alias. Whoever is killed in between has it finished by `finish_move`."""
    store.set_tag(MOVING, name_of(line))
    write(store, [line])
    store.point("champion", version)
    store.remove_tag(MOVING)


def finish_move(store: Store) -> str | None:
    """Moves the alias for a line that was written by a process that then died. Says what it did, if anything."""
    moving = store.tags.get(MOVING)
    if moving is None:
        return None
    line = next((line for line in lines_of(store.tags) if name_of(line) == moving), None)
    version = None if line is None else store.numbers.get(str(line["to"]))
    moved = version is not None and store.point("champion", version)
    store.remove_tag(MOVING)
    return f"alias champion → version {version.number}, which an earlier run had decided" if moved and version else None
