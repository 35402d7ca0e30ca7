"""What a family offers to the tasks, and the checks that both families share."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar, get_args

import torch
from torch import Tensor

if TYPE_CHECKING:
    from pipeline.models.raster import Raster

Entry = TypeVar("Entry")
Ranges = Mapping[str, tuple[float, float]]
Pooling = Literal["mean", "maximum", "mean_and_maximum"]


class Encoder(Protocol):
    """An ``nn.Module`` that turns a grid or a sequence into features of the same layout.

    It is built as ``family(in_channels, dimensions, causal, *, architecture, <hyperparameters>)``: `dimensions` is 2
    for a grid (B, C, H, W) and 1 for a sequence (B, C, T); with `causal` no feature sees a later position, on a grid
    in raster order: none below, and none to the right in its own row. All hyperparameters are required and can be
    searched.
    """

    ARCHITECTURES: ClassVar[Mapping[str, Any]]  # what `architecture` may name
    PRESETS: ClassVar[Mapping[str, str]]  # and, for grids, published trunks: their names in presets.py
    RANGES: ClassVar[Ranges]  # lowest and highest allowed value of every numeric hyperparameter
    EXAMPLE: ClassVar[Mapping[str, Any]]  # a small sound set of hyperparameters (without architecture) for tests

    out_channels: int
    stride: int  # a grid (H, W) becomes (ceil(H / stride), ceil(W / stride)), lengths become ceil(lengths / stride)
    raster: Raster | None  # of a causal grid: what `raster.IncrementalSampler` asks position by position; else None

    def __call__(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Computes features (B, out_channels, H', W') of a grid or (B, out_channels, T') of a sequence.

        `lengths` (B,) counts the steps of each sequence that are not padding; features of padding are zero. A grid
        takes no lengths.
        """


def choose(name: str, table: Mapping[str, Entry], kind: str) -> Entry:
    """Returns the entry called `name`. Raises ValueError that names the nearest and all valid names."""
    if name in table:
        return table[name]
    near = get_close_matches(str(name), table, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"unknown {kind} {name!r}.{hint} Choose one of: {', '.join(sorted(table))}")


def check_ranges(ranges: Ranges, **values: float) -> None:
    """Raises a ValueError that lists every value outside its range (both ends are allowed)."""
    wrong = [
        f"{name} is {value}, allowed is {ranges[name][0]} to {ranges[name][1]}"
        for name, value in values.items()
        if not ranges[name][0] <= value <= ranges[name][1]
    ]
    if wrong:
        raise ValueError("; ".join(wrong))


def check_shape(dimensions: int) -> None:
    """Raises a ValueError for anything but a grid or a sequence."""
    if dimensions not in (1, 2):
        raise ValueError(f"dimensions is {dimensions}, allowed is 1 (sequence) or 2 (grid)")


def inside(lengths: Tensor | None, steps: int) -> Tensor | None:
    """Returns (B, steps) bool, True where a step belongs to its sequence; None where all do."""
    if lengths is None:
        return None
    return torch.arange(steps, device=lengths.device) < lengths[:, None]


def trimmed(x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor | None]:
    """Cuts (B, …, T) to the steps that are not padding in all; lengths (B,) only where some padding is left."""
    shortest, longest = (int(end) for end in torch.aminmax(lengths))
    return x[..., :longest], None if shortest == longest else lengths


def check_pooling(pooling: str) -> None:
    """Raises a ValueError for a way of pooling that there is not."""
    if pooling not in get_args(Pooling):
        raise ValueError(f"pooling: found {pooling!r}; allowed: {', '.join(get_args(Pooling))}")


def pooled(features: Tensor, lengths: Tensor | None, stride: int, pooling: Pooling) -> Tensor:
    """Pools features (B, F, T') of sequences, zero in padding, to means or maxima (B, F), or both (B, 2 F).

    `lengths` (B,) are those of the sequences before an encoder of this `stride`.
    """
    steps = features.shape[2]
    if lengths is not None:
        lengths = torch.div(lengths + stride - 1, stride, rounding_mode="floor")
    parts = []
    if pooling != "maximum":
        parts.append(features.sum(2) / (steps if lengths is None else lengths[:, None]))
    if pooling != "mean":
        mask = inside(lengths, steps)
        seen = features if mask is None else features.masked_fill(~mask[:, None], -torch.inf)
        parts.append(seen.amax(2))
    return torch.cat(parts, dim=1)
