"""What this processor can compute."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn


def needs_half_precision(architecture: str) -> None:
    """Skips a test in bf16 of a cell that oneDNN has no kernel for on this processor; `precision: auto` avoids it."""
    if architecture == "lstm" and not _has_lstm_in_bf16():
        pytest.skip("oneDNN computes an LSTM in bf16 on processors with AVX-512 only")


@functools.cache
def _has_lstm_in_bf16() -> bool:
    try:
        with torch.autocast("cpu", torch.bfloat16):
            nn.LSTM(2, 2)(torch.zeros(1, 1, 2))
    except RuntimeError:  # in the words of oneDNN
        return False
    return True
