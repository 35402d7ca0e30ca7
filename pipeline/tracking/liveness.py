"""Which process writes a run, and whether it still lives."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache

OWNER = "pipeline.owner"  # the process that writes the run
BEAT = "pipeline.beat"  # when it was last heard of, in seconds since the epoch
CLOSED = "pipeline.closed"  # why a run was ended that nobody goes on with

# A process on another machine is known by its signs of life alone, and while MLflow is away it can give none.
SILENT = 120.0  # seconds without one after which somebody who does the same work takes its run over
STALE = 3600.0  # seconds without one after which its run is closed
SAME_START = 5.0  # seconds by which two looks at the start of one process may differ


@dataclass(frozen=True)
class Owner:
    """A process, told apart from a later one with the same number."""

    machine: str
    pid: int
    started: float

    @property
    def tag(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.machine.partition('/')[0]}"


@cache
def this_machine() -> str:
    """The host's name; with the number space of its processes, because containers can share a name."""
    try:
        return f"{socket.gethostname()}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return socket.gethostname()


def this_process() -> Owner:
    import psutil

    return Owner(this_machine(), os.getpid(), psutil.Process().create_time())


def marks(owner: Owner | None = None) -> dict[str, str]:
    """Tags by which others see who writes a run, and that it is still at it."""
    return {OWNER: (owner or this_process()).tag, BEAT: str(int(time.time()))}


def owner_of(tags: Mapping[str, str]) -> Owner | None:
    """Who wrote a run last; None where the tags do not say."""
    try:
        owner = json.loads(tags[OWNER])
        return Owner(str(owner["machine"]), int(owner["pid"]), float(owner["started"]))
    except (KeyError, ValueError, TypeError):
        return None


def last_heard(tags: Mapping[str, str], otherwise: float) -> float:
    """When the writer of a run was last heard of, in seconds since the epoch."""
    try:
        return float(tags[BEAT])
    except (KeyError, ValueError):
        return otherwise


def is_living(tags: Mapping[str, str], begin: float, silence: float = STALE) -> bool:
    """Whether the writer of a run lives: seen among the processes of this machine, else heard of within `silence`."""
    owner = owner_of(tags)
    if owner is not None and owner.machine == this_machine():
        return _runs(owner)
    return time.time() - last_heard(tags, begin) < silence


def is_anothers(tags: Mapping[str, str], begin: float) -> bool:
    """Whether a living process that is not this one writes a run; of one without an owner nothing is known."""
    owner, mine = owner_of(tags), this_process()
    if owner is None or (owner.machine, owner.pid) == (mine.machine, mine.pid):
        return False
    return is_living(tags, begin, SILENT)


def _runs(owner: Owner) -> bool:
    import psutil

    try:
        process = psutil.Process(owner.pid)
        same = abs(process.create_time() - owner.started) < SAME_START
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # of another user: it runs
        return True
