"""The history stands in the file and in MLflow; either brings back the other, and nothing is doubled or made up."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.registry import ledger, record
from pipeline.registry.ledger import (
    LONGEST,
    MOVING,
    digest,
    finish_move,
    lines_of,
    merged,
    move_champion,
    name_of,
    write,
)
from pipeline.registry.record import Entry
from pipeline.registry.store import Store, Version
from pipeline.tracking.specification import KEY


class Client:
    """MLflow's registered model, of which this test sees every call; it can die at any of them."""

    def __init__(self, deadly: int | None = None) -> None:
        self.tags: dict[str, str] = {}
        self.aliases: dict[str, str] = {}
        self.calls, self.deadly = 0, deadly

    def _call(self) -> None:
        if self.calls == self.deadly:
            raise KeyboardInterrupt
        self.calls += 1

    def set_registered_model_tag(self, name: str, key: str, value: str) -> None:
        self._call()
        self.tags[key] = value

    def delete_registered_model_tag(self, name: str, key: str) -> None:
        self._call()
        del self.tags[key]

    def set_registered_model_alias(self, name: str, alias: str, number: str) -> None:
        self._call()
        self.aliases[alias] = number


def store_of(client: Any) -> Store:
    store = Store.__new__(Store)
    store.name, store.client = "digits", client
    store.tags, store.aliases = dict(client.tags), dict(client.aliases)
    versions = [Version(number, f"key-{number}", "digits-cnn", {KEY: f"key-{number}"}) for number in ("1", "2")]
    store.versions, store.numbers = {v.key: v for v in versions}, {v.number: v for v in versions}
    return store


def line(number: int, reason: str = "because", promoted: bool = True, **evidence: Any) -> Entry:
    challenger = {"version": str(number), "key": f"key-{number}", "candidate": "digits-cnn"}
    return record.entry(challenger, None, promoted=promoted, reason=reason, evidence=evidence)


def test_line_says_who_when_from_where_to_where_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTOR", "ada")
    champion = {"version": "1", "key": "key-1", "candidate": "digits-rnn"}
    found = record.entry({**champion, "version": "2", "key": "key-2"}, champion, promoted=True, reason="better",
                         evidence={"level": 0.025, "test_split": {"test_digest": "ttt"}})  # fmt: skip
    assert (found["by"], found["from"], found["to"], found["reason"]) == ("ada", "1", "2", "better")
    assert (found["level"], found["test_digest"], found["kind"]) == (0.025, "ttt", "decision")
    kept = record.entry({**champion, "version": "2", "key": "key-2"}, champion, promoted=False, reason="", evidence={})
    assert (kept["from"], kept["to"], kept["champion_after"]) == ("1", "1", "key-1")


def test_lines_come_back_from_mlflow_in_their_order_however_long_they_are() -> None:
    client, lines = Client(), [line(1), line(2, "ä" * (2 * LONGEST), share=0.1 + 0.2), line(3)]
    write(store_of(client), lines)
    assert lines_of(client.tags) == lines
    assert max(map(len, client.tags.values())) <= LONGEST
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789T.-/") for name in client.tags)
    calls = client.calls
    write(store_of(client), lines)
    assert client.calls == calls  # nothing is sent twice


def test_file_and_mlflow_are_joined_without_doubling() -> None:
    first, second, third = line(1), line(2), line(3)
    assert merged([first, third], [first, second]) == [first, second, third]
    assert merged([], [second, third]) == merged([second, third], []) == [second, third]
    again = json.loads(json.dumps(first))
    assert merged([first], [again]) == [first]


def test_edited_or_damaged_line_is_none_and_the_true_one_comes_back() -> None:
    client, true = Client(), line(1)
    write(store_of(client), [true])
    client.tags[name_of(true)] = client.tags[name_of(true)].replace("because", "of course")
    assert lines_of(client.tags) == []
    write(store_of(client), [true])
    assert lines_of(client.tags) == [true]
    client.tags[name_of(true)] = "{"
    client.tags["pipeline.ledger.other"] = "[]"
    assert lines_of(client.tags) == []


def test_digest_covers_everything_that_a_line_says() -> None:
    one = line(1)
    assert digest(one) == digest(dict(reversed(one.items())))
    assert all(digest({**one, name: "another"}) != digest(one) for name in one)


@pytest.mark.parametrize("deadly", range(5))
def test_move_that_is_killed_anywhere_is_either_not_begun_or_finished_the_next_time(deadly: int) -> None:
    client = Client(deadly=deadly)
    client.aliases["champion"] = "1"
    promotion = line(2)
    if deadly < 4:
        with pytest.raises(KeyboardInterrupt):
            move_champion(store_of(client), store_of(client).numbers["2"], promotion)
    else:
        move_champion(store_of(client), store_of(client).numbers["2"], promotion)
    client.deadly = None
    finish_move(store_of(client))
    begun = deadly >= 2
    assert lines_of(client.tags) == ([promotion] if begun else [])
    assert client.aliases["champion"] == ("2" if begun else "1")
    assert MOVING not in client.tags


def test_without_an_unfinished_move_nothing_is_done() -> None:
    client = Client(deadly=0)
    assert finish_move(store_of(client)) is None


def test_file_of_the_ledger_is_replaced_whole(tmp_path: Any) -> None:
    content = {"experiments": {"digits": {"history": [line(1)]}}}
    record.write(content, [tmp_path])
    assert record.read(tmp_path) == content
    (tmp_path / record.FILE).write_text("{")
    with pytest.raises(ValueError, match=r"registry\.json is damaged"):
        record.read(tmp_path)
    assert ledger.merged([], []) == []
