"""A difference that takes no time: for tests of what surrounds all of them.

Every training leaves a line in the file that RIGGED_LOG names; the one that RIGGED_DEATH names kills its process.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.differences.optimise import generator, train
from pipeline.differences.paired import Arm, Common, Measured, best_of
from pipeline.differences.result import Result, control
from pipeline.differences.verdicts import Effect

CLAIM = "Nets that see noise learn it."


class Settings(Common):
    margin: float


def arms(settings: Settings) -> dict[str, Arm]:
    log = os.environ["RIGGED_LOG"]  # handed on: workers may be forked off a server that was started before it was set
    small, large = {"features": 3, "log": log}, {"features": 5, "log": log}
    return {"cnn": Arm(small), "rnn": Arm(large), "rnn, as it is": Arm(large, fixed=True)}


def measure(arm: Mapping[str, Any], seed: int, rate: float, settings: Settings, counts: bool) -> dict[str, Any]:
    piece = f"{arm['features']}-{rate:g}-{seed}"
    with Path(arm["log"]).open("a", encoding="utf-8") as log:
        log.write(f"{piece}\n")
    if os.environ.get("RIGGED_DEATH") == piece:
        os.kill(os.getpid(), signal.SIGKILL)
    draw = generator(seed, "train")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Linear(arm["features"], 1)
    if rate:
        train(
            network, lambda: torch.randn(settings.batch, arm["features"], generator=draw),
            lambda net, batch: (net(batch) - batch.mean(1, keepdim=True)).square().mean(),
            steps=settings.steps, rate=rate,
        )  # fmt: skip
    return {"validation": -float(network.weight.detach().square().sum())}


def judge(measured: Measured, settings: Settings) -> Result:
    best = best_of(measured, ["cnn", "rnn"])
    effect = Effect("lead of rnn", "points", measured.minus("rnn", "cnn", "validation"), settings.margin)
    minor = Effect("lead of training", "points", measured.minus("rnn", "rnn, as it is", "validation"))
    return Result(
        effect.verdict, {"the main one": effect, "another": minor}, f"{best} is ahead.", "Take either.",
        controls={"nothing": control(0.0, "0", True)},
    )  # fmt: skip


def draw(result: Mapping[str, Any]) -> Any:
    from pipeline.differences.drawing import effects, figure

    drawn = figure(3, 2)
    effects(drawn.add_subplot(), result["effects"])
    return drawn
