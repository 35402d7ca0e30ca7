"""What is done to a running pipeline, to whom, and when; drawn from a seed so that a failing case can be repeated."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path

import psutil

FITS = ("tune", "train")  # stages that work in a pool and leave checkpoints
ANYWHERE = {
    "stage": "SIGKILL for the stage",
    "dvc": "SIGKILL for dvc alone; the stage lives on without it",
    "all": "SIGKILL for dvc, the stage and its workers at once",
    "terminate": "SIGTERM for the stage",
}
IN_FITS = {
    "worker": "SIGKILL for one worker",
    "checkpoint": "SIGKILL for all, then half of the newest checkpoint is gone",
    "journal": "SIGKILL for all, then half of the newest journal is gone",
    "outcome": "SIGKILL for all, then half of the newest outcome of a trial is gone",
}
DAMAGES = {"checkpoint": "*.ckpt", "journal": "*.jsonl", "outcome": "*-*.json"}  # files of .work/<key>
TRACKED = {"server": "SIGKILL for the MLflow server, which is started again seconds later"}
TRACKING = (*FITS, "register")  # stages that talk to it
HARMS = ANYWHERE | IN_FITS | TRACKED


@dataclass(frozen=True)
class Attack:
    """One harm; `moment` is the share of the stage's undisturbed duration after which it comes."""

    stage: str  # as DVC names it: train@digits-rnn
    harm: str
    moment: float

    def __str__(self) -> str:
        return f"{self.stage}/{self.harm}/{self.moment:.4f}"

    @classmethod
    def parse(cls, text: str) -> Attack:
        """The attack that `str` has written."""
        stage, harm, moment = text.split("/")
        if harm not in HARMS:
            raise ValueError(f"harm: found {harm}; allowed: {', '.join(HARMS)}")
        return cls(stage, harm, float(moment))


def drawn(stages: Iterable[str], generator: random.Random, *, server: bool = False) -> Iterator[Attack]:
    """Endless attacks: every harm comes to every stage once, in random order, before any comes again."""
    cells = [
        (stage, harm)
        for stage in stages
        for harm in HARMS
        if harm in ANYWHERE
        or (harm in IN_FITS and stage.startswith(FITS))
        or (harm in TRACKED and stage.startswith(TRACKING) and server)
    ]
    orders = (generator.sample(cells, len(cells)) for _ in repeat(None))
    return (Attack(stage, harm, generator.random()) for stage, harm in chain.from_iterable(orders))


def victim(attack: Attack, dvc: psutil.Process) -> psutil.Process | None:
    """The process that is hit, or None where it does not run (yet)."""
    if attack.harm in ("dvc", "all", *DAMAGES):
        return dvc
    stage = stage_process(dvc, attack.stage)
    if stage is None or attack.harm != "worker":
        return stage
    helpers = {child.pid for child in stage.children()}
    workers = [process for process in stage.children(recursive=True) if process.pid not in helpers]
    return workers[int(attack.moment * 1000) % len(workers)] if workers else None


def stage_process(dvc: psutil.Process, stage: str) -> psutil.Process | None:
    """The Python process that dvc has started for a stage, which may stand behind a shell; DVC_STAGE names it."""
    wanted = ["-m", "pipeline", stage.partition("@")[0]]
    for process in dvc.children(recursive=True):
        try:
            if process.cmdline()[1:] == wanted and process.environ().get("DVC_STAGE") == stage:
                return process
        except psutil.Error:
            continue  # it has just ended
    return None


def strike(attack: Attack, dvc: psutil.Process, folder: Path) -> psutil.Process | None:
    """Does it; returns who was hit, or None where nobody was there to be hit."""
    try:
        hit = victim(attack, dvc)
        if hit is None:
            return None
        if attack.harm == "terminate":
            hit.terminate()
        elif hit == dvc and attack.harm != "dvc":
            os.killpg(dvc.pid, signal.SIGKILL)
            damage(attack, folder)
        else:
            hit.kill()
    except (psutil.NoSuchProcess, ProcessLookupError):
        return None
    return hit


def damage(attack: Attack, folder: Path) -> None:
    """Cuts the newest file of this kind in half; a stage that has left none was killed early."""
    found = sorted(folder.glob(f".work/*/{DAMAGES.get(attack.harm, '-')}"), key=lambda path: path.stat().st_mtime)
    found = [path for path in found if not path.name.endswith(".params.json")]
    if found:
        os.truncate(found[-1], found[-1].stat().st_size // 2)
