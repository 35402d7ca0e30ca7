"""A process in a search that several share: it takes numbers in turn, stores outcomes, and takes over from the dead.

Nothing here decides anything: what a generation proposes comes from `search`, which every participant runs for itself
on the same completed trials. Whoever stores an outcome first sets it for all, so that all go on from the same numbers.
As an outcome depends on its proposal alone, computing one twice is waste and no mistake: that happens only where a
participant is silent without being dead, or the database is away.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution

from pipeline.files.atomic import read_json, write_json
from pipeline.search.search import Proposal, Trial
from pipeline.search.storage import away, reason
from pipeline.search.study import OWNER, Study
from pipeline.training.fit import Outcome

logger = logging.getLogger(__name__)

BEAT = 5.0  # seconds between two signs of life of a participant
SILENCE = 45.0  # seconds without one after which others take over its trials
ABSENCE = 1800.0  # seconds that a search waits for a database that is away
POLL = 1.0  # seconds between two looks at trials that others compute
FAREWELL = 10.0  # seconds that a participant which ends early takes to send its outcomes
SAID = 15.0  # seconds between two lines that say what is waited for

Compute = Callable[[Iterable[Proposal], Callable[[int, Outcome], None]], Sequence[Outcome]]


class Watch:
    """Which participants are silent, by this machine's own clock: those of different machines need not agree."""

    def __init__(self) -> None:
        self.seen: dict[str, tuple[str | None, float]] = {}  # participant → (its last beat, when that was new)
        self.looked = -math.inf

    def look(self, beats: Mapping[str, str]) -> None:
        now = time.monotonic()
        if now - self.looked > SILENCE / 2:  # nobody could be heard meanwhile: that is not their silence
            self.seen = {}
        for participant, beat in beats.items():
            if participant not in self.seen or self.seen[participant][0] != beat:
                self.seen[participant] = beat, now
        self.looked = now

    def is_silent(self, participant: str) -> bool:
        now = time.monotonic()
        since = self.seen.setdefault(participant, (None, now))[1]  # one that came after the last look is not silent
        return now - since > SILENCE and now - self.looked < SILENCE / 2


class Participant:
    """This process in a shared search."""

    def __init__(self, study: Study, token: str, distributions: Mapping[str, BaseDistribution], compute: Compute):
        self.study, self.token, self.distributions, self.compute = study, token, distributions, compute
        self.values: dict[int, dict[str, Any]] = {}  # proposed parameters of the generation, by number
        self.taken: set[int] = set()  # numbers that this process computes or has computed
        self.elsewhere: set[int] = set()  # numbers that were not free when they were last looked at
        self.results: list[Trial] = []  # outcomes that the database does not have yet
        self.watch, self.hosts, self.beats = Watch(), dict[str, str](), 0
        self.away_since: float | None = None
        self.failure: Exception | None = None
        self.said = time.monotonic()
        self.ended, self.wake = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._keep_in_touch, name=f"study {study.name}", daemon=True)

    def run(self, proposals: list[Proposal]) -> list[Outcome]:
        """The outcomes of a generation, in the order of its proposals, whoever computed them."""
        self.values = {number: values for number, values, _ in proposals}
        self.taken, self.elsewhere = set(), set()
        while True:
            self.compute(self._claimed(proposals), self._computed)
            missing = self._missing()
            if not missing:
                return [self.study.outcome(number, values) for number, values in self.values.items()]
            self._wait(missing)

    def _claimed(self, proposals: Iterable[Proposal]) -> Iterator[Proposal]:
        """Proposals that nobody else computes, each claimed in the moment in which a worker is free for it."""
        for proposal in proposals:
            if proposal[0] not in self.taken and self._claim(proposal[0]):
                self.taken.add(proposal[0])
                yield proposal

    def _claim(self, number: int) -> bool:
        """Whether the trial is ours to compute. While the database is away, those are that nobody had before."""
        try:
            trial = self.study.read(number)
            owner = trial.user_attrs[OWNER]
            free = not trial.state.is_finished() and (owner in (None, self.token) or self.watch.is_silent(owner))
            if not free or not self.study.swap_owner(number, owner, self.token):
                self.elsewhere.add(number)
                return False
            if owner not in (None, self.token):
                logger.info("%s is silent: its trial %d goes on here", self.hosts.get(owner, "its machine"), number)
            self.study.start(number, self.values[number], self.distributions)
            return True
        except away() as error:
            self._note_absence(error)
            return number not in self.elsewhere

    def _computed(self, number: int, outcome: Outcome) -> None:
        """Hands an outcome to the thread that sends it, so that no worker waits for the database."""
        self.results.append(Trial(number, 0, self.values[number], outcome))
        self.wake.set()

    def _missing(self) -> list[int]:
        try:
            return [number for number in self.values if not self.study.read(number).state.is_finished()]
        except away() as error:
            self._note_absence(error)
            return list(self.values)

    def _wait(self, missing: list[int]) -> None:
        """A pause before the next look. Raises what makes further waiting useless."""
        if self.failure:
            raise self.failure
        now = time.monotonic()
        if self.away_since is not None and now - self.away_since > ABSENCE:
            raise ValueError(
                f"{self.study.address.shown} has not answered for {(now - self.away_since) / 60:.0f} minutes; all "
                "outcomes of this machine are kept: start again when it is back, and the search goes on"
            )
        elsewhere = [number for number in missing if number not in self.taken]
        if elsewhere and now - self.said > SAID and self.away_since is None:
            self.said = now
            owners = {self.study.trials[number].user_attrs[OWNER] for number in elsewhere}
            hosts = sorted({self.hosts.get(owner, "another machine") for owner in owners})
            logger.info("waiting for %s to complete trial %s", " and ".join(hosts), ", ".join(map(str, elsewhere)))
        time.sleep(POLL)

    # In a thread of its own, so that neither a training nor a database that is slow or away stops the other

    def _keep_in_touch(self) -> None:
        while not self.ended.is_set():
            try:
                self.show_life()
                self._send()
                self._note_return()
            except away() as error:
                self._note_absence(error)
            except Exception as error:  # raised again where the search waits
                self.failure = error
                return
            self.wake.wait(BEAT)
            self.wake.clear()

    def show_life(self) -> None:
        """Says that this process lives, and hears who else does."""
        self.beats += 1
        lives = self.study.beat(self.token, {"host": socket.gethostname(), "beat": f"{os.getpid()}.{self.beats}"})
        self.hosts = {participant: entry["host"] for participant, entry in lives.items()}
        self.watch.look({participant: entry["beat"] for participant, entry in lives.items()})

    def _send(self) -> None:
        while self.results:
            trial = self.results[0]
            self.study.start(trial.number, trial.parameters, self.distributions)
            self.study.finish(trial)
            self.results.pop(0)

    def _note_absence(self, error: Exception) -> None:
        if self.away_since is None:
            self.away_since = time.monotonic()
            logger.warning(
                "%s does not answer (%s); trials go on, and their outcomes are sent when it is back",
                self.study.address.shown, reason(error, self.study.address),
            )  # fmt: skip

    def _note_return(self) -> None:
        if self.away_since is not None:
            logger.warning("%s is back", self.study.address.shown)
            self.away_since = None

    def leave(self) -> None:
        """Sends what is computed and gives back what is not, for others to take at once."""
        self.ended.set()
        self.wake.set()
        self.thread.join(FAREWELL)
        if self.thread.is_alive() or self.away_since is not None:
            return
        with suppress(*away(), ValueError):
            self._send()
            for number in self.taken:
                if not self.study.read(number).state.is_finished():
                    self.study.swap_owner(number, self.token, None)


@contextmanager
def taking_part(
    study: Study, distributions: Mapping[str, BaseDistribution], work: Path, compute: Compute
) -> Iterator[Callable[[list[Proposal]], list[Outcome]]]:
    """Yields what runs the generations of a shared search; `compute` runs the trials that fall to this process."""
    participant = Participant(study, _identity(work), distributions, compute)
    participant.thread.start()
    done = sum(trial.state.is_finished() for trial in study.trials.values())
    progress = "search '%s' at %s: %d of %d trials are done"
    logger.info(progress, study.name, study.address.shown, done, len(study.trials))
    try:
        yield participant.run
    finally:
        participant.leave()


def _identity(work: Path) -> str:
    """Who this folder is among the participants: the same after a restart, so that its own trials go on at once.

    One process at a time works in the folder (data/exclusive.py), so that no two have the same name.
    """
    file = work / "participant.json"
    if not file.exists():
        write_json(file, {"participant": uuid.uuid4().hex})
    return str(read_json(file)["participant"])
