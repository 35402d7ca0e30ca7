"""The size of a network in both senses: trained numbers, and multiply-adds of an answer."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def parameter_count(network: nn.Module) -> int:
    """Counts the trained numbers."""
    return sum(weight.numel() for weight in network.parameters())


@torch.no_grad()
def multiply_adds(answer: Callable[[], object]) -> int:
    """Counts the multiply-adds of a call, operator by operator, by torch's counter.

    oneDNN's fused recurrent operators are unknown to the counter, so that they are taken apart for it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TF32 on GPUs that are not there, given whenever oneDNN is switched
        with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
            answer()
    return int(counter.get_total_flops()) // 2
