"""How far back neighbouring examples remember: which of them have to be drawn together as one block."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def block_length(values: NDArray[np.float64], block: int | None) -> int:
    """Returns how many neighbours form a unit: `block`, or more where scores stay alike for longer than it allows.

    `block` is twice the reach of what neighbours share (2 × the horizon for forecast windows); None: nobody knows it.
    Autocorrelation that reaches further says that the scores come in regimes. These need blocks far longer than what
    a sample shows of them, as it shows little: four times, and eight times where it is beyond all that was declared.
    At most half of the examples: a single block would say nothing about how blocks vary.
    """
    if block is not None and block < 1:
        raise ValueError(f"block must be at least 1 example, got {block}")
    declared = max(1, int(np.cbrt(len(values)).round())) if block is None else block
    lag = memory(values)
    wanted = declared if 2 * lag < declared or lag < 1 else max(declared, (8 if lag > declared else 4) * lag)
    return max(1, min(wanted, len(values) // 2))


def memory(values: NDArray[np.float64]) -> int:
    """The lag after which the autocorrelation of (N,) scores stays small (Politis and White, 2004)."""
    count = len(values)
    centred = values - values.mean()
    if not centred.any() or count < 4:
        return 0
    spectrum = np.fft.rfft(centred, 2 * count)
    correlation = np.fft.irfft(spectrum * spectrum.conj())[:count] / (centred @ centred)
    small = np.abs(correlation[1:]) < 2 * np.sqrt(np.log10(count) / count)
    run = min(5, len(small))
    calm = np.flatnonzero(np.lib.stride_tricks.sliding_window_view(small, run).all(axis=1))
    return int(calm[0]) if len(calm) else count
