"""Generated sequences of symbols. A symbol is a channel: sequences are one-hot tensors (B, C, T) of float32."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

MOTIF = 4  # symbols of a motif


def one_hot(symbols: Tensor, count: int) -> Tensor:
    """(B, T) whole numbers below `count` → (B, count, T)."""
    return functional.one_hot(symbols, count).transpose(1, 2).float().contiguous()


def which_came_first(
    draw: torch.Generator, batch: int, length: int, lags: Sequence[int], distractors: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Two marked symbols, one of each kind, at a lag that is drawn evenly, and distractors everywhere else.

    The later one stands at the last step, where the answer is read; which of the two it is tells nothing, as a third
    symbol hides it: the marks are A and B, and the last step asks. So only the one that lies `lag` steps before the end
    tells the answer; the other follows it at once.

    Returns:
        x (B, distractors + 3, T), the class (B,), 0 where A came first, and the lag (B,) of the first mark.
    """
    a, b, asked = distractors, distractors + 1, distractors + 2
    symbols = torch.randint(distractors, (batch, length), generator=draw)
    lag = torch.tensor(lags)[torch.randint(len(lags), (batch,), generator=draw)]
    first = torch.randint(2, (batch,), generator=draw)
    rows = torch.arange(batch)
    symbols[rows, length - 1 - lag] = torch.where(first == 0, a, b)
    symbols[:, length - 1] = asked
    return one_hot(symbols, distractors + 3), first, lag


def motif_in_half(draw: torch.Generator, count: int, length: int, half: int, symbols: int) -> tuple[Tensor, Tensor]:
    """One of two motifs at a random place of the first (0) or second (1) half of random symbols.

    The motifs are the symbols 0 1 2 3 and 3 2 1 0, so that only their order tells them apart.

    Returns:
        x (count, symbols, length) and the class (count,), 0 for the rising motif.
    """
    motifs = torch.tensor([[0, 1, 2, 3], [3, 2, 1, 0]])
    noise = torch.randint(symbols, (count, length), generator=draw)
    falling = torch.randint(2, (count,), generator=draw)
    begin = half * (length // 2) + torch.randint(length // 2 - MOTIF + 1, (count,), generator=draw)
    noise.scatter_(1, begin[:, None] + torch.arange(MOTIF), motifs[falling])
    return one_hot(noise, symbols), falling


def running_count(draw: torch.Generator, batch: int, length: int, modulus: int) -> tuple[Tensor, Tensor]:
    """Random bits, and at every step the number of ones so far modulo `modulus` (2: their parity).

    Returns:
        x (batch, 2, length) and the class (batch, length) of every step.
    """
    bits = torch.randint(2, (batch, length), generator=draw)
    return one_hot(bits, 2), bits.cumsum(1) % modulus
