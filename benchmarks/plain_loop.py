"""The same training as people write it after the documentation of Lightning: nothing here comes from the pipeline."""

from __future__ import annotations

import logging
import tempfile
import warnings
from math import cos, pi
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import MLFlowLogger
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.clothes import load_clothes
from benchmarks.relay import Settings, Turns, TurnsCallback


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(after)
        self.second = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(after)
        self.shortcut = nn.Sequential()
        if before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.first_norm(self.first(x)))
        return functional.relu(self.second_norm(self.second(y)) + self.shortcut(x))


def resnet(width: int, depth: int, classes: int) -> nn.Sequential:
    """The network of the two other loops, layer by layer."""
    layers: list[nn.Module] = [nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    widths = [width * 2**level for level in range(depth)]
    for before, after in zip([width, *widths], widths, strict=False):
        layers += [nn.MaxPool2d(2, ceil_mode=True), Block(before, after)]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], classes))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network


class Classifier(pl.LightningModule):
    def __init__(self, network: nn.Module, learning_rate: float, steps: int) -> None:
        super().__init__()
        self.network, self.learning_rate, self.steps = network, learning_rate, steps

    def training_step(self, batch: list[Tensor], batch_index: int) -> Tensor:
        images, labels = batch
        loss = functional.cross_entropy(self.network(images), labels)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: list[Tensor], batch_index: int) -> None:
        images, labels = batch
        logits = self.network(images)
        accuracy = (logits.argmax(1) == labels).float().mean()
        self.log_dict({"val_loss": functional.cross_entropy(logits, labels), "val_accuracy": accuracy})

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.learning_rate, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def factor(self, step: int) -> float:
        rising = 0.1 * self.steps
        if step < rising:
            return (step + 1) / (rising + 1)
        return 0.5 * (1 + cos(pi * min((step - rising) / (self.steps - rising), 1.0)))


def plain_lightning(turns: Turns, settings: Settings) -> float:
    """fp32, TensorDataset, DataLoader, self.log in every step, MLFlowLogger on sqlite."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    data = load_clothes(settings["train"], settings["validation"])
    sets = []
    for table in (data.train, data.validation):
        images = (table["images"].float() / 255 - data.card["mean"][0]) / data.card["deviation"][0]
        sets.append(TensorDataset(images, table["labels"]))
    loaders = [DataLoader(sets[0], batch_size=256, shuffle=True), DataLoader(sets[1], batch_size=512)]
    pl.seed_everything(0, verbose=False)
    module = Classifier(resnet(16, 3, 10), 0.005, settings["epochs"] * len(loaders[0]))
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            max_epochs=settings["epochs"],
            accelerator="cpu",
            logger=MLFlowLogger("fashion-mnist", tracking_uri=f"sqlite:///{Path(folder, 'mlflow.db')}"),
            callbacks=[TurnsCallback(turns)],
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
        )
        trainer.fit(module, loaders[0], loaders[1])
        return float(trainer.callback_metrics["val_accuracy"])
