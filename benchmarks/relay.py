"""Runs trainings epoch by epoch in turn, each in a process of its own, so that noise hits all of them alike."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

import pytorch_lightning as pl

Settings = Mapping[str, Any]
Trainee = Callable[["Turns", Settings], float]  # trains, and returns the accuracy that it ends with


class Turns:
    """A trainee's side: it waits for its turn before an epoch and tells how long the epoch took."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.started = self.seconds = 0.0

    def start(self) -> None:
        self.connection.send("ready")
        self.connection.recv()
        self.started = time.perf_counter()

    def stop(self) -> None:
        """The training steps of the epoch are done."""
        self.seconds = time.perf_counter() - self.started

    def yield_turn(self) -> None:
        """The epoch is done, with its validation, which is not counted."""
        self.connection.send(self.seconds)


class TurnsCallback(pl.Callback):
    """The same for a training by Lightning."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.turns.start()

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            self.turns.stop()

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            self.turns.yield_turn()


def relay(trainees: Mapping[str, Trainee], settings: Settings) -> dict[str, tuple[list[float], float]]:
    """For each trainee the seconds of its epochs, settings["epochs"] of them, and its accuracy.

    The order turns round with every epoch, so that none always follows the same one.
    """
    context = multiprocessing.get_context("spawn")
    ends: dict[str, Connection] = {}
    processes = []
    for name, trainee in trainees.items():
        ends[name], other = context.Pipe()
        processes.append(context.Process(target=_train, args=(trainee, other, settings), daemon=True))
        processes[-1].start()
        other.close()  # so that a trainee that died is an EOFError here, not a wait for ever
    for end in ends.values():
        end.poll(None)  # until all are ready: no set-up shall run beside an epoch
    seconds: dict[str, list[float]] = {name: [] for name in trainees}
    for epoch in range(settings["epochs"]):
        for name in list(ends) if epoch % 2 == 0 else reversed(list(ends)):
            ends[name].recv()
            ends[name].send("go")
            seconds[name].append(ends[name].recv())
    found = {name: (seconds[name], float(end.recv())) for name, end in ends.items()}
    for process in processes:
        process.join()
    return found


def _train(trainee: Trainee, connection: Connection, settings: Settings) -> None:
    import torch

    torch.set_num_threads(settings["threads"])
    connection.send(trainee(Turns(connection), settings))
