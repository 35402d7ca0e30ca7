"""Published trunks without their classifiers, reproduced to the parameter; for grids only.

Layers are called as in torchvision, so that weights published in that form can be loaded by name
(``weights.load_trunk``). Such weights expect colours from 0 to 1, less the mean and divided by the deviation of
ImageNet's; those of googlenet expect colours from -1 to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.models.encoder import choose
from pipeline.models.weights import initialise


class Trunk(nn.Module):
    """A published network up to its last feature map: (B, in_channels, H, W) to (B, out_channels, H / 32, W / 32).

    Pictures of other sizes than multiples of 32 are filled up with zeros on the right and below.
    """

    stride = 32
    raster = None
    out_channels: int

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Computes the last feature map; `lengths` is there for the common interface, a grid has none."""
        height, width = x.shape[2:]
        if height % self.stride or width % self.stride:
            x = F.pad(x, (0, -width % self.stride, 0, -height % self.stride))
        for layer in self.children():
            x = layer(x)
        return x


class VGG16(Trunk):
    """Configuration D of Simonyan and Zisserman (2015), without batch norm. ``features`` indexes every layer."""

    out_channels = 512

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = in_channels
        for width, repeats in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
            for _ in range(repeats):
                layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU(inplace=True)]
                before = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)


class NormalisedConvolution(nn.Module):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, size: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, size, stride, padding=size // 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu_(self.bn(self.conv(x)))


class InceptionModule(nn.Module):
    """Four parallel branches; the third has a kernel of 3 where the paper has 5."""

    def __init__(
        self, in_channels: int, point: int, single: tuple[int, int], double: tuple[int, int], pooled: int
    ) -> None:
        super().__init__()
        unit = NormalisedConvolution
        self.branch1 = unit(in_channels, point, 1)
        self.branch2 = nn.Sequential(unit(in_channels, single[0], 1), unit(*single, 3))
        self.branch3 = nn.Sequential(unit(in_channels, double[0], 1), unit(*double, 3))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), unit(in_channels, pooled, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.children()], dim=1)


class GoogLeNet(Trunk):
    """Szegedy et al. (2015) in torchvision's form: batch norm, kernels of 3 for those of 5, no auxiliary heads."""

    out_channels = 1024

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        unit, inception = NormalisedConvolution, InceptionModule
        self.conv1 = unit(in_channels, 64, 7, stride=2)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.conv2 = unit(64, 64, 1)
        self.conv3 = unit(64, 192, 3)
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception3a = inception(192, 64, (96, 128), (16, 32), 32)
        self.inception3b = inception(256, 128, (128, 192), (32, 96), 64)
        self.maxpool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception4a = inception(480, 192, (96, 208), (16, 48), 64)
        self.inception4b = inception(512, 160, (112, 224), (24, 64), 64)
        self.inception4c = inception(512, 128, (128, 256), (24, 64), 64)
        self.inception4d = inception(512, 112, (144, 288), (32, 64), 64)
        self.inception4e = inception(528, 256, (160, 320), (32, 128), 128)
        self.maxpool4 = nn.MaxPool2d(2, stride=2, ceil_mode=True)
        self.inception5a = inception(832, 256, (160, 320), (32, 128), 128)
        self.inception5b = inception(832, 384, (192, 384), (48, 128), 128)


class ResidualBlock(nn.Module):
    """A chain of convolutions with batch norm and a shortcut: two of size 3, or 1-3-1 in the bottleneck form."""

    def __init__(self, in_channels: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        out_channels = 4 * width if bottleneck else width
        # (input, output, size, stride); the bottleneck strides in its middle, as torchvision does (ResNet v1.5)
        plan = (
            [(in_channels, width, 1, 1), (width, width, 3, stride), (width, out_channels, 1, 1)]
            if bottleneck
            else [(in_channels, width, 3, stride), (width, width, 3, 1)]
        )
        for number, (before, after, size, step) in enumerate(plan, start=1):
            convolution = nn.Conv2d(before, after, size, step, padding=size // 2, bias=False)
            self.add_module(f"conv{number}", convolution)
            self.add_module(f"bn{number}", nn.BatchNorm2d(after))
        self.count = len(plan)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or in_channels != out_channels:
            projection = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for number in range(1, self.count + 1):
            y = self.get_submodule(f"bn{number}")(self.get_submodule(f"conv{number}")(y))
            if number < self.count:
                y = F.relu_(y)
        return F.relu_(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(Trunk):
    """He et al. (2016): a stem and four stages of blocks."""

    def __init__(self, in_channels: int, repeats: tuple[int, int, int, int], bottleneck: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        before = 64
        for stage, count in enumerate(repeats):
            width = 64 * 2**stage
            blocks: list[nn.Module] = []
            for number in range(count):
                stride = 2 if stage > 0 and number == 0 else 1
                blocks.append(ResidualBlock(before, width, stride, bottleneck))
                before = 4 * width if bottleneck else width
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.out_channels = before


class ResNet18(ResNet):
    """He et al. (2016) with 18 layers: blocks of two convolutions."""

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels, (2, 2, 2, 2), bottleneck=False)


class ResNet50(ResNet):
    """He et al. (2016) with 50 layers: blocks of three convolutions, the middle one narrow."""

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels, (3, 4, 6, 3), bottleneck=True)


PRESETS: Mapping[str, Callable[[int], Trunk]] = {
    "vgg16": VGG16,
    "googlenet": GoogLeNet,
    "resnet18": ResNet18,
    "resnet50": ResNet50,
}


def preset(name: str, in_channels: int = 3) -> Trunk:
    """Makes a published trunk with new random weights. Raises ValueError for an unknown name."""
    trunk = choose(name, PRESETS, "preset")(in_channels)
    trunk.apply(initialise)
    return trunk
