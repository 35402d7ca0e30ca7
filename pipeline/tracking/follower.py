"""The thread that shows a running search or training in MLflow, however often MLflow goes away meanwhile."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any

from pipeline.tracking.address import Address
from pipeline.tracking.client import Unreachable, connect, reported
from pipeline.tracking.source import snapshot
from pipeline.tracking.stream import Displaced, Identity, Stream

logger = logging.getLogger(__name__)

INTERVAL = 2.0  # seconds between two looks at the journals
PATIENCE = 5.0  # seconds that a finished training waits for the last points to be sent
HASTE = 1.0  # seconds that one waits which does not end by itself: a scheduler allows little
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds between two attempts to reach an MLflow that is away
STANDBY = 10.0  # seconds between two looks at a run that another process writes


class Outage:
    """MLflow is away: said once when it begins and once when it is over."""

    def __init__(self, shown: str) -> None:
        self.shown = shown
        self.since = 0.0
        self.pause = FIRST_PAUSE
        self.connected = False

    def begin(self, reason: str) -> float:
        """Seconds to wait before the next attempt; each pause is twice as long as the one before."""
        if not self.since:
            self.since = time.monotonic()
            what = "the live view in MLflow is interrupted" if self.connected else "no live view in MLflow"
            logger.warning(
                "%s (%s); training goes on, and the view comes back by itself; `register` sends everything from the "
                "files", what, reason,
            )  # fmt: skip
        pause, self.pause = self.pause, min(2 * self.pause, LONGEST_PAUSE)
        return pause

    def over(self) -> None:
        if self.since:
            away = time.monotonic() - self.since
            logger.info("MLflow at %s is back after %.0f s; the live view goes on", self.shown, away)
        self.since, self.pause, self.connected = 0.0, FIRST_PAUSE, True


class Follower(threading.Thread):
    """Reads journals and sends what is new, in a thread of its own."""

    def __init__(self, address: Address, identity: Identity, work: Path, parameters: dict[str, Any]) -> None:
        super().__init__(name=f"mlflow {identity.name}", daemon=True)
        self.address = address
        self.stream = Stream(address, identity, work, parameters)
        self.outage = Outage(address.shown)
        self.ended = threading.Event()
        self.status = "FINISHED"

    def finish(self, status: str) -> None:
        """Sends the rest, for at most PATIENCE seconds; HASTE where the stage was asked to end."""
        self.status = status
        self.ended.set()
        self.join(PATIENCE if status == "FINISHED" else HASTE)
        if self.is_alive() and not self.outage.since:
            logger.warning("MLflow at %s is slow; `register` sends what is missing", self.address.shown)

    def run(self) -> None:
        """Nothing in here can stop or change a training; whatever goes wrong is said, and tried again."""
        while True:
            last = self.ended.is_set()
            pause = self._attempt()
            if pause is None or last:
                return
            self.ended.wait(pause)  # the end of the training cuts it short, for one more attempt

    def _attempt(self) -> float | None:
        """Follows the training to its end; else says how many seconds to wait before the next attempt."""
        try:
            snapshot(self.address.root)  # of the source that runs, before anybody edits it
            with reported(self.address):
                return self._follow()
        except Displaced:
            return 0.0
        except Unreachable as error:
            return self.outage.begin(str(error))
        except Exception as error:  # without its traceback, which can hold a password
            return self.outage.begin(f"{type(error).__name__}: {self.address.scrub(error)}")

    def _follow(self) -> float | None:
        client = connect(self.address)
        standing = self.stream.attach(client)
        if standing in ("complete", "another's"):
            self.outage.over()
            return None if standing == "complete" else STANDBY
        while True:
            last = self.ended.is_set()
            self.stream.poll(client)
            self.outage.over()
            if last:
                self.stream.close(client, self.status)
                return None
            self.ended.wait(INTERVAL)
