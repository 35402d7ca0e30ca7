"""What crash safety costs: the same trainings with checkpoints and journal, and without, in turn."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import pytorch_lightning as pl
import torch

from benchmarks.clothes import load_clothes
from benchmarks.loop import TRAINER
from benchmarks.relay import Settings, Trainee, Turns, relay
from benchmarks.table import Figure
from pipeline.data.batches import Batches, EpochOrder
from pipeline.params import load
from pipeline.tasks import load_task
from pipeline.tasks.network import build_network
from pipeline.training import fit
from pipeline.training.callbacks import AveragedWeights, BestWeights, Journal, Pruning
from pipeline.training.module import VALIDATION_BATCH, Fitting
from pipeline.training.optimisation import optimisation_of
from pipeline.training.resume import Checkpoints

SHARED: dict[str, Any] = {
    "dropout": 0.1, "shift": 1, "flip": False, "label_smoothing": 0.0, "learning_rate": 0.005, "weight_decay": 0.01,
    "warmup": 0.1, "gradient_clip": 1.0, "ema_decay": 0.95,
}  # fmt: skip
NETWORKS: dict[str, tuple[str, int, dict[str, Any]]] = {  # family, batch size, parameters
    "residual CNN, batches of 256": ("cnn", 256, {"architecture": "resnet", "width": 16, "depth": 3, "kernel_size": 3}),
    "GRU sweeps, batches of 64": (
        "rnn", 64, {"architecture": "gru", "hidden": 32, "layers": 1, "patch": 7, "forget_bias": 1.0},
    ),
}  # fmt: skip


def measure(quick: bool) -> list[Figure]:
    """A turn is as many epochs as hold one checkpoint, with their validations; a checkpoint every so many steps."""
    steps = 4 if quick else load().checkpoint_steps
    figures = []
    for name, (family, batch, parameters) in NETWORKS.items():
        epochs = 2 if quick else 8
        settings: dict[str, Any] = {
            "threads": load().threads,
            "steps": steps,
            "turn": epochs,
            "epochs": 2 if quick else 9,
        }
        settings |= {"family": family, "batch": batch, "parameters": {**SHARED, **parameters}}
        settings |= {"train": steps * batch // epochs, "validation": 500}
        trainees: Mapping[str, Trainee] = {"on": partial(_trained, True), "off": partial(_trained, False)}
        seconds = {kind: values for kind, (values, _) in relay(trainees, settings).items()}
        extra = [100 * (on / off - 1) for on, off in zip(seconds["on"], seconds["off"], strict=True)]
        said = ", ".join(f"{value:+.1f}" for value in extra)
        step = 1000 * median(seconds["off"]) / steps
        figures += [
            Figure(
                f"safety: {name}, a checkpoint in {steps} steps of {step:.1f} ms: extra time in %", median(extra), "≤ 3"
            ),
            Figure(f"        turn by turn: {said}", ""),
        ]
    return figures


class WholeTurns(pl.Callback):
    """A turn lasts for some epochs and counts all that happens in them; stands last, after those that write."""

    def __init__(self, turns: Turns, epochs: int) -> None:
        self.turns, self.epochs = turns, epochs

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.current_epoch % self.epochs == 0:
            self.turns.start()

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.current_epoch % self.epochs == self.epochs - 1:
            self.turns.stop()
            self.turns.yield_turn()


def _trained(safe: bool, turns: Turns, settings: Settings) -> float:
    """The parts of `fit`, with or without what makes it safe."""
    data = load_clothes(settings["train"], settings["validation"])
    task, optimisation = load_task("image_classification", {}), optimisation_of(settings["parameters"])
    fit.prepare_process(settings["threads"])
    torch.manual_seed(0)
    network = build_network(task, settings["family"], data.card, settings["parameters"])
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    train = Batches(data.train, settings["batch"], EpochOrder(len(data.train["labels"]), 0))
    epochs = settings["epochs"] * settings["turn"]
    with tempfile.TemporaryDirectory() as work:
        job = fit.Job(
            name="safety", work=work, prepared="", task="image_classification", settings={}, family=settings["family"],
            parameters=settings["parameters"], seed=0, batch_size=settings["batch"], epochs=epochs, patience=None,
            trainer=TRAINER, threads=settings["threads"], limits={}, checkpoint_steps=settings["steps"],
        )  # fmt: skip
        watched: list[pl.Callback] = [BestWeights(), Pruning(lambda epoch, lowest: False)]
        watched += [AveragedWeights(optimisation.ema_decay)]
        if safe:
            watched += [Journal(job.journal), Checkpoints(Path(work), job.name, job.checkpoint_steps)]
        trainer = fit.build_trainer(job, 2, optimisation.gradient_clip, [*watched, WholeTurns(turns, settings["turn"])])
        module = Fitting(task, network, data.card, optimisation, 0, epochs * len(train))
        trainer.fit(module, train, Batches(data.validation, VALIDATION_BATCH))
        assert bool(list(Path(work).glob("*.ckpt"))) == safe
        return float(trainer.callback_metrics["validation_accuracy"])
