"""One registration of a model at a time, whichever machine it runs on.

MLflow's database grants one thing to one process only: a registered model of a name that does not exist yet. So the
lock of `digits` is an empty registered model «digits (being registered)», a name that no experiment can have; whoever
makes it holds the lock, and removes it at the end. A holder gives a sign of life every few seconds. One whose process
is gone from this machine, or that has given none for a minute *by the clock of the one who waits*, loses the lock: its
entry is renamed, which the database lets only one of several do, as the new name is unique, too. A holder that was only
paused finds out by `check`, which asks before every step that cannot be taken back.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

from pipeline.tracking.client import Unreachable
from pipeline.tracking.liveness import BEAT, OWNER, is_living, owner_of, this_machine, this_process

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

SUFFIX = " (being registered)"
TOKEN = "pipeline.lock"  # of one holding of the lock
BEATING = 5.0  # seconds between two signs of life
SILENT = 60.0  # seconds without one after which another process takes the lock
POLL = 0.3  # seconds between two looks
TRIES = 10  # looks of a holder for its own entry
QUIET = 5.0  # seconds of waiting before anything is said
TAKEN = ("RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST")  # another process was faster, and may be done already

_held: set[str] = set()  # by this process


class Lost(Unreachable):
    """Another process has taken the lock, because this one gave no sign of life."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lock, as its entry in MLflow says."""

    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def token(self) -> str:
        return self.tags.get(TOKEN, "")

    @property
    def sign(self) -> tuple[str, str]:
        """Changes with every sign of life."""
        return self.token, self.tags.get(_beat_of(self.token), "")

    @property
    def is_gone(self) -> bool:
        """Whether its process ran on this machine and does not any more, or is this one and has given up."""
        owner = owner_of(self.tags)
        if owner is None or owner.machine != this_machine():
            return False
        if owner.pid == this_process().pid:
            return self.token not in _held
        return not is_living(self.tags, 0.0)

    def __str__(self) -> str:
        return str(owner_of(self.tags) or "another process")


@dataclass
class Lock:
    """The lock of one registered model, held by this process."""

    client: MlflowClient
    name: str
    token: str

    def check(self) -> None:
        """Raises Lost where another process holds the lock now."""
        for _ in range(TRIES):
            entries = _entries(self.client, self.name)
            held = entries.get(self.name + SUFFIX)
            if held is not None and held.token == self.token:
                return
            if all(entry.token != self.token for entry in entries.values()):
                break
            time.sleep(POLL / 3)  # taken by mistake, and given back at once
        if held is None or held.token != self.token:
            raise Lost(
                f"{self.name}: this process gave no sign of life for {SILENT:.0f} s, and "
                f"{held or 'another process'} has taken its place; the next run does what is missing"
            )


def holder_of(client: MlflowClient, name: str) -> Holder | None:
    """Who registers versions of `name` at this moment."""
    return _entries(client, name).get(name + SUFFIX)


@contextmanager
def exclusive(client: MlflowClient, name: str) -> Iterator[Lock]:
    """Waits until no other process registers versions of `name`, and keeps others out while the block runs."""
    lock = Lock(client, name, uuid4().hex[:12])
    _held.add(lock.token)
    try:
        leftovers = _acquire(lock)
        ended = threading.Event()
        beating = threading.Thread(target=_beat, args=(lock, ended), daemon=True)
        beating.start()
        try:
            yield lock
        finally:
            ended.set()
            beating.join(BEATING)
            _release(lock, leftovers)
    finally:
        _held.discard(lock.token)


def _acquire(lock: Lock) -> list[str]:
    """Waits for the lock. Returns the names of entries that were taken from earlier holders."""
    waiting = _Waiting(lock.name)
    while True:
        entries = _entries(lock.client, lock.name)
        holder = entries.pop(lock.name + SUFFIX, None)
        if holder is None and _is_made(lock):
            return list(entries)
        silence = waiting.silence_of(holder)
        if holder is not None and (holder.is_gone or silence > SILENT):
            _take_from(lock, holder)
        elif silence > SILENT:
            raise Unreachable(f"the registered model «{lock.name}{SUFFIX}» can neither be made nor seen")
        time.sleep(random.uniform(0.5, 1.5) * POLL)


class _Waiting:
    """Holds what one process sees while it waits: times are measured by its own clock, which nobody sets."""

    def __init__(self, name: str) -> None:
        self.name, self.said = name, False
        self.sign: tuple[str, str] | None = None
        self.started = self.since = time.monotonic()

    def silence_of(self, holder: Holder | None) -> float:
        """Seconds since the last sign of life that was new; says once for whom it waits."""
        now, sign = time.monotonic(), None if holder is None else holder.sign
        if sign != self.sign:
            self.sign, self.since = sign, now
        if holder is not None and not self.said and now - self.started > QUIET:
            logging.getLogger(__name__).warning("%s: %s registers it; waiting until it is done", self.name, holder)
            self.said = True
        return now - self.since


def _entries(client: MlflowClient, name: str) -> dict[str, Holder]:
    """The entry of the lock, and those that were renamed, by name."""
    models = client.search_registered_models(f"name LIKE '{name}{SUFFIX}%'")  # in LIKE, _ stands for any character
    return {entry.name: Holder(dict(entry.tags)) for entry in models if entry.name.startswith(name + SUFFIX)}


def _is_made(lock: Lock) -> bool:
    """Whether this process got the lock; False where another one was faster."""
    from mlflow.exceptions import MlflowException

    me = this_process()
    words = f"{me} registers a version of {lock.name}. This entry is gone when that is done."
    try:
        lock.client.create_registered_model(lock.name + SUFFIX, {TOKEN: lock.token, OWNER: me.tag}, words)
    except MlflowException as error:
        if error.error_code not in TAKEN and "unique" not in str(error).lower():  # so a database says it in a race
            raise
        return False
    return True


def _take_from(lock: Lock, holder: Holder) -> None:
    """Renames the entry of a holder that is gone. Of several who try this one succeeds, and the others look again."""
    from mlflow.exceptions import MlflowException

    place = lock.name + SUFFIX
    aside = f"{place} {holder.token or lock.token}"
    if (now := holder_of(lock.client, lock.name)) is None or now.token != holder.token:
        return
    try:
        lock.client.rename_registered_model(place, aside)
        taken = _entries(lock.client, lock.name).get(aside)
        if taken is not None and taken.token != holder.token:  # another process took the place between look and step
            lock.client.rename_registered_model(aside, place)
    except MlflowException as error:  # in a race MLflow has several words for "another process was faster"
        now = holder_of(lock.client, lock.name)
        if now is None or now.token != holder.token:
            return
        if error.error_code == "PERMISSION_DENIED":
            raise Unreachable(
                f"the registered model «{place}» was left by {holder}, and MLflow lets only its owner or an "
                "administrator delete it; ask one of them to"
            ) from error
        raise


def _beat(lock: Lock, ended: threading.Event) -> None:
    """Gives signs of life. The tag has a name of its own, so that it tells nothing of whoever comes after."""
    number = 0
    while not ended.wait(BEATING):
        number += 1
        with suppress(Exception):  # a server that is away hears the next one
            lock.check()
            lock.client.set_registered_model_tag(lock.name + SUFFIX, _beat_of(lock.token), str(number))


def _release(lock: Lock, leftovers: list[str]) -> None:
    """Removes the entry, if it is still the own one. What an outage leaves behind is taken over by the next process."""
    from mlflow.exceptions import MlflowException

    with suppress(MlflowException):
        holder = holder_of(lock.client, lock.name)
        own = [lock.name + SUFFIX] if holder is not None and holder.token == lock.token else []
        for entry in own + leftovers:
            with suppress(MlflowException):  # removed by another process that has seen it
                lock.client.delete_registered_model(entry)


def _beat_of(token: str) -> str:
    return f"{BEAT}.{token}"
