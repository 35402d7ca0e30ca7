"""Survival of the gradient of a last answer on its way back to earlier states of a recurrent network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pipeline.differences.networks import Reader


def survival(network: Reader, x: Tensor, lags: Sequence[int]) -> list[float]:
    """Computes g(d) of a recurrent network of one layer for rising d > 0, on sequences x (B, C, T)."""
    states, answer = unrolled(network, x, [0, *lags])
    parts = [part for state in states for part in state]
    gradients = torch.autograd.grad((answer[:, 1] - answer[:, 0]).sum(), parts, allow_unused=True)
    squares = [0.0 if gradient is None else float(gradient.square().sum()) for gradient in gradients]
    each = len(states[0])
    norms = [sum(squares[place : place + each]) ** 0.5 for place in range(0, len(squares), each)]
    return [norm / norms[0] if norms[0] > 0 else 0.0 for norm in norms[1:]]


def unrolled(network: Reader, x: Tensor, lags: Sequence[int]) -> tuple[list[tuple[Tensor, ...]], Tensor]:
    """Returns the states `lags` (0 first, rising) steps before the last one, in one graph, and the answer (B, K)."""
    scan: Any = network.encoder.scans[0]
    steps, begin, state = x.transpose(1, 2), 0, None
    states: list[tuple[Tensor, ...]] = []
    for lag in reversed(lags):
        end = x.shape[2] - lag
        _, state = scan.ahead(steps[:, begin:end], state)
        states.insert(0, state if isinstance(state, tuple) else (state,))
        begin = end
    answer: Tensor = network.head(scan.norm(states[0][0][-1]))
    return states, answer
