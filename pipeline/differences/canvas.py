"""Pictures of the ten differences: scikit-learn's handwritten digits at random places of a larger canvas.

Digits that fill their picture do not distinguish the families: the place of a digit has to vary.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

SIDE, DIGIT = 12, 8  # pixels of the canvas and of a digit
KEPT = 1200  # digits that trainings draw from; the others are test pictures


@cache
def _digits() -> tuple[Tensor, Tensor]:
    """Loads pictures (1797, 8, 8), float32 from 0 to 1, and their classes (1797,), in one fixed random order."""
    from sklearn.datasets import load_digits

    pixels, classes = load_digits(return_X_y=True)
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(0))
    pictures = torch.tensor(pixels, dtype=torch.float32).view(-1, DIGIT, DIGIT) / 16
    return pictures[order], torch.tensor(classes)[order]


def train_digits() -> tuple[Tensor, Tensor]:
    """Returns pictures (1200, 8, 8) and classes (1200,)."""
    pictures, classes = _digits()
    return pictures[:KEPT], classes[:KEPT]


def test_digits() -> tuple[Tensor, Tensor]:
    """Returns pictures (597, 8, 8) and classes (597,); no training digit is among them."""
    pictures, classes = _digits()
    return pictures[KEPT:], classes[KEPT:]


def placed(draw: torch.Generator, digits: Tensor, side: int = SIDE) -> tuple[Tensor, Tensor]:
    """Places digits (B, 8, 8) at random on canvases (B, 1, side, side); also returns their corners (B, 2)."""
    corners = torch.randint(side - DIGIT + 1, (len(digits), 2), generator=draw)
    return placed_at(digits, corners, side), corners


def placed_at(digits: Tensor, corners: Tensor, side: int = SIDE) -> Tensor:
    """Places digits (B, 8, 8) with their upper left corners at the given rows and columns (B, 2)."""
    canvas = torch.zeros(len(digits), 1, side, side)
    for canvas_row, digit, (row, column) in zip(canvas, digits, corners.tolist(), strict=True):
        canvas_row[0, row : row + DIGIT, column : column + DIGIT] = digit
    return canvas


def batch_of(draw: torch.Generator, digits: tuple[Tensor, Tensor], size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draws a random batch: canvases (B, 1, 12, 12), classes (B,), corners (B, 2)."""
    rows = torch.randint(len(digits[1]), (size,), generator=draw)
    pictures, corners = placed(draw, digits[0][rows])
    return pictures, digits[1][rows], corners
