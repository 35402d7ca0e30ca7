"""`python -m benchmarks.plain_search digits-cnn`: tune and train as a script after the documentations would do it.

The networks, the loss and the moving of the pictures are ours; the rest is Optuna, Lightning with DataLoader and
MLFlowLogger as their pages show them, one run a trial. It repeats the trials of our search and the epochs of our
training, which have to stand in the current folder.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import MLFlowLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from pipeline.data.tables import read_card, read_table
from pipeline.params import load
from pipeline.search.search import searched
from pipeline.tasks import load_task
from pipeline.tasks.network import build_network
from pipeline.training.optimisation import optimisation_of

PREPARED = Path("data/prepared/digits")


class Classifier(pl.LightningModule):
    def __init__(self, network: nn.Module, parameters: dict[str, Any], steps: int) -> None:
        super().__init__()
        self.network, self.parameters_chosen, self.steps = network, parameters, steps
        self.task, self.card = load_task("image_classification", {}), read_card(PREPARED)

    def training_step(self, batch: list[Tensor], batch_index: int) -> Tensor:
        moved = self.task.augment(self.network, {"images": batch[0], "labels": batch[1]})
        loss = self.task.loss(self.network, self.task.output(self.network, moved), moved)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: list[Tensor], batch_index: int) -> None:
        logits = self.network(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(logits, batch[1]))
        self.log("val_accuracy", (logits.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self) -> Any:
        chosen = optimisation_of(self.parameters_chosen)
        optimizer = torch.optim.AdamW(self.parameters(), lr=chosen.learning_rate, weight_decay=chosen.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: chosen.factor(step, self.steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def train(family: str, parameters: dict[str, Any], name: str, epochs: int, seed: int, final: bool) -> float:
    """The validation loss of the last epoch."""
    pl.seed_everything(seed, verbose=False)
    tables = [read_table(PREPARED, split) for split in ("train", "validation")]
    sets = [TensorDataset(table["images"], table["labels"]) for table in tables]
    loaders = [DataLoader(sets[0], batch_size=64, shuffle=True), DataLoader(sets[1], batch_size=512)]
    network = build_network(load_task("image_classification", {}), family, read_card(PREPARED), parameters)
    logger = MLFlowLogger("plain", run_name=name, tracking_uri=f"sqlite:///{Path('plain.db').resolve()}")
    logger.log_hyperparams(parameters)
    trainer = pl.Trainer(
        max_epochs=epochs,
        logger=logger,
        gradient_clip_val=parameters["gradient_clip"] or None,
        callbacks=[ModelCheckpoint("checkpoints", monitor="val_loss")] if final else None,
        enable_checkpointing=final,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=10,  # an epoch has fewer steps than the 50 that are usual, of which Lightning warns
    )
    trainer.fit(Classifier(network, parameters, epochs * len(loaders[0])), loaders[0], loaders[1])
    return float(trainer.callback_metrics["val_loss"])


def main(candidate: str) -> None:
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    params = load()
    chosen = params.candidates[candidate]
    space = searched(chosen.parameters)
    fixed = {name: value for name, value in chosen.parameters.items() if name not in space}
    trials = pd.read_csv(f"search/digits/{candidate}/trials.csv")
    best = json.loads(Path(f"search/digits/{candidate}/best.json").read_text(encoding="utf-8"))
    study = optuna.create_study(direction="minimize")
    for number in range(len(trials)):
        study.enqueue_trial({name: trials[name].tolist()[number] for name in space})

    def objective(trial: optuna.Trial) -> float:
        suggested = {name: trial._suggest(name, distribution) for name, distribution in space.items()}
        epochs = int(trials["epochs"][trial.number])
        return train(chosen.family, fixed | suggested, f"trial {trial.number}", epochs, params.seed, final=False)

    study.optimize(objective, n_trials=len(trials))
    history = pd.read_csv(f"models/digits/{candidate}/history.csv")
    for repeat, rows in history.groupby("repeat"):
        seed = int(rows["seed"].iloc[0])
        train(chosen.family, best["parameters"], f"final {repeat}", len(rows), seed, final=True)


if __name__ == "__main__":
    main(sys.argv[1])
