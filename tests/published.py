"""State dicts with the names and shapes that torchvision publishes, written down apart from the code under test."""

from __future__ import annotations

import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]


def norm(name: str, channels: int) -> Shapes:
    own = {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}
    return {**own, f"{name}.num_batches_tracked": ()}


def linear(name: str, before: int, after: int) -> Shapes:
    return {f"{name}.weight": (after, before), f"{name}.bias": (after,)}


def vgg16() -> Shapes:
    found: Shapes = {}
    before = 3
    places = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    for place, after in zip(places, (64, 64, 128, 128, 256, 256, 256, *[512] * 6), strict=True):
        found |= {f"features.{place}.weight": (after, before, 3, 3), f"features.{place}.bias": (after,)}
        before = after
    return found | linear("classifier.0", 25088, 4096) | linear("classifier.3", 4096, 4096) | linear(
        "classifier.6", 4096, 1000
    )  # fmt: skip


def resnet(repeats: tuple[int, ...], bottleneck: bool) -> Shapes:
    found: Shapes = {"conv1.weight": (64, 3, 7, 7), **norm("bn1", 64)}
    before = 64
    for stage, (count, width) in enumerate(zip(repeats, (64, 128, 256, 512), strict=True), start=1):
        after = 4 * width if bottleneck else width
        for block in range(count):
            name = f"layer{stage}.{block}"
            sizes = [(before, width, 1), (width, width, 3), (width, after, 1)] if bottleneck else [
                (before, width, 3), (width, width, 3)
            ]  # fmt: skip
            for number, (inputs, outputs, side) in enumerate(sizes, start=1):
                found[f"{name}.conv{number}.weight"] = (outputs, inputs, side, side)
                found |= norm(f"{name}.bn{number}", outputs)
            if block == 0 and (bottleneck or stage > 1):
                found[f"{name}.downsample.0.weight"] = (after, before, 1, 1)
                found |= norm(f"{name}.downsample.1", after)
            before = after
    return found | linear("fc", before, 1000)


def googlenet() -> Shapes:
    def unit(name: str, before: int, after: int, side: int) -> Shapes:
        return {f"{name}.conv.weight": (after, before, side, side), **norm(f"{name}.bn", after)}

    found = unit("conv1", 3, 64, 7) | unit("conv2", 64, 64, 1) | unit("conv3", 64, 192, 3)
    for name, before, one, two_in, two, three_in, three, four in (
        ("3a", 192, 64, 96, 128, 16, 32, 32), ("3b", 256, 128, 128, 192, 32, 96, 64),
        ("4a", 480, 192, 96, 208, 16, 48, 64), ("4b", 512, 160, 112, 224, 24, 64, 64),
        ("4c", 512, 128, 128, 256, 24, 64, 64), ("4d", 512, 112, 144, 288, 32, 64, 64),
        ("4e", 528, 256, 160, 320, 32, 128, 128), ("5a", 832, 256, 160, 320, 32, 128, 128),
        ("5b", 832, 384, 192, 384, 48, 128, 128),
    ):  # fmt: skip
        block = f"inception{name}"
        found |= unit(f"{block}.branch1", before, one, 1)
        found |= unit(f"{block}.branch2.0", before, two_in, 1) | unit(f"{block}.branch2.1", two_in, two, 3)
        found |= unit(f"{block}.branch3.0", before, three_in, 1) | unit(f"{block}.branch3.1", three_in, three, 3)
        found |= unit(f"{block}.branch4.1", before, four, 1)
    for name, before in (("aux1", 512), ("aux2", 528)):
        found |= unit(f"{name}.conv", before, 128, 1)
        found |= linear(f"{name}.fc1", 2048, 1024) | linear(f"{name}.fc2", 1024, 1000)
    return found | linear("fc", 1024, 1000)


PUBLISHED = {
    "vgg16": vgg16(),
    "googlenet": googlenet(),
    "resnet18": resnet((2, 2, 2, 2), bottleneck=False),
    "resnet50": resnet((3, 4, 6, 3), bottleneck=True),
}


def state_dict(name: str, heads: bool = False, seed: int = 0) -> dict[str, Tensor]:
    """Random tensors; the heads, which are large, by default without memory of their own."""
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, Tensor] = {}
    for key, shape in PUBLISHED[name].items():
        if key.startswith(("classifier.", "fc.", "aux")) and not heads:
            found[key] = torch.zeros(1)
        elif key.endswith("num_batches_tracked"):
            found[key] = torch.tensor(7)
        elif key.endswith("running_var"):
            found[key] = torch.rand(shape, generator=generator) + 0.5
        else:
            scale = (2 / max(1, torch.Size(shape[1:]).numel())) ** 0.5 if len(shape) > 1 else 0.1
            found[key] = scale * torch.randn(shape, generator=generator) + (len(shape) == 1 and "weight" in key)
    return found
