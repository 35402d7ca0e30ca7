"""Generated sequences of symbols. A symbol is a channel: sequences are one-hot tensors (B, C, T) of float32."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def one_hot(symbols: Tensor, count: int) -> Tensor:
    """(B, T) whole numbers below `count` → (B, count, T)."""
    return functional.one_hot(symbols, count).transpose(1, 2).float().contiguous()


def which_came_first(
    draw: torch.Generator, batch: int, length: int, lags: Sequence[int], distractors: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Two marks side by side, A and B in either order, and distractors everywhere else; the last step asks.

    Both stand near the same lag, which is drawn evenly from `lags` (2 or more): a network that saw the later mark alone
    would know which one came before it.

    Returns:
        x (B, distractors + 3, T), the class (B,), 0 where A came first, and the lag (B,) of the first mark, counted
        back from the last step.
    """
    a, b, asked = distractors, distractors + 1, distractors + 2
    symbols = torch.randint(distractors, (batch, length), generator=draw)
    lag = torch.tensor(lags)[torch.randint(len(lags), (batch,), generator=draw)]
    first = torch.randint(2, (batch,), generator=draw)
    rows = torch.arange(batch)
    symbols[rows, length - 1 - lag] = torch.where(first == 0, a, b)
    symbols[rows, length - lag] = torch.where(first == 0, b, a)
    symbols[:, length - 1] = asked
    return one_hot(symbols, distractors + 3), first, lag
