"""What a benchmark found, as lines of text."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Figure:
    """One line of the table; without a bar it only informs."""

    name: str
    value: float | str
    bar: str = ""  # such as "≥ 0.95"

    @property
    def verdict(self) -> str:
        if not self.bar or isinstance(self.value, str):
            return ""
        sign, limit = self.bar.split()
        held = self.value >= float(limit) if sign == "≥" else self.value <= float(limit)
        return "holds" if held else "MISSED"


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median of the ratios of what was measured side by side: noise that hits both sides cancels."""
    return median(first / second for first, second in zip(above, below, strict=True))


def lines(figures: Sequence[Figure]) -> list[str]:
    """A table in plain text."""
    head = ("measured", "figure", "bar", "")
    rows = [(figure.name, _shown(figure.value), figure.bar, figure.verdict) for figure in figures]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(4)]
    return [
        f"{row[0]:{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:{widths[2]}}  {row[3]}".rstrip() for row in (head, *rows)
    ]


def machine() -> str:
    """What the figures depend on. The load counts processes that want a core, this one included."""
    import torch

    found = torch.cpu.get_capabilities()
    flags = [flag for flag in ("avx2", "avx512_f", "avx512_bf16", "amx_bf16") if found.get(flag)]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{found.get('cpu_name', 'processor of unknown name')} ({', '.join(flags) or 'no vector units known'}), "
        f"{os.cpu_count()} cores, load {load}, torch {torch.__version__}"
    )


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.2f}"
