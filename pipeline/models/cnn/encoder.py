"""The convolutional family: one stack of blocks over a grid or a sequence; the block is the architecture.

Level i of the stack sees twice as far as level i - 1: on a grid because its input is halved by max pooling (and its
width doubled), over a sequence because its kernels are dilated by 2^i, so that a sequence keeps its length. Over a
causal sequence the residual stack is the temporal convolution network of Bai et al. (2018). Over a causal grid the
levels are those of a gated PixelCNN, and the grid keeps its size.

Everything runs as a 2-d convolution with the channels last in memory, a sequence as a grid of height 1: on a CPU
that is the layout in which oneDNN is quick and a normalisation over channels costs no copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.models.cnn.blocks import ConvNorm, Gated, Inception, Layout, MultiWidth, Residual, VGGBlock
from pipeline.models.encoder import Ranges, check_ranges, check_shape, choose, inside
from pipeline.models.raster import GatedLevel, Raster
from pipeline.models.weights import initialise


class CNN(nn.Module):
    """An encoder of `depth` levels of blocks (see ``encoder.Encoder``).

    Args:
        in_channels: channels C of the input.
        dimensions: 2 for a grid (B, C, H, W), 1 for a sequence (B, C, T).
        causal: whether a feature may see its own and earlier positions only, on a grid in raster order.
        architecture: the block, one of ``CNN.ARCHITECTURES``.
        width: channels of the first level; on a grid that is not causal every further level has twice the channels.
        depth: number of levels. On a grid each halves height and width, ``stride = 2 ** depth``, unless it is causal;
            over a sequence each doubles the dilation, so that a feature sees
            ``1 + (kernel_size - 1) * (2 ** (depth + 1) - 1)`` steps; of ``textcnn`` with its one kernel a level,
            ``1 + (kernel_size + 1) * (2 ** depth - 1)``.
        kernel_size: side of all kernels but the point-wise ones.
        dropout: share of the channels that are dropped after each level in training.

    Raises:
        ValueError: for an unknown architecture or a value outside ``CNN.RANGES``.
    """

    ARCHITECTURES: ClassVar[Mapping[str, type[nn.Module]]] = {
        "vgg": VGGBlock,
        "googlenet": Inception,
        "resnet": Residual,
        "textcnn": MultiWidth,
        "wavenet": Gated,
    }
    PRESETS: ClassVar[Mapping[str, str]] = {  # what each is called in presets.py
        "vgg16": "vgg16",
        "inception_v1": "googlenet",  # the name googlenet is taken by the blocks
        "resnet18": "resnet18",
        "resnet50": "resnet50",
    }
    RANGES: ClassVar[Ranges] = {"width": (16, 2048), "depth": (1, 12), "kernel_size": (2, 63), "dropout": (0.0, 0.9)}
    EXAMPLE: ClassVar[Mapping[str, Any]] = {"width": 16, "depth": 2, "kernel_size": 3, "dropout": 0.0}

    def __init__(
        self,
        in_channels: int,
        dimensions: int,
        causal: bool,
        *,
        architecture: str,
        width: int,
        depth: int,
        kernel_size: int,
        dropout: float,
    ) -> None:
        super().__init__()
        check_shape(dimensions)
        check_ranges(self.RANGES, width=width, depth=depth, kernel_size=kernel_size, dropout=dropout)
        block = choose(architecture, self.ARCHITECTURES, "architecture of the family cnn")
        self.sequence = dimensions == 1
        self.raster: Raster | None = None
        if causal and not self.sequence:
            self.out_channels, self.stride = width, 1
            sizes = [in_channels] + [width] * (depth - 1)
            levels = (GatedLevel(size, width, kernel_size, architecture) for size in sizes)
            self.raster = Raster(levels, width, dropout)
            self.apply(initialise)
            return
        widths = [width if self.sequence else width * 2**level for level in range(depth)]
        self.out_channels = widths[-1]
        self.stride = 1 if self.sequence else 2**depth

        layouts = [Layout(self.sequence, causal, 2**level if self.sequence else 1) for level in range(depth)]
        # Kim's kernels read the words themselves; the blocks of the others continue what one convolution has begun.
        self.stem = None if block is MultiWidth else ConvNorm(in_channels, width, kernel_size, layouts[0])
        first = in_channels if self.stem is None else width
        self.levels = nn.ModuleList(
            block(before, after, kernel_size, layout)
            for before, after, layout in zip([first, *widths], widths, layouts, strict=False)
        )
        self.halve = nn.Identity() if self.sequence else nn.MaxPool2d(2, ceil_mode=True)
        self.dropout = nn.Dropout2d(dropout)
        self.apply(initialise)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Maps (B, C, H, W) or (B, C, T) to features, see ``encoder.Encoder``."""
        if self.raster is not None:
            features: Tensor = self.raster(channels_last(x))
            return features
        mask = inside(lengths, x.shape[-1])
        if mask is not None:
            mask = mask[:, None, None, :]  # (B, 1, 1, T)
        if self.sequence:
            x = x.unsqueeze(2)  # (B, C, 1, T)
        x = channels_last(x)
        if self.stem is not None:
            x = F.relu_(self.stem(x, mask))
        for level in self.levels:
            x = self.halve(level(x, mask)) if self.stem is None else level(self.halve(x), mask)
            x = self.dropout(x)
        if mask is not None:
            x = x * mask
        return x.squeeze(2) if self.sequence else x


def channels_last(x: Tensor) -> Tensor:
    """Lays (B, C, H, W) out with the channels last in memory.

    A tensor of one channel counts as both layouts, so ``contiguous`` would leave its strides as they are; then every
    layer behind it would keep the channels first, which is slow.
    """
    _, channels, height, width = x.shape
    x = x.contiguous(memory_format=torch.channels_last)
    return x.as_strided(x.shape, (channels * height * width, 1, channels * width, channels))
