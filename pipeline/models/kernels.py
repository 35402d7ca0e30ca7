"""Functions of single numbers, called once by one thread before several threads call them."""

from __future__ import annotations

from functools import cache

import torch

FUNCTIONS = (
    "acos", "asin", "atan", "cos", "erf", "erfc", "erfinv", "exp", "log", "log10", "log2", "sin", "sqrt", "tan", "tanh",
    "trunc",
)  # fmt: skip


@cache
def settle_kernels() -> None:
    """Has MKL choose its kernel for each of these functions, once in a process and in no time.

    MKL (2024.2, in the wheels of PyTorch) chooses at the first call. Where several threads make that call, one of them
    may be given a kernel of a lower precision, for this call alone: the first step of a training then differs from the
    same one in another process (https://github.com/pytorch/pytorch/issues/188792).
    """
    for dtype in (torch.float32, torch.float64):
        number = torch.full((1,), 0.5, dtype=dtype, device="cpu")
        for name in FUNCTIONS:
            getattr(torch, name)(number)
