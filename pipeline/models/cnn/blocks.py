"""Blocks of the convolutional family: the convolutions of one level, and how they are joined."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.models.norms import ChannelNorm, StepNorm, normed


@dataclass(frozen=True)
class Layout:
    """The layout of the convolutions of a level: over a grid or a (causal) sequence, and how far apart taps are."""

    sequence: bool
    causal: bool
    dilation: int

    def padding(self, kernel_size: int) -> tuple[int, int, int, int]:
        """Returns zeros (left, right, top, bottom) that keep the size; left only where the future must stay unseen."""
        reach = self.dilation * (kernel_size - 1)
        left, right = (reach, 0) if self.causal else (reach // 2, reach - reach // 2)
        return (left, right, 0, 0) if self.sequence else (left, right, left, right)

    def norm(self, channels: int) -> nn.Module:
        if not self.sequence:
            return nn.BatchNorm2d(channels)
        return ChannelNorm(channels) if self.causal else StepNorm(channels)


class Convolution(nn.Module):
    """Convolution that keeps the size and is blind to what the mask excludes; without bias, a norm follows."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, layout: Layout) -> None:
        super().__init__()
        size = (1, kernel_size) if layout.sequence else (kernel_size, kernel_size)
        left, right, top, bottom = layout.padding(kernel_size)
        even = left == right and top == bottom  # then the convolution pads without a copy
        self.zeros = None if even else (left, right, top, bottom)
        padding = (top, left) if even else 0
        self.kernels = nn.Conv2d(in_channels, out_channels, size, padding=padding, dilation=layout.dilation, bias=False)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        if mask is not None:
            x = x * mask
        if self.zeros is not None:
            x = F.pad(x, self.zeros)
        y: Tensor = self.kernels(x)
        return y


class ConvNorm(nn.Module):
    """Convolution and norm."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, layout: Layout) -> None:
        super().__init__()
        self.convolution = Convolution(in_channels, out_channels, kernel_size, layout)
        self.norm = layout.norm(out_channels)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return normed(self.norm, self.convolution(x, mask), mask)


class VGGBlock(nn.Module):
    """Two convolutions in a row, as in VGG (Simonyan and Zisserman, 2015)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, layout: Layout) -> None:
        super().__init__()
        self.first = ConvNorm(in_channels, out_channels, kernel_size, layout)
        self.second = ConvNorm(out_channels, out_channels, kernel_size, layout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = F.relu_(self.first(x, mask))
        return F.relu_(self.second(x, mask))


class Inception(nn.Module):
    """Four parallel branches as in GoogLeNet (Szegedy et al., 2015): one point, one kernel, two kernels, the maximum.

    The three branches that begin with a kernel of one point share one convolution, and one norm follows the joined
    branches: the same sums in fewer and larger steps.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, layout: Layout) -> None:
        super().__init__()
        single, narrow = out_channels // 2, out_channels // 8
        self.sizes = [out_channels - single - 2 * narrow, single // 2, 2 * narrow]
        self.points = ConvNorm(in_channels, sum(self.sizes), 1, layout)
        self.single = Convolution(self.sizes[1], single, kernel_size, layout)
        self.double_first = ConvNorm(2 * narrow, 2 * narrow, kernel_size, layout)
        self.double_second = Convolution(2 * narrow, narrow, kernel_size, layout)
        self.window = layout.padding(3)
        self.maximum = nn.MaxPool2d((1, 3) if layout.sequence else 3, stride=1, dilation=layout.dilation)
        self.pooled = Convolution(in_channels, narrow, 1, layout)
        self.norm = layout.norm(out_channels)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        if mask is not None:
            x = x * mask  # zeros never win the maximum: the input comes from a ReLU
        point, single, double = torch.split(F.relu_(self.points(x, mask)), self.sizes, dim=1)
        single = self.single(single, mask)
        double = self.double_second(F.relu_(self.double_first(double, mask)), mask)
        pooled = self.pooled(self.maximum(F.pad(x, self.window)), mask)
        return F.relu_(normed(self.norm, torch.cat([point, single, double, pooled], dim=1), mask))


class Residual(nn.Module):
    """Two convolutions beside a shortcut, as in ResNet (He et al., 2016); a kernel of one point where widths differ."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, layout: Layout) -> None:
        super().__init__()
        self.first = ConvNorm(in_channels, out_channels, kernel_size, layout)
        self.second = ConvNorm(out_channels, out_channels, kernel_size, layout)
        self.shortcut = ConvNorm(in_channels, out_channels, 1, layout) if in_channels != out_channels else None

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        y = self.second(F.relu_(self.first(x, mask)), mask)
        return F.relu_(y + (x if self.shortcut is None else self.shortcut(x, mask)))


class MultiWidth(nn.Module):
    """Kernels of three widths side by side, as in the network of Kim (2014) for sentences: one level is that network.

    They are `kernel_size` and one and two more wide, and one norm follows them. On a grid the maximum of each square
    comes behind them, as the maximum over time does in that network.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, layout: Layout) -> None:
        super().__init__()
        share = out_channels // 3
        sizes = [out_channels - 2 * share, share, share]
        self.kernels = nn.ModuleList(
            Convolution(in_channels, size, kernel_size + more, layout) for more, size in enumerate(sizes)
        )
        self.norm = layout.norm(out_channels)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        if mask is not None:
            x = x * mask
        return F.relu_(normed(self.norm, torch.cat([kernels(x, None) for kernels in self.kernels], dim=1), mask))


class Gated(nn.Module):
    """The tanh of a convolution, let through by the sigmoid of another, beside a shortcut, as in WaveNet.

    (van den Oord et al., 2016.) Over a causal sequence these are its gated dilated causal convolutions. The one that
    follows the gate has a kernel here, where WaveNet's has a point, so that it sees as far as the others.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, layout: Layout) -> None:
        super().__init__()
        self.both = ConvNorm(in_channels, 2 * out_channels, kernel_size, layout)
        self.second = ConvNorm(out_channels, out_channels, kernel_size, layout)
        self.shortcut = ConvNorm(in_channels, out_channels, 1, layout) if in_channels != out_channels else None

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        signal, gate = self.both(x, mask).chunk(2, dim=1)
        y = self.second(torch.tanh(signal) * torch.sigmoid(gate), mask)
        return F.relu_(y + (x if self.shortcut is None else self.shortcut(x, mask)))
