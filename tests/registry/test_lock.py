"""Registrations of one model wait for each other, on whatever machine; whoever died or fell silent is replaced."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.params import Tracking
from pipeline.registry import lock
from pipeline.registry.lock import SUFFIX, Lost, exclusive, holder_of
from pipeline.tracking.address import address_of
from pipeline.tracking.client import connect
from pipeline.tracking.liveness import OWNER, Owner, this_machine


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('lock')}/mlflow.db"


@pytest.fixture
def client(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(lock, "POLL", 0.02)
    monkeypatch.setattr(lock, "BEATING", 0.05)
    found = connect(address_of(Tracking(uri=database, artifacts=None), tmp_path))
    yield found
    assert found.search_registered_models() == [], "nothing is left for the UI to show"


def entry(client: Any, owner: Owner | None, token: str = "of another") -> None:
    """The entry of another process."""
    tags = {lock.TOKEN: token} | ({} if owner is None else {OWNER: owner.tag})
    client.create_registered_model("digits" + SUFFIX, tags)


ELSEWHERE = Owner("another/pid:[1]", 1, 0.0)
DEAD = Owner(this_machine(), 2**22 + 1, 0.0)


def test_only_one_at_a_time_is_inside(client: Any) -> None:
    inside, most, order = 0, 0, list[int]()

    def work(number: int) -> None:
        nonlocal inside, most
        with exclusive(client, "digits") as held:
            inside += 1
            most = max(most, inside)
            held.check()
            time.sleep(0.01)
            order.append(number)
            inside -= 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1 and sorted(order) == list(range(6))


def test_registrations_of_other_models_do_not_wait(client: Any) -> None:
    with exclusive(client, "digits"), exclusive(client, "digits_2"), exclusive(client, "digitsX2"):
        assert holder_of(client, "digits_2") is not None
        assert len(client.search_registered_models()) == 3


def test_lock_of_a_killed_process_of_this_machine_is_taken_at_once(client: Any) -> None:
    entry(client, DEAD)
    begin = time.monotonic()
    with exclusive(client, "digits") as held:
        held.check()
    assert time.monotonic() - begin < lock.SILENT / 2


@pytest.mark.parametrize("owner", [ELSEWHERE, None])
def test_lock_of_a_silent_process_is_taken_by_the_clock_of_who_waits(
    client: Any, owner: Owner | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "SILENT", 0.3)
    monkeypatch.setattr(time, "time", lambda: 0.0)  # clocks of machines do not matter
    entry(client, owner, token="")
    begin = time.monotonic()
    with exclusive(client, "digits") as held:
        held.check()
        assert time.monotonic() - begin > 0.3


def test_process_that_gives_signs_of_life_keeps_the_lock(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "SILENT", 3.0)  # a busy machine may take a second for a sign of life
    waited = list[float]()

    def wait() -> None:
        begin = time.monotonic()
        with exclusive(client, "digits"):
            waited.append(time.monotonic() - begin)

    with exclusive(client, "digits") as held:
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(4.0)
        held.check()
    thread.join()
    assert waited[0] > 3.5


def test_of_several_who_find_a_silent_holder_one_takes_its_place(client: Any) -> None:
    entry(client, DEAD)
    test_only_one_at_a_time_is_inside(client)
    assert holder_of(client, "digits") is None, "neither the silent one nor the last of them is left"


def test_process_that_was_paused_for_too_long_writes_nothing_more(client: Any) -> None:
    with exclusive(client, "digits") as held:
        found = holder_of(client, "digits")
        assert found is not None and found.token == held.token
        lock._take_from(held, found)  # as another process does after a minute
        with pytest.raises(Lost, match="gave no sign of life for 60 s, and another process has taken its place"):
            held.check()
        entry(client, ELSEWHERE)
        with pytest.raises(Lost, match="and process 1 on another has taken its place"):
            held.check()
    found = holder_of(client, "digits")
    assert found is not None and found.token == "of another", "its lock is not removed"
    for left in client.search_registered_models():
        client.delete_registered_model(left.name)


def test_who_waits_says_for_whom(client: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    monkeypatch.setattr(lock, "QUIET", 0.0)
    monkeypatch.setattr(lock, "SILENT", 0.3)
    entry(client, ELSEWHERE)
    with exclusive(client, "digits"):
        assert caplog.messages == ["digits: process 1 on another registers it; waiting until it is done"]
