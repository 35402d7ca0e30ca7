"""The recurrent family: one scan of a recurrent cell over a sequence or a grid; the cell is the architecture.

Over a sequence the cell runs forward, and where causality is not needed backward as well. On a grid it sweeps the
rows and then the columns of patches in both directions, as in ReNet (Visin et al., 2015): after one layer every
patch has seen the whole picture. A causal grid is swept as in PixelRNN (van den Oord et al., 2016). Several steps can
be read as one segment (SegRNN, Lin et al., 2023).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.models.encoder import Ranges, check_ranges, check_shape, choose, inside
from pipeline.models.raster import Raster, State


class Scan(nn.Module):
    """One layer of a recurrent cell over (N, T, C), forward or in both directions side by side, and a norm.

    The backward direction is a forward scan over the reversed steps. With lengths each sequence is reversed within
    its own length, so that padding stays at the end and reaches no step. A packed sequence gives the same result
    and takes 1.6 to 2.8 times as long on a CPU.
    """

    def __init__(
        self, cell: Callable[..., nn.RNNBase], in_channels: int, hidden: int, both: bool, forget_bias: float
    ) -> None:
        super().__init__()
        self.ahead = cell(in_channels, hidden, batch_first=True)
        self.back = cell(in_channels, hidden, batch_first=True) if both else None
        for recurrent in (self.ahead, self.back):
            if recurrent is not None:
                initialise(recurrent, forget_bias)
        self.norm = nn.LayerNorm(2 * hidden if both else hidden)

    def forward(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        y: Tensor = self.ahead(x)[0]  # (N, T, hidden)
        if self.back is not None:
            back = reverse(self.back(reverse(x, lengths))[0], lengths)
            y = torch.cat([y, back], dim=2)  # (N, T, 2 * hidden)
        normalised: Tensor = self.norm(y)
        return normalised

    def carried(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Forward from the state that an earlier call has left; None at the start."""
        y, state = self.ahead(x, state)
        return self.norm(y), state


class Sweeps(nn.Module):
    """A level of a causal grid, see ``raster.Level``: scans across whole rows and down, and along the own row.

    The recurrence of PixelRNN (van den Oord et al., 2016) with its two directions taken apart, so that all rows, or all
    columns, are scanned side by side.
    """

    def __init__(self, cell: Callable[..., nn.RNNBase], in_channels: int, hidden: int, forget_bias: float) -> None:
        super().__init__()
        self.across = Scan(cell, in_channels, hidden, True, forget_bias)
        self.down = Scan(cell, 2 * hidden, hidden, False, forget_bias)
        self.along = Scan(cell, in_channels + hidden, hidden, False, forget_bias)

    def above(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        x = sweep(self.across, x.permute(0, 2, 3, 1)).transpose(1, 2)  # (B, W, H, 2 * hidden)
        y, state = self.down.carried(x.flatten(0, 1), state)
        return y.view(*x.shape[:3], -1).permute(0, 3, 2, 1), state

    def beside(self, x: Tensor, context: Tensor, state: State) -> tuple[Tensor, State]:
        x = torch.cat([x, context], dim=1).permute(0, 2, 3, 1)  # (B, H, W, C)
        y, state = self.along.carried(x.flatten(0, 1), state)
        return y.view(*x.shape[:3], -1).permute(0, 3, 1, 2), state


class RNN(nn.Module):
    """An encoder of `layers` layers of scans (see ``encoder.Encoder``).

    Args:
        in_channels: channels C of the input.
        dimensions: 2 for a grid (B, C, H, W), 1 for a sequence (B, C, T).
        causal: whether a feature may see its own and earlier positions only, on a grid in raster order.
        architecture: the cell, one of ``RNN.ARCHITECTURES``.
        hidden: size of the state of one direction; features have twice as many channels where both are scanned.
        layers: number of layers; on a grid a layer is a sweep over the rows and one over the columns.
        patch: steps of a segment, or side of the square patches of a grid, that are read as one step
            (``stride = patch``). The last segment ends at the last step of its sequence; zeros stand before the first.
        dropout: share of the channels, the same for all steps, that are dropped after each layer in training
            (Gal and Ghahramani, 2016).
        forget_bias: initial bias of the forget gate of an LSTM. 1 or more lets gradients survive long lags from the
            start (Gers et al., 2000); the other cells have no such gate and ignore it.

    Raises:
        ValueError: for an unknown architecture or a value outside ``RNN.RANGES``.
    """

    ARCHITECTURES: ClassVar[Mapping[str, Callable[..., nn.RNNBase]]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
    PRESETS: ClassVar[Mapping[str, str]] = {}
    RANGES: ClassVar[Ranges] = {
        "hidden": (4, 4096),
        "layers": (1, 12),
        "patch": (1, 1024),
        "dropout": (0.0, 0.9),
        "forget_bias": (-10.0, 10.0),
    }
    EXAMPLE: ClassVar[Mapping[str, Any]] = {"hidden": 6, "layers": 2, "patch": 2, "dropout": 0.0, "forget_bias": 1.0}

    def __init__(
        self,
        in_channels: int,
        dimensions: int,
        causal: bool,
        *,
        architecture: str,
        hidden: int,
        layers: int,
        patch: int,
        dropout: float,
        forget_bias: float,
    ) -> None:
        super().__init__()
        check_shape(dimensions)
        check_ranges(self.RANGES, hidden=hidden, layers=layers, patch=patch, dropout=dropout, forget_bias=forget_bias)
        cell = choose(architecture, self.ARCHITECTURES, "architecture of the family rnn")
        self.sequence = dimensions == 1
        self.stride = patch
        self.out_channels = hidden if causal else 2 * hidden
        first = in_channels * patch**dimensions
        self.raster: Raster | None = None
        if causal and not self.sequence:
            sizes = [first] + [hidden] * (layers - 1)
            levels = (Sweeps(cell, size, hidden, forget_bias) for size in sizes)
            self.raster = Raster(levels, hidden, dropout)
            return
        widths = [first] + [self.out_channels] * (layers - 1)
        self.scans = nn.ModuleList(Scan(cell, width, hidden, not causal, forget_bias) for width in widths)
        self.columns = nn.ModuleList(
            Scan(cell, self.out_channels, hidden, True, forget_bias) for _ in widths if not self.sequence
        )
        self.dropout = nn.Dropout1d(dropout)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, C, H, W) or (B, C, T) to features, see ``encoder.Encoder``."""
        return self.over_sequence(x, lengths) if self.sequence else self.over_grid(x)

    def over_sequence(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        x = segments(x, self.stride, lengths)  # (B, T', C * patch)
        if lengths is not None:
            lengths = (lengths + self.stride - 1) // self.stride
        for scan in self.scans:
            x = self.drop(scan(x, lengths))
        mask = inside(lengths, x.shape[1])
        if mask is not None:
            x = x * mask[:, :, None]
        return x.transpose(1, 2)

    def over_grid(self, x: Tensor) -> Tensor:
        x = patches(x, self.stride)  # (B, H', W', C * patch * patch)
        if self.raster is not None:
            features: Tensor = self.raster(x.permute(0, 3, 1, 2))
            return features
        for rows, columns in zip(self.scans, self.columns, strict=True):
            x = sweep(rows, x)
            x = self.drop(sweep(columns, x.transpose(1, 2)).transpose(1, 2))
        return x.permute(0, 3, 1, 2)

    def drop(self, x: Tensor) -> Tensor:
        if not self.training or self.dropout.p == 0:
            return x
        channels = x.new_ones(x.shape[0], x.shape[-1], 1)
        kept: Tensor = self.dropout(channels).squeeze(2)
        return x * kept.view(x.shape[0], *[1] * (x.dim() - 2), x.shape[-1])


def sweep(scan: nn.Module, x: Tensor) -> Tensor:
    """Scans the rows of (B, H, W, C), each on its own."""
    rows: Tensor = scan(x.flatten(0, 1), None)
    return rows.view(*x.shape[:3], rows.shape[-1])


def reverse(x: Tensor, lengths: Tensor | None) -> Tensor:
    """(N, T, C) with the steps of every sequence in reverse order; padding stays where it is."""
    if lengths is None:
        return x.flip(1)
    steps = torch.arange(x.shape[1], device=x.device)
    index = torch.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)  # (N, T)
    return x.gather(1, index[:, :, None].expand_as(x))


def segments(x: Tensor, patch: int, lengths: Tensor | None) -> Tensor:
    """(B, C, T) cut into steps of `patch`: (B, ceil(T / patch), C * patch).

    The last segment ends at the last step of its sequence, not of the padded batch; the first is filled up with
    zeros on its left.
    """
    batch, channels, steps = x.shape
    total = -(-steps // patch) * patch
    if lengths is None or patch == 1:
        x = F.pad(x, (total - steps, 0))
    else:
        shift = (-lengths % patch)[:, None]
        source = torch.arange(total, device=x.device) - shift  # (B, total)
        known = (source >= 0) & (source < lengths[:, None])
        index = source.clamp(0, steps - 1)[:, None, :].expand(batch, channels, total)
        x = x.gather(2, index) * known[:, None, :]
    return x.view(batch, channels, -1, patch).transpose(1, 2).flatten(2)


def patches(x: Tensor, patch: int) -> Tensor:
    """(B, C, H, W) cut into squares: (B, ceil(H / patch), ceil(W / patch), C * patch * patch)."""
    height, width = x.shape[2:]
    x = F.pad(x, (0, -width % patch, 0, -height % patch))
    return F.pixel_unshuffle(x, patch).permute(0, 2, 3, 1)


def initialise(recurrent: nn.RNNBase, forget_bias: float) -> None:
    """Orthogonal recurrent weights gate by gate (Saxe et al., 2014), so that gradients keep their length over time."""
    hidden = recurrent.hidden_size
    for name, parameter in recurrent.named_parameters():
        if name.startswith("bias"):
            nn.init.zeros_(parameter)
            continue
        draw = nn.init.orthogonal_ if name.startswith("weight_hh") else nn.init.xavier_uniform_
        for gate in torch.split(parameter, hidden):
            draw(gate)
    if isinstance(recurrent, nn.LSTM):
        with torch.no_grad():
            biases = recurrent.get_parameter("bias_ih_l0")
            biases[hidden : 2 * hidden] = forget_bias  # torch's order of gates: input, forget, …
