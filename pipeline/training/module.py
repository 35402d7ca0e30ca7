"""The LightningModule of every task, the loaders that feed it and the callbacks that watch it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from torch import Tensor, nn
from torch.optim import Optimizer

from pipeline.data.batches import Batches, EpochOrder
from pipeline.tasks.task import Batch, Card, Task
from pipeline.training.optimisation import Optimisation

VALIDATION_BATCH = 512
ShardedStrategy = (FSDPStrategy, ModelParallelStrategy, DeepSpeedStrategy)


class Fitting(pl.LightningModule):
    """Trains a network by its task's loss; random numbers depend on (seed, step) alone."""

    def __init__(
        self, task: Task, network: nn.Module, card: Card, optimisation: Optimisation, seed: int, steps: int
    ) -> None:
        super().__init__()
        self.task, self.network, self.card = task, network, card
        self.optimisation, self.seed, self.steps = optimisation, seed, steps
        self.weights: list[nn.Parameter] = []  # listed once: to walk through the modules in every step takes time
        self.loss_sum = torch.zeros(())  # of the running epoch; a tensor, because reading it would wait for the device
        self.validation: list[Tensor] = []  # (3,) loss sum, score sum and count, a batch each

    def configure_optimizers(self) -> Any:
        chosen = self.optimisation
        decayed = [weight for weight in self.network.parameters() if weight.ndim > 1]
        others = [weight for weight in self.network.parameters() if weight.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": chosen.weight_decay}, {"params": others, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=chosen.learning_rate, fused=self.fused)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: chosen.factor(step, self.steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @property
    def fused(self) -> bool:
        """Whether AdamW updates all weights in one operation: not with a gradient scaler or with sharded weights."""
        return self.trainer.precision != "16-mixed" and not isinstance(self.trainer.strategy, ShardedStrategy)

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Lightning refuses to clip for a fused optimizer under mixed precision, although bf16 scales no gradients."""
        if self.fused and gradient_clip_val and not gradient_clip_algorithm:
            nn.utils.clip_grad_norm_(self.weights, gradient_clip_val)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_train_start(self) -> None:
        self.weights = list(self.network.parameters())

    def on_train_epoch_start(self) -> None:
        self.loss_sum = torch.zeros((), device=self.device)

    def on_train_batch_start(self, batch: Batch, batch_index: int) -> None:
        seed_step(((self.seed + 1) << 32) + (self.global_step << 8) + self.global_rank, self.device)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        batch = self.task.augment(self.network, batch)
        loss = self.task.loss(self.network, self.task.output(self.network, batch), batch)
        self.loss_sum += loss.detach()
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        output = self.task.output(self.network, batch)
        count = len(output)
        precise = torch.float32 if self.device.type == "mps" else torch.float64  # Apple's GPUs have no float64
        loss = self.task.loss(self.network, output, batch).to(precise) * count
        scores = self.task.scores(output, batch, self.card).to(precise).sum()
        self.validation.append(torch.stack([loss, scores, torch.full_like(loss, count)]))

    def on_validation_epoch_end(self) -> None:
        total = self.over_processes(torch.stack(self.validation).sum(0))
        self.validation.clear()
        loss, score = (total[:2] / total[2]).tolist()
        self.log_dict({"validation_loss": loss, f"validation_{self.task.score}": score})

    def over_processes(self, values: Tensor) -> Tensor:
        """The sum of a tensor over all processes of a distributed training."""
        summed = self.trainer.strategy.reduce(values, reduce_op="sum")
        assert isinstance(summed, Tensor)
        return summed


class Loaders(pl.LightningDataModule):
    """The loaders of a fit: Lightning asks for them when the process knows its rank."""

    def __init__(self, tables: Mapping[str, Batch], batch_size: int, seed: int) -> None:
        super().__init__()
        self.tables, self.batch_size, self.seed = tables, batch_size, seed

    def batches(self, split: str, trainer: pl.Trainer) -> Batches:
        examples, rank, world = self.tables[split], trainer.global_rank, trainer.world_size
        if split == "train":
            order = EpochOrder(len(next(iter(examples.values()))), self.seed)
            return Batches(examples, self.batch_size, order, rank, world)
        return Batches(examples, VALIDATION_BATCH * world, None, rank, world)

    def train_dataloader(self) -> Any:
        assert self.trainer is not None
        return self.batches("train", self.trainer)

    def val_dataloader(self) -> Any:
        assert self.trainer is not None
        return self.batches("validation", self.trainer)


def seed_step(seed: int, device: torch.device) -> None:
    """`torch.manual_seed` for the device in use alone.

    On a machine without other devices that function notes the seed, with the calling stack, for each of them: 1 ms a
    call, and a list that only grows.
    """
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)


class AveragedWeights(pl.Callback):
    """An exponential moving average of the weights, in their place while validation runs (Polyak and Juditsky 1992)."""

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.weights: list[Tensor] = []
        self.average: list[Tensor] = []
        self.trained: list[Tensor] = []

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        if not self.average:
            self.weights = list(module.parameters())
            self.average = [weight.detach().clone() for weight in self.weights]
        decay = min(self.decay, (1 + trainer.global_step) / (10 + trainer.global_step))  # short memory at the start
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.weights, 1 - decay)

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self.average:
            self.trained = [weight.detach().clone() for weight in module.parameters()]
            _overwrite(module, self.average)

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self.average:
            _overwrite(module, self.trained)
            self.trained = []


def _overwrite(module: nn.Module, values: list[Tensor]) -> None:
    with torch.no_grad():
        torch._foreach_copy_(list(module.parameters()), values)


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
        network = module.network
        assert isinstance(network, nn.Module)
        self.weights = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


class Journal(pl.Callback):
    """One line per epoch into a file that lives outside the outputs: what tracking streams from while training runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert isinstance(module, Fitting)
        steps = max(len(trainer.train_dataloader or [1]), 1)
        metrics = {
            "learning_rate": float(trainer.optimizers[0].param_groups[0]["lr"]),
            "train_loss": float(module.over_processes(module.loss_sum)) / steps / trainer.world_size,
            **{name: float(value) for name, value in trainer.callback_metrics.items()},
        }
        self.rows.append({"epoch": trainer.current_epoch, "step": trainer.global_step, **metrics})
        if trainer.is_global_zero:
            line = {"epoch": trainer.current_epoch, "time": time.time(), "metrics": metrics}
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")


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
