"""One process at a time: an orphan needs a moment to notice it and to end, and two writers would mix their files."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)

QUIET = 5.0  # seconds of waiting before a message
POLL = 0.1  # seconds between two attempts


@contextmanager
def alone(folder: Path, name: str) -> Iterator[None]:
    """Waits until no other process of this machine is inside the block for `name`, and logs for whom it waits.

    The lock is a file <name>.lock in `folder`. It ends with the process that holds it, however that ends, so that there
    is never one to be removed by hand.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("a+", encoding="utf-8") as lock:
        started, logged = time.monotonic(), False
        while not _locked(lock.fileno()):
            if not logged and time.monotonic() - started > QUIET:
                lock.seek(0)
                logger.warning("%s: process %s is at it already; waiting until it has ended", name, lock.read() or "?")
                logged = True
            time.sleep(POLL)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
