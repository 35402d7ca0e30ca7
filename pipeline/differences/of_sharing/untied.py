"""One layer of each family, with shared weights or with weights of its own at every position, and a task for them.

The task: which of two motifs is it that lies in one half of a sequence in training and in the other half in the test?
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.differences import networks
from pipeline.differences.optimise import generator, train
from pipeline.differences.sequences import MOTIF, motif_in_half


class Layer(nn.Module):
    """The common part of both layers: weights of one position or of each of `length`, and a linear head."""

    def __init__(self, length: int, inputs: int, width: int, tied: bool) -> None:
        super().__init__()
        self.length, self.width, self.sets = length, width, 1 if tied else length
        limit = inputs**-0.5
        self.weights = nn.Parameter(torch.empty(self.sets, inputs, width).uniform_(-limit, limit))
        self.biases = nn.Parameter(torch.zeros(self.sets, 1, width))
        self.head = nn.Linear(width, 2)

    def driven(self, x: Tensor) -> Tensor:
        """Maps (T, B, inputs) to (T, B, width), every position by its weights."""
        weights = self.weights.expand(self.length, -1, -1)
        return torch.baddbmm(self.biases.expand(self.length, -1, -1), x, weights)

    def answer(self, features: Tensor) -> Tensor:
        """Maps (T, B, width) to (B, 2)."""
        answer: Tensor = self.head(features.mean(0))
        return answer


class Convolution(Layer):
    """A causal convolution with a kernel as long as the motif, and ReLU."""

    def __init__(self, length: int, symbols: int, width: int, tied: bool) -> None:
        super().__init__(length, symbols * MOTIF, width, tied)

    def forward(self, x: Tensor) -> Tensor:
        windows = functional.pad(x, (MOTIF - 1, 0)).unfold(2, MOTIF, 1)  # (B, C, T, MOTIF)
        return self.answer(functional.relu(self.driven(windows.permute(2, 0, 1, 3).flatten(2))))


class Cell(Layer):
    """A recurrent cell, h = tanh(W x + U h + b), with orthogonal U."""

    def __init__(self, length: int, symbols: int, width: int, tied: bool) -> None:
        super().__init__(length, symbols, width, tied)
        drawn = [nn.init.orthogonal_(torch.empty(width, width)) for _ in range(self.sets)]
        self.recurrent = nn.Parameter(torch.stack(drawn))

    def forward(self, x: Tensor) -> Tensor:
        state, states = x.new_zeros(len(x), self.width), []
        recurrent = self.recurrent.expand(self.length, -1, -1)
        for drive, weights in zip(self.driven(x.permute(2, 0, 1)).unbind(0), recurrent.unbind(0), strict=True):
            state = torch.tanh(torch.addmm(drive, state, weights))
            states.append(state)
        return self.answer(torch.stack(states))


def layer(name: str, tied: bool, seed: int, *, length: int, symbols: int, width: int) -> Layer:
    """Makes the convolution or the cell, whose weights follow from the seed alone."""
    kind = {"convolution": Convolution, "cell": Cell}[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind(length, symbols, width, tied)


@dataclass(frozen=True)
class HalfTask:
    """Sizes of the layers, of the data and of a training."""

    length: int
    symbols: int
    width: int
    steps: int
    batch: int
    tested: int  # fresh sequences

    def layer(self, name: str, tied: bool, seed: int) -> Layer:
        return layer(name, tied, seed, length=self.length, symbols=self.symbols, width=self.width)

    def sizes(self, name: str, tied: bool) -> dict[str, int]:
        return networks.sizes(self.layer(name, tied, 0), torch.zeros(1, self.symbols, self.length))

    def accuracy(self, name: str, tied: bool, seed: int, rate: float, examples: int) -> tuple[float, float]:
        """Measures it on fresh sequences with the motif in the first half, as in training, and in the second."""
        network = self.layer(name, tied, seed)
        x, classes = motif_in_half(generator(seed, "motif"), examples, self.length, 0, self.symbols)
        order = generator(seed, "order")

        def batch() -> tuple[Tensor, Tensor]:
            rows = torch.randint(examples, (self.batch,), generator=order)
            return x[rows], classes[rows]

        train(network, batch, loss, steps=self.steps, rate=rate)
        return self.tested_in(0, network, seed), self.tested_in(1, network, seed)

    @torch.inference_mode()
    def tested_in(self, half: int, network: nn.Module, seed: int) -> float:
        """Measures accuracy with the motif in the first (0) or second (1) half."""
        draw = generator(seed, f"test, half {half}")
        x, classes = motif_in_half(draw, self.tested, self.length, half, self.symbols)
        return float((network(x).argmax(1) == classes).float().mean())


def loss(network: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return functional.cross_entropy(network(batch[0]), batch[1])
