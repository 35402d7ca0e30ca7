"""The order of the history: every line names the one before it, so that no clock decides what came last.

`previous` holds the digest of the line before, None for the first. Two processes that could not see each other, as with
a server of its own each, leave a fork: two lines after one. Forks are put in one order, the same on every machine, and
a line of the kind `joined` names their ends in `joins`; what is written after it has one past again. Times are for the
reader. They order only what has no links: the ends of a fork, and lines of a time before there were links.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.files.digests import content_key
from pipeline.registry.record import Entry

PREVIOUS, JOINS = "previous", "joins"


def digest(line: Entry) -> str:
    """Sixteen hexadecimal digits of what a line says."""
    return content_key(**line)[:16]


def following(history: list[Entry], line: Entry) -> Entry:
    """The line with a link to the last one of an ordered history."""
    return {**line, PREVIOUS: digest(history[-1]) if history else None}


def ordered(lines: Iterable[Entry]) -> list[Entry]:
    """Every line once, each after those that it follows. The order does not depend on that of the lines given."""
    known: dict[str, Entry] = {}
    for line in lines:
        known.setdefault(digest(line), line)
    before = _links(known)
    done: dict[str, Entry] = {}
    for end in _ends(known, before):
        todo = [end]
        while todo:
            missing = next((name for name in before[todo[-1]] if name not in done), None)
            if missing is None:
                name = todo.pop()
                done[name] = known[name]
            else:
                todo.append(missing)
    return list(done.values())


def ends(history: Iterable[Entry]) -> list[Entry]:
    """The lines that no other follows; more than one where the history has forks that nobody has joined."""
    known = {digest(line): line for line in history}
    return [known[name] for name in _ends(known, _links(known))]


def has_gap(history: Iterable[Entry]) -> bool:
    """Whether a line names one before it that is not there: it was damaged, or lost."""
    known = {digest(line): line for line in history}
    return any(name not in known for line in known.values() for name in _named(line))


def _links(known: Mapping[str, Entry]) -> dict[str, list[str]]:
    """The lines that stand directly before each line, as far as they are there; that of the own past last."""
    unlinked = sorted((name for name, line in known.items() if PREVIOUS not in line), key=lambda n: _time(known[n]))
    before = {name: [link for link in _named(line) if link in known] for name, line in known.items()}
    return {**before, **{name: unlinked[max(0, place - 1) : place] for place, name in enumerate(unlinked)}}


def _ends(known: Mapping[str, Entry], before: Mapping[str, list[str]]) -> list[str]:
    """A line whose past has a gap comes after those whose past is whole."""
    inner = {link for links in before.values() for link in links}
    return sorted((name for name in known if name not in inner), key=lambda n: (_gap(n, known), _time(known[n]), n))


def _gap(name: str, known: Mapping[str, Entry]) -> bool:
    line = known[name]
    while line.get(PREVIOUS) is not None:
        if line[PREVIOUS] not in known:
            return True
        line = known[line[PREVIOUS]]
    return False


def _named(line: Mapping[str, Any]) -> list[str]:
    """The lines that a line names as those before it."""
    previous = line.get(PREVIOUS)
    return [*(line.get(JOINS) or []), *([] if previous is None else [previous])]


def _time(line: Entry) -> str:
    return str(line["time"])
