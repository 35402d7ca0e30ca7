"""The recurrent family: one scan of a recurrent cell over a sequence or a grid; the cell is the architecture.

Over a sequence the cell runs forward, and where causality is not needed backward as well. On a grid it sweeps the
rows and then the columns of patches in both directions, as in ReNet (Visin et al., 2015): after one layer every
patch has seen the whole picture. A causal grid is swept as in PixelRNN (van den Oord et al., 2016). Several steps can
be read as one segment (SegRNN, Lin et al., 2023).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from pipeline.models.encoder import Ranges, check_ranges, check_shape, choose, inside
from pipeline.models.raster import Raster
from pipeline.models.rnn.scans import RecurrentLayer, Sweeps, patches, segments, sweep


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
            (``stride = patch``). The last segment ends at the last step of its sequence; zeros come before the first.
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
        self.scans = nn.ModuleList(RecurrentLayer(cell, width, hidden, not causal, forget_bias) for width in widths)
        self.columns = nn.ModuleList(
            RecurrentLayer(cell, self.out_channels, hidden, True, forget_bias) for _ in widths if not self.sequence
        )
        self.dropout = nn.Dropout1d(dropout)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Maps (B, C, H, W) or (B, C, T) to features, see ``encoder.Encoder``."""
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
