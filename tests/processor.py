"""What this processor can compute."""

from __future__ import annotations

import pytest
import torch


def needs_half_precision(architecture: str) -> None:
    """Skips a test in bf16 of a cell that oneDNN has no kernel for on this processor; `precision: auto` avoids it."""
    found = torch.cpu.get_capabilities()
    if architecture == "lstm" and found["architecture"] == "x86_64" and not found["avx512_bw"]:
        pytest.skip("oneDNN computes an LSTM in bf16 on processors with AVX-512 only")
