"""What watches a fit: the average and the best of its weights, its journal, and what ends it early.

Each tells what it knows in `state_dict`, which is a part of every checkpoint: plain values and tensors alone, because
Lightning loads nothing else.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from pipeline.files.atomic import write_whole
from pipeline.training.module import TaskModule


class AveragedWeights(pl.Callback):
    """An exponential moving average of the weights, in their place while validation runs (Polyak and Juditsky 1992).

    The running statistics of norms are averaged with them: those of the last weights would fit no average.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.weights: list[Tensor] = []
        self.average: list[Tensor] = []
        self.trained: list[Tensor] = []

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.weights = _averaged(module)
        self.average = [average.to(weight.device) for average, weight in zip(self.average, self.weights, strict=False)]

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        if not self.average:
            self.average = [weight.detach().clone() for weight in self.weights]
        decay = min(self.decay, (1 + trainer.global_step) / (10 + trainer.global_step))  # short memory at the start
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.weights, 1 - decay)

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self.average:
            self.trained = [weight.detach().clone() for weight in _averaged(module)]
            _overwrite(module, self.average)

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self.average:
            _overwrite(module, self.trained)
            self.trained = []

    def state_dict(self) -> dict[str, Any]:
        return {"average": self.average}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.average = state_dict["average"]


def _averaged(module: nn.Module) -> list[Tensor]:
    """Returns what an average is taken of: the parameters and the buffers of real numbers, counters left out."""
    return [*module.parameters(), *(buffer for buffer in module.buffers() if buffer.is_floating_point())]


def _overwrite(module: nn.Module, values: list[Tensor]) -> None:
    with torch.no_grad():
        torch._foreach_copy_(_averaged(module), values)


class BestWeights(pl.Callback):
    """Keeps the weights of the epoch with the lowest validation loss; stands before AveragedWeights in the list,
    so that it sees the averaged weights before they are taken out again."""

    def __init__(self) -> None:
        self.loss = float("inf")
        self.epoch = -1
        self.figures: dict[str, float] = {}
        self.weights: dict[str, Tensor] = {}

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        loss = figures["validation_loss"] if isfinite(figures["validation_loss"]) else float("inf")
        if self.epoch >= 0 and not loss < self.loss:
            return
        self.loss, self.epoch, self.figures = loss, trainer.current_epoch, figures
        gathered = trainer.strategy.lightning_module_state_dict()  # also where each process holds a part of them
        self.weights = {name.removeprefix("network."): value.cpu().clone() for name, value in gathered.items()}

    def state_dict(self) -> dict[str, Any]:
        return {"loss": self.loss, "epoch": self.epoch, "figures": self.figures, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.loss, self.epoch = state_dict["loss"], state_dict["epoch"]
        self.figures, self.weights = state_dict["figures"], state_dict["weights"]


class Journal(pl.Callback):
    """One line per epoch into a file that lives outside the outputs: what tracking streams from while training runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert isinstance(module, TaskModule)
        steps = max(len(trainer.train_dataloader or [1]), 1)
        metrics = {
            "learning_rate": float(trainer.optimizers[0].param_groups[0]["lr"]),
            "train_loss": float(module.over_processes(module.loss_sum)) / steps / trainer.world_size,
            **{name: float(value) for name, value in trainer.callback_metrics.items()},
        }
        self.rows.append({"epoch": trainer.current_epoch, "step": trainer.global_step, **metrics})
        if trainer.is_global_zero:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(_line(trainer.current_epoch, time.time(), metrics))

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Takes back the lines of epochs that come after the checkpoint: they are run, and written, once more."""
        if not trainer.is_global_zero:
            return
        known = _whole_lines(self.path)
        text = "".join(
            known.get(int(row["epoch"])) or _line(int(row["epoch"]), time.time(), _metrics(row)) for row in self.rows
        )
        write_whole(self.path, text.encode())

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])


def _line(epoch: int, when: float, metrics: dict[str, float]) -> str:
    return json.dumps({"epoch": epoch, "time": when, "metrics": metrics}) + "\n"


def _metrics(row: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in row.items() if name not in ("epoch", "step")}


def _whole_lines(journal: Path) -> dict[int, str]:
    """The lines of a journal by their epochs; one that was cut short is left out."""
    lines = {}
    for line in journal.read_text(encoding="utf-8").split("\n")[:-1] if journal.exists() else []:
        try:
            lines[int(json.loads(line)["epoch"])] = line + "\n"
        except (ValueError, KeyError, TypeError):
            continue
    return lines


class Pruning(pl.Callback):
    """Ends a trial as soon as `hopeless` says so of (epoch, lowest validation loss so far)."""

    def __init__(self, hopeless: Callable[[int, float], bool]) -> None:
        self.hopeless = hopeless
        self.lowest = float("inf")
        self.pruned = False

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.lowest = min(self.lowest, float(trainer.callback_metrics["validation_loss"]))
        if self.hopeless(trainer.current_epoch, self.lowest):
            self.pruned = trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        return {"lowest": self.lowest}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.lowest = state_dict["lowest"]
