"""Exact resume: a fit that was killed goes on inside an epoch and ends with the bytes of one that was not.

Lightning's checkpoint holds weights, optimiser, schedule, progress and the callbacks' states. What it lacks is a random
state, and that is not needed: every step is seeded by (seed, step), the order of an epoch by (seed, epoch), and the
loader says which batch comes next. So nothing depends on "whatever state the generator has by now".
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from pipeline.files.digests import file_digest
from pipeline.training.signals import Stopped, stop_after_step, stop_asked

logger = logging.getLogger(__name__)

KEPT = 2  # the last one, and one before it should that turn out to be damaged
SHOWN = 16  # hexadecimal digits of a checkpoint's digest in its name


class Checkpoints(pl.Callback):
    """Writes a checkpoint every `every` optimiser steps, and when the process is asked to end.

    Files are called <name>.<step>-<digest>.ckpt: one that was cut short or altered does not fit its name. The last step
    of an epoch is never saved: the validation that follows it belongs to the same checkpoint, and Lightning would
    leave it out after a resume. The step after it is saved instead.
    """

    def __init__(self, folder: Path, name: str, every: int) -> None:
        self.folder, self.name, self.every = folder, name, every
        self.saved = 0  # the optimiser step of the last checkpoint
        self.seen = 0  # the optimiser step after the last batch: gradients that are still gathered are in no checkpoint
        self.tried = False  # whether a checkpoint was loaded back

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.saved = self.seen = trainer.global_step
        stop_after_step()

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        # Every process of a distributed training has to come to the same answer in the same step.
        stopping = bool(trainer.strategy.reduce_boolean_decision(stop_asked(), all=False))
        step, stepped = trainer.global_step, trainer.global_step > self.seen
        self.seen = step
        due = stopping or step // self.every > self.saved // self.every
        if due and stepped and not trainer.is_last_batch:
            self._save(trainer)
            if stopping:
                raise Stopped(self.name)

    def on_validation_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        """A long validation is broken off: there is a checkpoint from before it."""
        if trainer.strategy.reduce_boolean_decision(stop_asked(), all=False):
            raise Stopped(self.name)

    def _save(self, trainer: pl.Trainer) -> None:
        step = trainer.global_step
        partial = self.folder / f".{self.name}.{step}.part"
        trainer.save_checkpoint(partial)  # every process takes part, the first one writes
        self.saved = step
        if not trainer.is_global_zero:
            return
        if not self.tried:  # rather now than after the crash: only plain types and tensors can be loaded again
            torch.load(partial, map_location="cpu", weights_only=True)
            self.tried = True
        os.replace(partial, self.folder / f"{self.name}.{step}-{file_digest(partial)[:SHOWN]}.ckpt")
        for old in checkpoints(self.folder, self.name)[KEPT:]:
            old.unlink(missing_ok=True)


def checkpoints(folder: Path, name: str) -> list[Path]:
    """The checkpoints of a fit, the newest first."""
    return sorted(folder.glob(f"{name}.*-*.ckpt"), key=_step, reverse=True)


def newest(folder: Path, name: str) -> Path | None:
    """The newest checkpoint that is whole. Damaged ones are named in a warning and passed over."""
    for path in checkpoints(folder, name):
        if _digest(path) == path.stem.rpartition("-")[2]:
            return path
        logger.warning("%s is damaged; %s goes on from the one before it, or from the start", path, name)
    return None


def discard(folder: Path, name: str) -> None:
    """Removes what a completed fit no longer needs."""
    for path in (*checkpoints(folder, name), *folder.glob(f".{name}.*.part")):
        path.unlink(missing_ok=True)


def _step(path: Path) -> int:
    step = path.stem.rpartition("-")[0].rpartition(".")[2]
    return int(step) if step.isdigit() else -1


def _digest(path: Path) -> str:
    try:
        return file_digest(path)[:SHOWN]
    except OSError:  # removed or unreadable
        return ""
