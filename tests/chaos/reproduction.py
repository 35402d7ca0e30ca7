"""One `dvc repro` that is watched line by line and attacked on the way."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil
from clones import Clone

from chaos.attacks import TRACKED, Attack, strike

PATIENCE = 300.0  # seconds without a line after which a run counts as hanging
POLL = 0.02  # seconds between two looks for a victim that has not started yet


@dataclass
class Reproduction:
    """What one run has said and done. `durations`: seconds of every stage that it completed."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    durations: dict[str, float] = field(default_factory=dict)
    done: list[Attack] = field(default_factory=list)
    dying: list[tuple[Attack, float]] = field(default_factory=list)  # seconds until who was hit was gone
    running: str = ""
    begun: float = 0.0

    @property
    def said(self) -> str:
        return "".join(self.lines)

    def hear(self, line: str, now: float) -> None:
        """Notes when a stage begins and when it has ended."""
        self.lines.append(line)
        found = re.match(r"Running stage '([^']+)'", line)
        if found:
            self.running, self.begun = found.group(1), now
        elif self.running and re.match(r"(Updating|Generating) lock file|ERROR", line):
            self.durations[self.running] = now - self.begun
            self.running = ""


@contextmanager
def started(clone: Clone, *targets: str, **variables: str) -> Iterator[Reproduction]:
    """`dvc repro` in a process group of its own, of which nothing is left when the block ends."""
    process = subprocess.Popen(
        ["dvc", "repro", *targets], cwd=clone.folder, env=clone.environment(**variables), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        yield Reproduction(process)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    finally:
        process.wait()


def watch(
    clone: Clone,
    waiting: dict[str, list[Attack]],
    expected: Mapping[str, float],
    outage: Callable[[], None] | None = None,
    **variables: str,
) -> Reproduction:
    """Runs `dvc repro`; the first attack that waits for a stage comes at its moment, once that stage runs.

    `expected` holds the undisturbed seconds of every stage, `outage` takes the MLflow server away for a while. Attacks
    that were done are taken out of `waiting`; one whose moment the stage did not live to see stays.
    """
    with started(clone, **variables) as run:
        heard = _lines(run.process)
        dvc = psutil.Process(run.process.pid)
        attacked = ""  # a stage is hit once a run: what follows may be the end of this run
        while True:
            attack = next(iter(waiting.get(run.running, [])), None) if run.running != attacked else None
            due = run.begun + attack.moment * expected[run.running] if attack else None
            try:
                line = heard.get(timeout=PATIENCE if due is None else max(POLL, due - time.monotonic()))
            except queue.Empty:
                if attack is None or due is None:
                    raise AssertionError(f"no word for {PATIENCE} s:\n{run.said}") from None
                if _struck(attack, dvc, clone, run, outage):
                    attacked = run.running
                    waiting[attack.stage].remove(attack)
                    if attack.harm == "dvc":
                        return run  # the stage still holds the other end of the pipe
                continue
            if line is None:
                return run
            run.hear(line, time.monotonic())


def _struck(
    attack: Attack, dvc: psutil.Process, clone: Clone, run: Reproduction, outage: Callable[[], None] | None
) -> bool:
    begun = time.monotonic()
    if attack.harm in TRACKED:
        assert outage is not None, "no server to take away"
        outage()
    else:
        hit = strike(attack, dvc, clone.folder)
        if hit is None:
            return False
        psutil.wait_procs([hit], timeout=30)
    run.done.append(attack)
    run.dying.append((attack, time.monotonic() - begun))
    return True


def _lines(process: subprocess.Popen[str]) -> queue.Queue[str | None]:
    """The lines that a process writes as they come; None at their end."""
    heard: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            heard.put(line)
        heard.put(None)

    threading.Thread(target=read, daemon=True).start()
    return heard
