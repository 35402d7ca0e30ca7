"""The one way in which all networks of the ten differences are trained: AdamW, warm-up, cosine, clipped gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from pipeline.files.digests import content_key
from pipeline.training.optimisation import Optimisation

Network = TypeVar("Network", bound=nn.Module)
Batch = TypeVar("Batch")  # whatever `batches` draws and `loss` takes


def generator(seed: int, purpose: str) -> torch.Generator:
    """Starts a random stream of its own for every purpose of a seed, such as "train": networks share it."""
    return torch.Generator().manual_seed(int(content_key(seed=seed, purpose=purpose)[:15], 16))


def train(
    network: Network,
    batches: Callable[[], Batch],
    loss: Callable[[Network, Batch], Tensor],
    *,
    steps: int,
    rate: float,
    watch: Mapping[int, Callable[[], None]] | None = None,
) -> None:
    """Trains in place; leaves the network in evaluation mode.

    `batches` draws the next batch; `loss` is the mean loss of it, a scalar. `watch` is called before the step of its
    number (0 is before the first), with the network in evaluation mode.
    """
    plan = Optimisation(learning_rate=rate, weight_decay=0.0, warmup=0.1, gradient_clip=1.0, ema_decay=0.0)
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=plan.weight_decay)
    for step in range(steps):
        if watch and step in watch:
            network.eval()
            watch[step]()
        network.train()
        for group in optimiser.param_groups:
            group["lr"] = rate * plan.factor(step, steps)
        optimiser.zero_grad()
        loss(network, batches()).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), plan.gradient_clip)
        optimiser.step()
    network.eval()
    if watch and steps in watch:
        watch[steps]()
