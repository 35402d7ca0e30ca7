"""The counted cost of a square picture for a network of each family."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from pipeline.differences.networks import Design, Reader, cnn, made, multiply_adds, rnn, sizes

GRID = {
    "cnn on a grid": cnn("resnet", width=16, depth=2, kernel_size=3),
    "gru on a grid": rnn("gru", hidden=16),
}


def counted(sides: Sequence[int]) -> dict[str, list[int]]:
    """Counts the multiply-adds of one picture, by side."""
    return {
        name: [multiply_adds(grid_network(design), torch.zeros(1, 3, side, side)) for side in sides]
        for name, design in GRID.items()
    }


def grid_network(design: Design) -> Reader:
    return made(0, design, 3, 10, dimensions=2, causal=False, read="mean").eval()


def slope_of(sides: Sequence[int], costs: Sequence[float]) -> float:
    """Fits the slope of the straight line through both logarithms, by least squares."""
    return float(np.polyfit(np.log(sides), np.log(costs), 1)[0])


def sizes_of_one(side: int) -> dict[str, dict[str, int]]:
    """Returns both matchings for one picture."""
    return {name: sizes(grid_network(design), torch.zeros(1, 3, side, side)) for name, design in GRID.items()}
