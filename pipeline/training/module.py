"""The LightningModule of every task and the loaders that feed it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from torch import Tensor, nn
from torch.optim import Optimizer

from pipeline.data.batches import Batches, EpochOrder
from pipeline.data.tables import Batch, Card
from pipeline.tasks.task import Task
from pipeline.training.optimisation import Optimisation

VALIDATION_BATCH = 512  # examples, at most
VALIDATION_NUMBERS = 1 << 23  # of one tensor in a batch, at most: what a network makes of large pictures fills a memory
ShardedStrategy = (FSDPStrategy, ModelParallelStrategy, DeepSpeedStrategy)


class TaskModule(pl.LightningModule):
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
        undecayed = [weight for weight in self.network.parameters() if weight.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": chosen.weight_decay}, {"params": undecayed, "weight_decay": 0.0}]
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
        self.loss_sum = self.loss_sum.to(self.device)

    def on_train_epoch_start(self) -> None:
        self.loss_sum = torch.zeros((), device=self.device)

    def on_train_batch_start(self, batch: Batch, batch_index: int) -> None:
        batches = self.trainer.fit_loop.total_batch_idx  # steps, but for gradients that are gathered over several
        seed_step(((self.seed + 1) << 32) + (batches << 8) + self.global_rank, self.device)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        batch = self.task.augment(self.network, batch)
        loss = self.task.loss(self.network, self.task.output(self.network, batch), batch)
        self.loss_sum += loss.detach()
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        count = len(next(iter(batch.values())))
        precise = torch.float32 if self.device.type == "mps" else torch.float64  # Apple's GPUs have no float64
        if not count:  # of a last batch with fewer examples than processes
            self.validation.append(torch.zeros(3, dtype=precise, device=self.device))
            return
        output = self.task.output(self.network, batch)
        loss = self.task.loss(self.network, output, batch).to(precise) * count
        scores = self.task.scores(output, batch, self.card).to(precise).sum()
        self.validation.append(torch.stack([loss, scores, torch.full_like(loss, count)]))

    def on_validation_epoch_end(self) -> None:
        total = self.over_processes(torch.stack(self.validation).sum(0))
        self.validation.clear()
        loss, score = (total[:2] / total[2]).tolist()
        self.log_dict({"validation_loss": loss, f"validation_{self.task.progress}": score})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The running mean of the epoch's loss, of every process: their sum would be rounded in another order."""
        sums = [self.loss_sum]
        if self.trainer.world_size > 1:
            sums = [torch.empty_like(self.loss_sum) for _ in range(self.trainer.world_size)]
            torch.distributed.all_gather(sums, self.loss_sum)
        checkpoint["loss_sums"] = torch.stack(sums).cpu()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.loss_sum = checkpoint["loss_sums"][self.global_rank].clone()

    def over_processes(self, values: Tensor) -> Tensor:
        """The sum of a tensor over all processes of a distributed training."""
        summed = self.trainer.strategy.reduce(values, reduce_op="sum")
        assert isinstance(summed, Tensor)
        return summed


class DataModule(pl.LightningDataModule):
    """The loaders of a fit: Lightning asks for them when the process knows its rank."""

    def __init__(self, tables: Mapping[str, Batch], batch_size: int, seed: int, lengths: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.tables, self.batch_size, self.seed, self.lengths = tables, batch_size, seed, lengths

    def batches(self, split: str, trainer: pl.Trainer) -> Batches:
        examples, rank, world = self.tables[split], trainer.global_rank, trainer.world_size
        if split == "train":
            lengths = torch.stack([examples[name] for name in self.lengths], 1) if self.lengths else None
            order = EpochOrder(len(next(iter(examples.values()))), self.seed, lengths, self.batch_size)
            return Batches(examples, self.batch_size, order, rank, world)
        return Batches(examples, validation_batch(examples) * world, None, rank, world)

    def train_dataloader(self) -> Any:
        assert self.trainer is not None
        return self.batches("train", self.trainer)

    def val_dataloader(self) -> Any:
        assert self.trainer is not None
        return self.batches("validation", self.trainer)


def validation_batch(examples: Batch) -> int:
    """Returns how many examples one process looks at together."""
    largest = max(tensor.shape[1:].numel() for tensor in examples.values())
    return max(1, min(VALIDATION_BATCH, VALIDATION_NUMBERS // max(largest, 1)))


def seed_step(seed: int, device: torch.device) -> None:
    """`torch.manual_seed` for the device in use alone.

    On a machine without other devices that function notes the seed, with the calling stack, for each of them: 1 ms a
    call, and a list that only grows.
    """
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)
