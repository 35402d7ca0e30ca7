"""The order of the history is that of its links: no clock decides who is champion, and forks are joined for good."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.registry import chain, ledger, record
from pipeline.registry.chain import digest, ends, following, has_gap, ordered
from pipeline.registry.record import Entry
from pipeline.registry.store import Store, Version
from pipeline.tracking.specification import KEY


def decision(number: int, against: int | None, time: str, promoted: bool = True) -> Entry:
    named = [{"version": str(n), "key": f"key-{n}", "candidate": "cnn"} if n else None for n in (number, against)]
    assert named[0] is not None
    line = record.entry(named[0], named[1], promoted=promoted, reason=f"about {number}", evidence={})
    return {**line, "time": time}


def chained(*lines: Entry, after: list[Entry] | None = None) -> list[Entry]:
    history = list(after or [])
    for line in lines:
        history.append(following(history, line))
    return history


NOON, EARLIER, LATER = "2026-01-01T12:00:00+00:00", "2026-01-01T11:30:00+00:00", "2026-01-01T13:00:00+00:00"


def test_promotion_by_a_machine_whose_clock_is_behind_stays_the_last_one() -> None:
    history = chained(decision(1, None, NOON), decision(2, 1, EARLIER))
    assert [line["previous"] for line in history] == [None, digest(history[0])]
    for lines in itertools.permutations(history):
        assert ordered(lines) == history
    assert record.champion_of(ledger.merged(history[1:], history[:1])) == "key-2"


def fork() -> tuple[list[Entry], list[Entry]]:
    """Two histories with one first line: each made another version champion without a sight of the other."""
    first = chained(decision(1, None, NOON))
    return chained(decision(2, 1, LATER), after=first), chained(decision(3, 1, EARLIER), after=first)


def test_fork_has_the_same_order_wherever_it_is_read() -> None:
    one, other = fork()
    both = ledger.merged(one, other)
    assert both == ledger.merged(other, one)
    assert [line["reason"] for line in both] == ["about 1", "about 3", "about 2"]
    assert {line["reason"] for line in ends(both)} == {"about 2", "about 3"}


def store(tags: dict[str, str] | None = None, champion: int | None = None) -> Store:
    """A registered model with the versions 1, 2 and 3."""
    found = Store.__new__(Store)
    found.name, found.tags, found.client = "digits", tags or {}, None  # type: ignore[assignment]
    versions = [Version(str(n), f"key-{n}", "cnn", {KEY: f"key-{n}"}) for n in (1, 2, 3)]
    found.versions, found.numbers = {v.key: v for v in versions}, {v.number: v for v in versions}
    found.aliases = {} if champion is None else {"champion": str(champion)}
    return found


@pytest.mark.parametrize(("alias", "champion"), [(2, "key-2"), (3, "key-3"), (1, "key-2"), (None, "key-2")])
def test_fork_is_joined_once_and_the_alias_says_which_champion_stays(alias: int | None, champion: str) -> None:
    found = ledger.joined(store(champion=alias), ledger.merged(*fork()))
    last = found.history[-1]
    assert (last["kind"], last["champion_after"], ends(found.history)) == ("joined", champion, [last])
    assert found.notes == [last["reason"]]
    assert "2 histories that were written apart are one from here on" in last["reason"]
    again = ledger.joined(store(champion=alias), reversed(found.history))
    assert again.history == found.history and again.notes == []
    later = chained(decision(4, 2, EARLIER), after=found.history)
    assert ordered(later[::-1]) == later


def test_lines_of_a_time_before_there_were_links_keep_the_order_of_time() -> None:
    old = [decision(1, None, EARLIER), decision(2, 1, NOON)]
    history = chained(decision(3, 2, "2025-01-01T00:00:00+00:00"), after=old)
    for lines in itertools.permutations(history):
        assert ordered(lines) == history
    assert ends(history) == history[-1:]


def test_line_that_is_gone_leaves_a_gap_that_is_known_and_moves_nothing_before_it() -> None:
    history = chained(decision(1, None, LATER), decision(2, 1, NOON), decision(3, 2, EARLIER))
    rest = [history[2], history[0]]
    assert has_gap(rest) and not has_gap(history)
    assert [line["reason"] for line in ordered(rest)] == ["about 1", "about 3"]


def test_long_history_is_put_in_order_without_recursion() -> None:
    history = chained(*(decision(n, n - 1 or None, NOON) for n in range(1, 3001)))
    assert ordered(history[::-1]) == history


def without(name: str) -> Callable[[dict[str, str]], None]:
    def change(tags: dict[str, str]) -> None:
        del tags[name]

    return change


def setting(name: str, value: str) -> Callable[[dict[str, str]], None]:
    return lambda tags: tags.__setitem__(name, value)


EDITS = [
    *(setting(name, value) for name in record.TAGS for value in ("", "{", "null", "[1]", '{"level": "x"}', "ä")),
    *map(without, (*record.TAGS, record.SEAL)),
]


@pytest.mark.parametrize("edit", EDITS)
def test_decision_whose_tags_somebody_has_edited_is_none(edit: Callable[[dict[str, str]], None]) -> None:
    line = decision(2, 1, NOON)
    tags = record.decision_tags(line)
    told = record.told_by_tags({"version": "2", "key": "key-2", "candidate": "cnn"}, tags)
    assert told is not None and (told["promoted"], told["evidence"]) == (True, {}) and not record.are_edited(tags)
    edit(tags)
    assert record.told_by_tags({"version": "2", "key": "key-2", "candidate": "cnn"}, tags) is None
    assert record.are_edited(tags)


NO_LINES: list[Any] = [None, [], "text", 1, {}, {"time": 1}, {"time": "", "reason": "", "champion_after": None}]


def test_tag_that_holds_no_line_is_damaged_and_raises_nothing() -> None:
    history = chained(decision(1, None, NOON))
    name, text = ledger.name_of(history[0]), json.dumps(history[0], sort_keys=True)
    contents = ["", "{", "[" * 100_000, '"\\ud800"', "9" * 5000, text.replace("about", "told"), text]
    assert [ledger.damaged({name: content}) for content in contents] == [*[[name]] * 6, []]
    assert [ledger.lines_of({name: content}) for content in contents] == [*[[]] * 6, history]
    wrong = {"time": 7, "challenger": "two", "evidence": [1], "previous": 3, "joins": [None], "against": {}}
    broken = [{**history[0], part: value} for part, value in wrong.items()]
    assert not any(map(record.is_line, [*NO_LINES, *broken])) and record.is_line(history[0])


def test_edited_tags_are_said_and_count_as_absent() -> None:
    line = chained(decision(1, None, NOON))[0]
    found = store({f"{ledger.PREFIX}1-a": "{", ledger.name_of(line): "edited"})
    edited = {**record.decision_tags(line), "pipeline.evidence": "{"}
    found.numbers["3"] = Version("3", "key-3", "cnn", edited)
    said = ledger.joined(found, [line]).notes
    assert said == [
        f"MLflow's tag {ledger.PREFIX}1-a was edited and counts as absent",
        "the tags of a decision on version 3 (cnn) were edited and count as absent",
    ]
    assert chain.ends([]) == []
