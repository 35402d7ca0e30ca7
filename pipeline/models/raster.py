"""Causal grids: features of a position that see the rows above it and its own row up to itself, and nothing else.

Positions are in raster order, row by row and from left to right, as in PixelRNN and PixelCNN (van den Oord et al.,
2016, "Pixel recurrent neural networks"). Two stacks share the work, which leaves no blind spot ("Conditional image
generation with PixelCNN decoders", 2016): the one above knows whole rows down to its own; the one beside knows its own
row to the left, and receives the rows above from the other one. What a level of a stack does is up to the family:
convolutions that look up and left, or scans that run down and to the right.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

State = Any  # what a level remembers of the rows above, or of what is to the left; None at the border


class Level(Protocol):
    """An ``nn.Module`` with a layer of either stack; both continue from a state, so that a grid can come in pieces."""

    def above(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Maps whole rows (B, C, H, W) to (B, F, H, W); row i sees rows up to i, all columns of them."""

    def beside(self, x: Tensor, context: Tensor, state: State) -> tuple[Tensor, State]:
        """Maps (B, C, H, W) and context from above (B, F, H, W) to (B, F, H, W); (i, j) sees row i up to column j."""


class Raster(nn.Module):
    """Levels of both stacks, one on top of the other.

    Args:
        levels: modules like ``Level``; the first takes the grid twice, each other what the one before it made.
        channels: F, the same for all levels.
        dropout: share of the channels, the same for all positions, that the stack beside drops after each level.
    """

    def __init__(self, levels: Iterable[nn.Module], channels: int, dropout: float) -> None:
        super().__init__()
        self.levels: Any = nn.ModuleList(levels)
        self.channels = channels
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, H, W) to (B, F, H, W)."""
        above = beside = x
        for level in self.levels:
            above, _ = level.above(above, None)
            context = F.pad(above, (0, 0, 1, 0))[:, :, :-1]  # one row down: a row receives those above it alone
            beside, _ = level.beside(beside, context, None)
            beside = self.dropout(beside)
        return beside


class GatedLevel(nn.Module):
    """A level of a causal grid: gated convolutions that look up and left (van den Oord et al., 2016).

    The architectures of the family cnn differ as their blocks do: `googlenet` and `textcnn` join kernels of several
    sizes, `resnet` and `wavenet` add shortcuts.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, architecture: str) -> None:
        super().__init__()
        joined = architecture in ("googlenet", "textcnn")
        self.sizes = [kernel_size, 2 * kernel_size - 1] if joined else [kernel_size]
        shares = [out_channels - out_channels // 2, out_channels // 2] if joined else [out_channels]
        self.up = nn.ModuleList(
            nn.Conv2d(in_channels, 2 * share, (size // 2 + 1, size), bias=False)
            for share, size in zip(shares, self.sizes, strict=True)
        )
        self.reach = max(self.sizes) // 2  # upwards and to the left
        self.left = nn.Conv2d(in_channels, 2 * out_channels, (1, self.reach + 1), bias=False)
        self.context = nn.Conv2d(out_channels, 2 * out_channels, 1)
        self.mixed = nn.Conv2d(out_channels, out_channels, 1)
        self.shortcut = architecture in ("resnet", "wavenet") and in_channels == out_channels

    def above(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        rows, state = continued(x, state, self.reach, dimension=2)
        parts = []
        for up, size in zip(self.up, self.sizes, strict=True):
            half = size // 2
            parts.append(gated(up(F.pad(rows[:, :, self.reach - half :], (half, size - 1 - half, 0, 0)))))
        y = torch.cat(parts, dim=1)
        return (x + y if self.shortcut else y), state

    def beside(self, x: Tensor, context: Tensor, state: State) -> tuple[Tensor, State]:
        columns, state = continued(x, state, self.reach, dimension=3)
        y = self.mixed(gated(self.left(columns) + self.context(context)))
        return (x + y if self.shortcut else y), state


def gated(x: Tensor) -> Tensor:
    """Maps (B, 2 F, H, W) to (B, F, H, W): one half is the signal, tanh(x / 2), the other its gate, sigmoid(x).

    tanh(x / 2) = 2 sigmoid(x) - 1: one function of all channels takes half the time of two on halves of them.
    """
    signal, gate = x.sigmoid().chunk(2, dim=1)
    return (2 * signal - 1) * gate


class IncrementalSampler:
    """The features of grids that come into being position by position, in evaluation mode.

    What was computed for earlier positions is remembered, so that a whole grid costs about as much as one call of
    ``Raster``, in many small steps.
    """

    def __init__(self, raster: Raster) -> None:
        self.raster = raster
        self.rows: list[State] = [None] * len(raster.levels)
        self.left: list[State] = []
        self.contexts: list[Tensor] = []
        self.column = 0

    def next_row(self, above: Tensor) -> None:
        """Begins a row. `above` (B, C, W) is the row before it; zeros for the first."""
        first = not self.contexts
        x = above[:, :, None]  # (B, C, 1, W)
        contexts = []
        for place, level in enumerate(self.raster.levels):
            if first:
                contexts.append(x.new_zeros(len(x), self.raster.channels, *x.shape[2:]))
            else:
                x, self.rows[place] = level.above(x, self.rows[place])
                contexts.append(x)
        self.contexts, self.left, self.column = contexts, [None] * len(contexts), 0

    def next(self, x: Tensor) -> Tensor:
        """Maps the values (B, C) at the next position of the row to its features (B, F)."""
        beside = x[:, :, None, None]
        for place, level in enumerate(self.raster.levels):
            context = self.contexts[place][..., self.column : self.column + 1]
            beside, self.left[place] = level.beside(beside, context, self.left[place])
        self.column += 1
        return beside[:, :, 0, 0]


def continued(x: Tensor, state: Tensor | None, reach: int, dimension: int) -> tuple[Tensor, Tensor]:
    """Extends a grid by `reach` positions before it along a dimension, zeros at the border; returns the next state."""
    if state is None:
        shape = list(x.shape)
        shape[dimension] = reach
        state = x.new_zeros(shape)
    x = torch.cat([state, x], dim=dimension)
    return x, x.narrow(dimension, x.shape[dimension] - reach, reach)
