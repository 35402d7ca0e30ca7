"""A series of attacks in fresh clones: each clone takes several, is finished, and is compared with the undisturbed."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from clones import Clone, fresh_clone
from servers import MlflowServer

from chaos.attacks import Attack
from chaos.evidence import Evidence, differences, gathered
from chaos.reproduction import Reproduction, watch

RUNS = 60  # of dvc repro in one clone, after which it counts as never ending
SOON = 5.0  # seconds in which a stage ends after SIGTERM, and whatever has lost its leader
AWAY = 4.0  # seconds that the server is away


@dataclass(frozen=True)
class Undisturbed:
    """The run that all others are compared with."""

    evidence: Evidence
    durations: Mapping[str, float]  # seconds by stage

    @property
    def stages(self) -> list[str]:
        return list(self.durations)


@dataclass
class Round:
    """What happened in one clone."""

    folder: Path
    done: list[Attack] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    missed: list[Attack] = field(default_factory=list)  # the stage ended before their moment
    runs: int = 0
    seconds: float = 0.0


def source(folder: Path, change: Callable[[dict[str, Any]], None]) -> Clone:
    """This repository with a small params.yaml, as a clone of which all others are clones: one state of the code."""
    folder.mkdir(parents=True)
    clone = fresh_clone(folder)
    clone.edit(change)
    clone.commit()
    return clone


def copied(origin: Clone, folder: Path) -> Clone:
    """A clone of a clone, in which nothing has run."""
    origin.run("git", "clone", "-q", str(origin.folder), str(folder))
    return Clone(folder)


def undisturbed(clone: Clone) -> Undisturbed:
    """Runs everything once."""
    run = watch(clone, {}, {})
    assert run.process.returncode == 0, run.said
    return Undisturbed(gathered(clone.folder), run.durations)


def disturbed(
    clone: Clone, attacks: Iterable[Attack], before: Undisturbed, server: MlflowServer | None = None
) -> Round:
    """Runs `dvc repro` with the attacks, again and again until it ends well, and compares.

    `server` runs with a database `mlflow.db` in its folder, and can be taken away.
    """
    waiting: dict[str, list[Attack]] = {}
    for attack in attacks:
        waiting.setdefault(attack.stage, []).append(attack)
    result, begun = Round(clone.folder), time.monotonic()
    run: Reproduction | None = None
    while result.runs < RUNS and (run is None or run.process.returncode or run.done):
        if server is None:
            run = watch(clone, waiting, before.durations)
        else:
            outage = partial(away, server)
            run = watch(clone, waiting, before.durations, outage, MLFLOW_TRACKING_URI=server.address)
        result.runs += 1
        result.done += run.done
        result.faults += faults_of(run)
    if run is None or run.process.returncode or run.done:
        result.faults.append(f"no end after {result.runs} runs of dvc repro: {run.said[-500:] if run else ''}")
    else:
        database = server.folder / "mlflow.db" if server else None
        result.faults += differences(before.evidence, gathered(clone.folder, database))
        result.faults += survivors(clone.folder)
    result.missed = [attack for left in waiting.values() for attack in left]
    result.seconds = time.monotonic() - begun
    return result


def faults_of(run: Reproduction) -> Iterator[str]:
    """What a user must never see, whatever was done to the run."""
    attacked = ", ".join(map(str, run.done)) or "no attack"
    if "Traceback (most recent call last)" in run.said:
        yield f"a traceback after {attacked}: {run.said[run.said.index('Traceback') :][-600:]}"
    if not run.done and run.process.returncode:
        yield f"dvc repro failed without an attack: {run.said[-600:]}"
    for attack, seconds in run.dying:
        if attack.harm == "terminate" and seconds > SOON * crowding():
            yield f"{attack}: the stage lived on for {seconds:.1f} s after SIGTERM"


def away(server: MlflowServer) -> None:
    """Kills the server; it comes back while the pipeline goes on."""
    server.kill()
    timer = threading.Timer(AWAY, server.start, kwargs={"wait": False})
    timer.daemon = True
    timer.start()


def survivors(folder: Path) -> Iterator[str]:
    """Processes that still work in a clone although its last run has ended."""
    end = time.monotonic() + SOON * crowding()
    while found := [process for process in psutil.process_iter(["cwd", "cmdline"]) if works_in(folder, process)]:
        if time.monotonic() > end:
            yield from (f"process {process.pid} was left behind: {process.info['cmdline']}" for process in found)
            return
        time.sleep(0.2)


def works_in(folder: Path, process: psutil.Process) -> bool:
    here = process.info["cwd"]
    return here is not None and Path(here).is_relative_to(folder.resolve())


def crowding() -> float:
    """How much longer everything takes because other programs use this machine, too."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def forget(folder: Path) -> None:
    """Removes a clone that showed nothing."""
    shutil.rmtree(folder, ignore_errors=True)
