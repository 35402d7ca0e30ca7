"""The history once more, in MLflow: as tags of the registered model, one a line.

A lost reports/registry.json comes back from MLflow, and a lost MLflow from the file. Lines are found by the digest of
what they say, so that joining both doubles nothing and a line that somebody has edited is no line any more. Their order
is that of chain.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pipeline.registry import record
from pipeline.registry.chain import digest, ends, following, ordered
from pipeline.registry.record import Entry
from pipeline.registry.store import Store, Version

PREFIX = "pipeline.ledger."
MOVING = "pipeline.moving"  # the name of the line whose move of the alias is under way
LONGEST = 4900  # characters of a tag; MLflow's database takes 5000


def name_of(line: Entry) -> str:
    """The tag of a line."""
    stamp = str(line["time"]).partition("+")[0].replace("-", "").replace(":", "")
    return f"{PREFIX}{stamp}-{digest(line)}"


def lines_of(tags: Mapping[str, str]) -> list[Entry]:
    """The lines that a registered model's tags tell of, in their order."""
    return ordered(line for line in map(lambda name: _line_of(tags, name), _names(tags)) if line is not None)


def damaged(tags: Mapping[str, str]) -> list[str]:
    """The tags that should hold a line and do not: somebody has edited them."""
    return [name for name in _names(tags) if _line_of(tags, name) is None]


def merged(file: Iterable[Entry], mlflow: Iterable[Entry]) -> list[Entry]:
    """Every line of both once, in the order in which each names the one before it."""
    return ordered([*file, *mlflow])


@dataclass
class Joined:
    """The history as file and MLflow tell it together. `notes`: what must be said aloud."""

    history: list[Entry]
    sent: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def joined(store: Store, file: Iterable[Entry]) -> Joined:
    """One history without forks, after the move at which an earlier process was killed is finished."""
    history = Joined(merged(file, lines_of(store.tags)))
    finished = finish_move(store, history.history)
    history.sent += [finished] if finished else []
    join = _joining(history.history, store.at("champion"))
    if join is not None:
        history.history.append(following(history.history, join))
        history.notes.append(join["reason"])
    lost = sorted(set(damaged(store.tags)) - set(map(name_of, history.history)))
    if lost:
        history.notes.append(f"MLflow's tag {lost[0]} was edited and counts as absent" + _more(lost))
    edited = [str(version) for version in store.numbers.values() if record.are_edited(version.tags)
              and not _marked_again(store, version, history.history)]  # fmt: skip
    if edited:
        history.notes.append(f"the tags of a decision on {edited[0]} were edited and count as absent" + _more(edited))
    return history


def _marked_again(store: Store, version: Version, history: list[Entry]) -> bool:
    """Writes the tags of a decision once more, as far as the history tells of one about the version."""
    line = record.last_decision(history, version.key)
    if line is not None:
        store.tag(version, record.decision_tags(line))
    return line is not None


def _joining(history: list[Entry], champion: Version | None) -> Entry | None:
    """The line that ends the forks of a history, if it has any.

    The champion is that of the alias, as far as one of the histories made it champion; else that of the last line.
    """
    open_ends = ends(history)
    if len(open_ends) < 2:
        return None
    links = [digest(line) for line in open_ends if line is not history[-1]]
    if champion is None or champion.key not in {line["champion_after"] for line in open_ends}:
        return record.joined(links, None, history[-1]["champion_after"])
    return record.joined(links, champion.named(), champion.key)


def _more(names: list[str]) -> str:
    return f", and so do those of {len(names) - 1} more" if len(names) > 1 else ""


def _names(tags: Mapping[str, str]) -> list[str]:
    return sorted(name for name in tags if name.startswith(PREFIX) and "/" not in name)


def _line_of(tags: Mapping[str, str], name: str) -> Entry | None:
    """The line under a name, or None where the tag holds anything else."""
    text, part = tags[name], 2
    while f"{name}/{part}" in tags:
        text, part = text + tags[f"{name}/{part}"], part + 1
    try:
        line: Entry = json.loads(text)
        return line if record.is_line(line) and name == name_of(line) else None
    except (ValueError, RecursionError):
        return None


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
    store.hold()
    store.set_tag(MOVING, name_of(line))
    write(store, [line])
    store.point("champion", version)
    store.remove_tag(MOVING)


def finish_move(store: Store, history: list[Entry] | None = None) -> str | None:
    """Moves the alias for a line that was written by a process that then died. Says what it did, if anything.

    A process that was paused for so long that another took its place may have written a line beside the last one: that
    one moves nothing.
    """
    moving = store.tags.get(MOVING)
    if moving is None:
        return None
    last = ends(lines_of(store.tags) if history is None else history)
    line = last[0] if len(last) == 1 and name_of(last[0]) == moving else None
    version = None if line is None else store.numbers.get(str(line["to"]))
    moved = version is not None and store.point("champion", version)
    store.remove_tag(MOVING)
    return f"alias champion → version {version.number}, which an earlier run had decided" if moved and version else None
