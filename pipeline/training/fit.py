"""One Trainer set-up for tuning and training alike.

Lightning takes seconds to import, so only what trains does: a stage that hands its jobs to a pool never loads it.
"""

from __future__ import annotations

import json
import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pipeline.data.tables import read_card, read_table
from pipeline.data.threads import use_threads
from pipeline.files.atomic import write_whole
from pipeline.files.lock import alone
from pipeline.models.norms import StepNorm
from pipeline.tasks import load_task
from pipeline.tasks.network import build_network, start_from
from pipeline.training.launch import is_first_process
from pipeline.training.optimisation import optimisation_of

if TYPE_CHECKING:
    import pytorch_lightning as pl

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One fit: everything a process needs to do it, and nothing about who asked for it."""

    name: str  # of the files that the fit leaves in `work`: trial-003, repeat-0
    work: str
    prepared: str
    task: str
    settings: Mapping[str, Any]
    family: str
    parameters: Mapping[str, Any]
    seed: int
    batch_size: int  # global
    epochs: int
    patience: int | None
    trainer: Mapping[str, Any]
    threads: int
    limits: Mapping[int, float]  # epoch → the highest validation loss with which a trial goes on
    checkpoint_steps: int  # optimiser steps between two checkpoints
    weights_file: Mapping[str, str] | None = None  # published weights to start from: `file` and `sha256`

    @property
    def outcome(self) -> Path:
        return Path(self.work, f"{self.name}.json")

    @property
    def weights(self) -> Path:
        return Path(self.work, f"{self.name}.safetensors")

    @property
    def journal(self) -> Path:
        return Path(self.work, f"{self.name}.jsonl")

    def run(self) -> Outcome:
        """See `fit`."""
        return fit(self)


@dataclass(frozen=True)
class Outcome:
    """Holds what a fit found: the figures of its best epoch and one row per epoch."""

    figures: dict[str, float]
    best_epoch: int
    pruned: bool
    history: list[dict[str, float]]


def fit(job: Job) -> Outcome:
    """Trains until the last epoch, until patience ends or until the trial is pruned; keeps the best weights.

    A fit that was completed before is read from its files; one that was killed goes on from its last checkpoint. Raises
    Stopped where the process was asked to end.
    """
    outcome = completed(job)
    if outcome is not None:
        return outcome
    from pipeline.training.resume import discard

    prepare_process(job.threads)
    with alone(Path(job.work), job.name) if is_first_process() else nullcontext():
        outcome = completed(job)  # by the process that was waited for
        if outcome is None:
            outcome, weights, writes = _fit(job)
            if writes:
                _keep(job, outcome, weights)
                discard(Path(job.work), job.name)
        return outcome


def completed(job: Job) -> Outcome | None:
    """Returns what a fit found that has ended; None where it has not, or where its files are damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        outcome = Outcome(**json.loads(job.outcome.read_text(encoding="utf-8")))
        with safe_open(job.weights, framework="pt"):
            return outcome
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, SafetensorError) as error:
        logger.warning("%s: what %s has left is damaged (%s); it runs again", job.work, job.name, error)
        return None


def prepare_process(threads: int) -> None:
    """Fixes the number of threads, on which results depend, and quietens what Lightning says about each Trainer."""
    use_threads(threads)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")


def precision_of(trainer: Mapping[str, Any], pays: bool) -> str:
    """The precision that `auto` stands for: bf16-mixed where it pays for the task and the device has units for it."""
    wanted = str(trainer["precision"])
    if wanted != "auto":
        return wanted
    return "bf16-mixed" if pays and _has_bf16(str(trainer["accelerator"])) else "32-true"


def _has_bf16(accelerator: str) -> bool:
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if accelerator in ("auto", "cpu"):
        return any(torch.cpu.get_capabilities().get(unit) for unit in ("avx512_bf16", "amx_bf16"))
    return False


def _fit(job: Job) -> tuple[Outcome, Mapping[str, torch.Tensor], bool]:
    from pytorch_lightning.callbacks import EarlyStopping

    from pipeline.training.callbacks import AveragedWeights, BestWeights, Journal, Pruning
    from pipeline.training.module import DataModule, TaskModule
    from pipeline.training.resume import Checkpoints, newest

    task, card = load_task(job.task, job.settings), read_card(Path(job.prepared))
    tables = {split: task.examples(read_table(Path(job.prepared), split), card) for split in ("train", "validation")}
    torch.manual_seed(job.seed)
    network = build_network(task, job.family, card, job.parameters)
    if job.weights_file:
        start_from(network, job.weights_file)
    if task.dimensions == 2:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimisation = optimisation_of(job.parameters)
    if job.trainer.get("sync_batchnorm") and any(isinstance(module, StepNorm) for module in network.modules()):
        logger.warning("%s: sync_batchnorm does not reach norms over the steps of sequences", job.name)
    best, journal = BestWeights(), Journal(job.journal)
    pruning = Pruning(lambda epoch, lowest: lowest > job.limits.get(epoch, float("inf")))
    callbacks: list[pl.Callback] = [best, journal, pruning]
    if job.patience:
        callbacks.append(EarlyStopping("validation_loss", patience=job.patience, check_finite=True))
    if optimisation.ema_decay:
        callbacks.append(AveragedWeights(optimisation.ema_decay))
    callbacks.append(Checkpoints(Path(job.work), job.name, job.checkpoint_steps))  # last: it saves what the others know
    trainer = build_trainer(job, task.bf16_pays, optimisation.gradient_clip, callbacks)
    data = DataModule(tables, job.batch_size, job.seed, task.lengths)
    steps = job.epochs * len(data.batches("train", trainer))
    module = TaskModule(task, network, card, optimisation, job.seed, steps)
    with _losing_processes(job.name):
        trainer.fit(module, datamodule=data, ckpt_path=newest(Path(job.work), job.name), weights_only=True)
    if best.epoch < 0:
        raise ValueError(f"{job.name}: training ended before the first validation")
    outcome = Outcome(best.figures, best.epoch, pruning.pruned, journal.rows)
    return outcome, best.weights, trainer.is_global_zero


@contextmanager
def _losing_processes(name: str) -> Iterator[None]:
    """Turns the many ways in which the others of a distributed training are missed into one sentence."""
    try:
        yield
    except RuntimeError as error:
        if not torch.distributed.is_initialized() or not re.search("gloo|nccl|[Cc]onnection", str(error)):
            raise
        logger.debug("what the others were missed by", exc_info=True)
        raise ValueError(
            f"{name}: a process of this training was lost; the next `dvc repro` goes on from the last checkpoint"
        ) from None


def build_trainer(job: Job, bf16_pays: bool, gradient_clip: float, callbacks: list[pl.Callback]) -> pl.Trainer:
    """`trainer` of params.yaml as a Trainer that writes nothing by itself."""
    import pytorch_lightning as pl

    settings = {**job.trainer, "precision": precision_of(job.trainer, bf16_pays)}
    return pl.Trainer(
        **settings,
        max_epochs=job.epochs,
        gradient_clip_val=gradient_clip or None,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=job.work,
    )


def _keep(job: Job, outcome: Outcome, weights: Mapping[str, torch.Tensor]) -> None:
    """Weights first, then the outcome that says they are complete; each under its name only when it is whole."""
    from safetensors.torch import save

    write_whole(job.weights, save({name: value.contiguous() for name, value in weights.items()}))
    write_whole(job.outcome, json.dumps(outcome.__dict__).encode())  # in the order of its entries
