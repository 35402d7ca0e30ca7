"""What crash safety costs: one training, in every second turn with checkpoints and journal, else without.

Both kinds of turns belong to one process. With a process for each, one was slower than the other by several per cent
for as long as it lived, where a stopwatch around checkpoints and journal found less than one.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import pytorch_lightning as pl
import torch

from benchmarks.clothes import load_clothes
from benchmarks.loop import TRAINER
from benchmarks.relay import Settings
from benchmarks.table import Figure
from pipeline.data.batches import Batches, EpochOrder
from pipeline.params import load
from pipeline.tasks import load_task
from pipeline.tasks.network import build_network
from pipeline.training import fit
from pipeline.training.callbacks import AveragedWeights, BestWeights, Journal, Pruning
from pipeline.training.module import VALIDATION_BATCH, TaskModule
from pipeline.training.optimisation import optimisation_of
from pipeline.training.resume import Checkpoints

SHARED: dict[str, Any] = {
    "dropout": 0.1, "shift": 1, "flip": False, "label_smoothing": 0.0, "learning_rate": 0.005, "weight_decay": 0.01,
    "warmup": 0.1, "gradient_clip": 1.0, "ema_decay": 0.95,
}  # fmt: skip
NETWORKS: dict[str, tuple[str, int, int, dict[str, Any]]] = {  # family, batch size, pairs of turns, parameters
    "residual CNN, batches of 256": (
        "cnn", 256, 9, {"architecture": "resnet", "width": 16, "depth": 3, "kernel_size": 3},
    ),
    "GRU sweeps, batches of 64": (  # its turns are short, and so more noise is in each
        "rnn", 64, 31, {"architecture": "gru", "hidden": 32, "layers": 1, "patch": 7, "forget_bias": 1.0},
    ),
}  # fmt: skip


def measure(quick: bool) -> list[Figure]:
    """A turn is as many epochs as hold one checkpoint, with their validations; a checkpoint every so many steps."""
    steps = 4 if quick else load().checkpoint_steps
    figures = []
    for name, (family, batch, pairs, parameters) in NETWORKS.items():
        epochs = 2 if quick else 8
        settings: dict[str, Any] = {"steps": steps, "turn": epochs, "pairs": 2 if quick else pairs, "family": family}
        settings |= {"threads": load().threads, "batch": batch, "parameters": {**SHARED, **parameters}}
        settings |= {"train": steps * batch // epochs, "validation": 500}
        turns = _trained(settings)
        extra = [100 * (on / off - 1) for on, off in zip(turns.seconds[True], turns.seconds[False], strict=True)]
        said = ", ".join(f"{value:+.1f}" for value in extra)
        step = 1000 * median(turns.seconds[False]) / steps
        figures += [
            Figure(
                f"safety: {name}, a checkpoint in {steps} steps of {step:.1f} ms: extra time in %", median(extra), "≤ 3"
            ),
            Figure(f"        turn by turn: {said}", ""),
        ]
    return figures


class Turns(pl.Callback):
    """Turns of some epochs, safe or not, and how long they took; stands last, after those that write.

    The first is left out. Of two that belong together now the one comes first and now the other: on off off on on off.
    """

    def __init__(self, epochs: int) -> None:
        self.epochs, self.number, self.started = epochs, -1, 0.0
        self.seconds: dict[bool, list[float]] = {True: [], False: []}

    @property
    def safe(self) -> bool:
        return self.number % 4 in (0, 1)

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.current_epoch % self.epochs == 0:
            self.number, self.started = self.number + 1, time.perf_counter()

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self.number and trainer.current_epoch % self.epochs == self.epochs - 1:
            self.seconds[self.safe].append(time.perf_counter() - self.started)


class SometimesCheckpoints(Checkpoints):
    """Checkpoints of the turns that are safe, one in each."""

    turns: Turns

    def on_train_batch_end(self, *arguments: Any) -> None:
        if self.turns.safe:
            super().on_train_batch_end(*arguments)

    def on_validation_batch_end(self, *arguments: Any) -> None:
        if self.turns.safe:
            super().on_validation_batch_end(*arguments)


class SometimesJournal(Journal):
    """A journal of the turns that are safe."""

    turns: Turns

    def on_validation_end(self, *arguments: Any) -> None:
        if self.turns.safe:
            super().on_validation_end(*arguments)


def _trained(settings: Settings) -> Turns:
    """The parts of `fit`, put together as it does."""
    data = load_clothes(settings["train"], settings["validation"])
    task, optimisation = load_task("image_classification", {}), optimisation_of(settings["parameters"])
    fit.prepare_process(settings["threads"])
    torch.manual_seed(0)
    network = build_network(task, settings["family"], data.card, settings["parameters"])
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    train = Batches(data.train, settings["batch"], EpochOrder(len(data.train["labels"]), 0))
    epochs, turns = (1 + 2 * settings["pairs"]) * settings["turn"], Turns(settings["turn"])
    with tempfile.TemporaryDirectory() as work:
        job = fit.Job(
            name="safety", work=work, prepared="", task="image_classification", settings={}, family=settings["family"],
            parameters=settings["parameters"], seed=0, batch_size=settings["batch"], epochs=epochs, patience=None,
            trainer=TRAINER, threads=settings["threads"], limits={}, checkpoint_steps=settings["steps"],
        )  # fmt: skip
        journal, checkpoints = (
            SometimesJournal(job.journal),
            SometimesCheckpoints(Path(work), job.name, settings["steps"]),
        )
        journal.turns = checkpoints.turns = turns
        watched = [BestWeights(), Pruning(lambda epoch, lowest: False), AveragedWeights(optimisation.ema_decay)]
        trainer = fit.build_trainer(job, True, optimisation.gradient_clip, [*watched, journal, checkpoints, turns])
        module = TaskModule(task, network, data.card, optimisation, 0, epochs * len(train))
        trainer.fit(module, train, Batches(data.validation, VALIDATION_BATCH))
        assert len(list(Path(work).glob("*.ckpt"))) == 2
        assert job.journal.read_text(encoding="utf-8").count("\n") == (1 + settings["pairs"]) * settings["turn"]
    return turns
