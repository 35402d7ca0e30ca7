"""The training loop: images a second of ours, of a bare PyTorch loop, and of a plain Lightning script."""

from __future__ import annotations

import tempfile
from statistics import median
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.clothes import load_clothes
from benchmarks.plain_loop import plain_lightning
from benchmarks.relay import Settings, Turns, TurnsCallback, relay
from benchmarks.table import Figure, ratio
from pipeline.data.batches import Batches, EpochOrder
from pipeline.params import load
from pipeline.tasks import load_task
from pipeline.tasks.network import build_network
from pipeline.tasks.task import Task
from pipeline.training import fit
from pipeline.training.callbacks import BestWeights, Journal, Pruning
from pipeline.training.module import VALIDATION_BATCH, TaskModule
from pipeline.training.optimisation import optimisation_of

BATCH = 256
PARAMETERS: dict[str, Any] = {
    "architecture": "resnet", "width": 16, "depth": 3, "kernel_size": 3, "dropout": 0.0,
    "shift": 0, "flip": False, "label_smoothing": 0.0,
    "learning_rate": 0.005, "weight_decay": 0.01, "warmup": 0.1, "gradient_clip": 0.0, "ema_decay": 0.0,
}  # fmt: skip
TRAINER: dict[str, Any] = {
    "accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto", "precision": "auto",
}  # fmt: skip


def measure(quick: bool) -> list[Figure]:
    """Epochs of the three in turn; network, pictures, schedule, steps and number of threads are the same for all."""
    settings = {"train": 20_480, "validation": 5_000, "epochs": 7, "threads": load().threads}
    if quick:
        settings |= {"train": 512, "validation": 100, "epochs": 1}
    names = {"bare": bare_loop, "ours": our_loop, "plain": plain_lightning}
    found = relay(names, settings)
    speed = {name: settings["train"] / median(seconds) for name, (seconds, _) in found.items()}
    seconds = {name: values for name, (values, _) in found.items()}
    against = {name: ratio(seconds[name], seconds["ours"]) for name in ("bare", "plain")}
    rounds = ", ".join(f"{plain / ours:.2f}" for ours, plain in zip(seconds["ours"], seconds["plain"], strict=True))
    accuracy = " and ".join(f"{found[name][1]:.3f}" for name in ("ours", "plain"))
    data = "Fashion-MNIST" if _data(settings).real else "SYNTHETIC pictures (no files of Fashion-MNIST)"
    units = fit.precision_of(TRAINER, pays=True) == "bf16-mixed"
    said = ", ".join(f"{name} {speed[name]:.0f}" for name in names)
    return [
        Figure(f"loop: {data}, {settings['threads']} thread(s) each; images/s: {said}", ""),
        Figure("loop: speed of ours ÷ bare PyTorch in the same precision", against["bare"], "≥ 0.95"),
        Figure("loop: speed of ours ÷ plain Lightning in fp32", against["plain"], "≥ 2" if units else ""),
        Figure(f"      epoch by epoch: {rounds}", ""),
        Figure(f"loop: validation accuracy, ours and plain, {settings['epochs']} epochs", accuracy),
    ]


def bare_loop(turns: Turns, settings: Settings) -> float:
    """What PyTorch can do: tensors in memory, batches by index, the precision and layout that `auto` stands for."""
    data = _data(settings)
    task, optimisation = load_task("image_classification", {}), optimisation_of(PARAMETERS)
    network = _network(task, data.card)
    optimizer = torch.optim.AdamW(network.parameters(), lr=optimisation.learning_rate, fused=True)
    steps = settings["epochs"] * -(-settings["train"] // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: optimisation.factor(step, steps))
    half = fit.precision_of(TRAINER, pays=True) == "bf16-mixed"
    images, labels = data.train["images"], data.train["labels"]
    accuracy = 0.0
    for _ in range(settings["epochs"]):
        network.train()
        turns.start()
        for index in torch.randperm(len(images)).split(BATCH):
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                logits = network(images.index_select(0, index))
                loss = functional.cross_entropy(logits.float(), labels.index_select(0, index))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        turns.stop()
        with torch.inference_mode():
            network.eval()
            found = torch.cat([network(part).argmax(1) for part in data.validation["images"].split(512)])
            accuracy = float((found == data.validation["labels"]).float().mean())
        turns.yield_turn()
    return accuracy


def our_loop(turns: Turns, settings: Settings) -> float:
    """The parts of `fit`, put together as it does, with a stopwatch."""
    data, task, optimisation = _data(settings), load_task("image_classification", {}), optimisation_of(PARAMETERS)
    fit.prepare_process(settings["threads"])
    network = _network(task, data.card)
    train = Batches(data.train, BATCH, EpochOrder(len(data.train["labels"]), 0))
    with tempfile.TemporaryDirectory() as work:
        job = fit.Job(
            name="loop", work=work, prepared="", task="image_classification", settings={}, family="cnn",
            parameters=PARAMETERS, seed=0, batch_size=BATCH, epochs=settings["epochs"], patience=None, trainer=TRAINER,
            threads=settings["threads"], limits={}, checkpoint_steps=1_000_000,
        )  # fmt: skip
        watched = [BestWeights(), Journal(job.journal), Pruning(lambda epoch, lowest: False), TurnsCallback(turns)]
        trainer = fit.build_trainer(job, True, optimisation.gradient_clip, watched)
        module = TaskModule(task, network, data.card, optimisation, 0, settings["epochs"] * len(train))
        trainer.fit(module, train, Batches(data.validation, VALIDATION_BATCH))
        return float(trainer.callback_metrics["validation_accuracy"])


def _network(task: Task, card: dict[str, Any]) -> nn.Module:
    """The same weights for both, as the pipeline lays them out for a grid."""
    torch.manual_seed(0)
    network = build_network(task, "cnn", card, PARAMETERS)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _data(settings: Settings) -> Any:
    return load_clothes(settings["train"], settings["validation"])
