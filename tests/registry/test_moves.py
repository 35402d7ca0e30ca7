"""What a history tells: champions in their order, those that a person took back, and what nobody here has done."""

from __future__ import annotations

from typing import Any

from pipeline.registry import moves, record
from pipeline.registry.record import DELETED, MOVED, REMOVED, Entry
from pipeline.registry.store import Store, Version
from pipeline.tracking.specification import KEY


def named(number: int) -> dict[str, str]:
    return {"version": str(number), "key": f"key-{number}", "candidate": "digits-cnn"}


def decision(challenger: int, against: int | None, promoted: bool) -> Entry:
    other = None if against is None else named(against)
    return record.entry(named(challenger), other, promoted=promoted, reason="because", evidence={})


def rollback(before: int, after: int) -> Entry:
    return record.rolled_back(named(before), named(after), {})


def store_with(*numbers: int, champion: int | None = None) -> Store:
    """A registered model as it was read from MLflow."""
    store = Store.__new__(Store)
    found = [Version(str(number), f"key-{number}", "digits-cnn", {KEY: f"key-{number}"}) for number in numbers]
    store.name, store.tags = "digits", {}
    store.versions, store.numbers = {v.key: v for v in found}, {v.number: v for v in found}
    store.aliases = {} if champion is None else {"champion": str(champion)}
    return store


FIRST, SECOND, THIRD = decision(1, None, True), decision(2, 1, True), decision(3, 2, True)


def noticed(store: Store, history: list[Entry]) -> list[Entry]:
    return moves.noticed(store, history, lambda version: "passed")


def test_way_back_takes_later_champions_off() -> None:
    history = [FIRST, SECOND, decision(9, 2, False), THIRD]
    assert moves.champions(history) == ["key-1", "key-2", "key-3"]
    assert moves.champions([*history, rollback(3, 2)]) == ["key-1", "key-2"]
    assert moves.champions([*history, rollback(3, 2), rollback(2, 1)]) == ["key-1"]
    assert moves.champions([*history, rollback(3, 1), rollback(1, 3)]) == ["key-1", "key-3"]


def test_version_that_was_rolled_back_is_set_aside_until_a_person_brings_it_back() -> None:
    back = rollback(3, 1)
    history = [FIRST, SECOND, THIRD, back]
    assert moves.set_aside(history, "key-3") == back
    assert moves.set_aside(history, "key-2") is None  # the gate replaced it; nobody took it back
    assert moves.set_aside([*history, rollback(1, 3)], "key-3") is None
    later = decision(4, 1, True)
    assert moves.set_aside([*history, later], "key-3") == back  # also against another champion


def test_nothing_is_noticed_where_all_is_as_the_history_says() -> None:
    assert noticed(store_with(1, 2, champion=2), [FIRST, SECOND]) == []
    assert noticed(store_with(1, champion=1), []) == []
    assert noticed(store_with(1), [decision(1, None, False)]) == []


def test_moved_alias_is_noticed_once_and_said_for_as_long_as_it_stands() -> None:
    store, history = store_with(1, 2, champion=1), [FIRST, SECOND]
    lines = noticed(store, history)
    assert [(line["kind"], line["from"], line["to"], line["by"]) for line in lines] == [(MOVED, "2", "1", "unknown")]
    assert "outside of this pipeline by somebody; the gate has not checked it; pre-flight: passed" in lines[0]["reason"]
    history += lines
    assert noticed(store, history) == []
    assert moves.notes(history, store.at("champion")) == [lines[0]["reason"]]
    history.append(decision(3, 1, True))
    assert moves.notes(history, named_version(3)) == []


def named_version(number: int) -> Version:
    return Version(str(number), f"key-{number}", "digits-cnn")


def test_deleted_champion_stays_the_one_to_compare_with() -> None:
    store, history = store_with(1), [FIRST, SECOND]
    lines = noticed(store, history)
    assert [(line["kind"], line["from"], line["to"]) for line in lines] == [(DELETED, "2", None)]
    assert "it was the champion: `python -m pipeline rollback digits` makes an earlier version" in lines[0]["reason"]
    history += lines
    assert noticed(store, history) == []
    assert record.champion_of(history) == "key-2"
    assert moves.notes(history, None) == [lines[0]["reason"]]
    history.append(rollback(2, 1))
    assert moves.notes(history, named_version(1)) == []


def test_deleted_version_that_was_not_champion_leaves_the_champion_alone() -> None:
    history = [FIRST, decision(2, 1, False)]
    lines = noticed(store_with(1, champion=1), history)
    assert [(line["kind"], line["from"], line["to"], line["champion_after"]) for line in lines] == [
        (DELETED, "1", "1", "key-1")
    ]
    assert moves.notes([*history, *lines], named_version(1)) == []


def test_removed_alias_is_noticed_once() -> None:
    store, history = store_with(1, 2), [FIRST, SECOND]
    lines = noticed(store, history)
    assert [(line["kind"], line["champion_after"]) for line in lines] == [(REMOVED, "key-2")]
    history += lines
    assert noticed(store, history) == []
    assert moves.notes(history, None) == [lines[0]["reason"]]
    store.aliases["champion"] = "2"
    assert noticed(store, history) == [] and moves.notes(history, store.at("champion")) == []


def test_lines_of_a_time_before_there_were_kinds_are_understood() -> None:
    old: dict[str, Any] = {"time": "2026-01-01T00:00:00+00:00", "challenger": None, "against": None, "promoted": False,
                           "reason": "by hand", "evidence": {}, "champion_after": "key-1"}  # fmt: skip
    assert record.kind_of(old) == MOVED
    assert moves.set_aside([FIRST, SECOND, old], "key-2") == old
    assert noticed(store_with(1, 2, champion=1), [FIRST, SECOND, old]) == []
