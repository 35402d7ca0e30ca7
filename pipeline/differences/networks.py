"""Networks of the ten differences: the pipeline's own encoders, with one and the same linear head."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pipeline.models import load_family, size
from pipeline.models.kernels import settle_kernels
from pipeline.models.size import parameter_count as parameter_count  # offered here, too

Design = Mapping[str, Any]  # `family`, its hyperparameters, and for the rnn `initialisation`: ours (or none) | torch
RECURRENT = ("rnn", "lstm", "gru")


def cnn(architecture: str, *, width: int, depth: int, kernel_size: int) -> dict[str, Any]:
    """Describes a convolutional network."""
    sizes = {"width": width, "depth": depth, "kernel_size": kernel_size}
    return {"family": "cnn", "architecture": architecture, **sizes, "dropout": 0.0}


def rnn(
    architecture: str, *, hidden: int, layers: int = 1, patch: int = 1, forget_bias: float = 1.0,
    initialisation: Literal["ours", "torch"] = "ours",
) -> dict[str, Any]:  # fmt: skip
    """Describes a recurrent network; `initialisation` torch keeps the weights and biases of PyTorch's own draw."""
    sizes = {"hidden": hidden, "layers": layers, "patch": patch, "dropout": 0.0, "forget_bias": forget_bias}
    return {"family": "rnn", "architecture": architecture, **sizes, "initialisation": initialisation}


class Reader(nn.Module):
    """An encoder and a linear head.

    Args:
        design: see `cnn` and `rnn`.
        in_channels: C of the input (B, C, T) or (B, C, H, W).
        outputs: K of the answer.
        dimensions: 1 for sequences, 2 for grids.
        causal: whether features see no later position.
        read: "last" answers (B, K) from the last step; "each" answers (B, K, T) at every step; "mean" answers (B, K)
            from the mean over all positions.
    """

    def __init__(
        self, design: Design, in_channels: int, outputs: int, *, dimensions: int = 1, causal: bool = True,
        read: Literal["last", "each", "mean"] = "last",
    ) -> None:  # fmt: skip
        super().__init__()
        settle_kernels()
        sizes = {name: value for name, value in design.items() if name not in ("family", "initialisation")}
        encoder: Any = load_family(str(design["family"]))
        self.encoder = encoder(in_channels, dimensions, causal, **sizes)
        self.read = read
        self.head = nn.Linear(self.encoder.out_channels, outputs)
        if design.get("initialisation") == "torch":
            for module in self.encoder.modules():
                if isinstance(module, nn.RNNBase):
                    module.reset_parameters()

    def features(self, x: Tensor) -> Tensor:
        """Returns (B, F, T) or (B, F, H', W')."""
        features: Tensor = self.encoder(x)
        return features

    def forward(self, x: Tensor) -> Tensor:
        features = self.features(x)
        if self.read == "each":
            answers: Tensor = self.head(features.transpose(1, 2)).transpose(1, 2)
            return answers
        answer: Tensor = self.head(features[..., -1] if self.read == "last" else features.flatten(2).mean(2))
        return answer


def made(seed: int, design: Design, in_channels: int, outputs: int, **options: Any) -> Reader:
    """Makes a network whose weights follow from the seed alone; leaves torch's global random stream as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Reader(design, in_channels, outputs, **options)


def field(design: Design) -> int | None:
    """Counts the steps of a sequence that a feature sees; None for a recurrent network, which sees all before it."""
    if design["family"] == "rnn":
        return None
    kernel, depth = int(design["kernel_size"]), int(design["depth"])
    return int(1 + (kernel - 1) * (2 ** (depth + 1) - 1))


def told(design: Design, length: int) -> str:
    """Describes what a network was told about the length of its sequences."""
    seen = field(design)
    if seen is not None:
        return f"receptive field {seen} of T = {length}"
    if design.get("initialisation") == "torch":
        return "nothing (PyTorch's initialisation)"
    bias = f", forget bias {design['forget_bias']:g}" if design["architecture"] == "lstm" else ""
    return f"nothing (orthogonal recurrent weights{bias})"


def multiply_adds(network: nn.Module, example: Tensor) -> int:
    """Counts the multiply-adds of one example (1, C, …)."""
    return size.multiply_adds(lambda: network(example))


def sizes(network: nn.Module, example: Tensor) -> dict[str, int]:
    """Returns both matchings of a network for one example (1, C, …)."""
    return {"parameters": parameter_count(network), "multiply_adds": multiply_adds(network, example)}


def matched(
    design: Callable[[int], Design], target: int, in_channels: int, outputs: int, *, example: Tensor | None = None,
    highest: int = 512, **options: Any,
) -> Design:  # fmt: skip
    """Finds the design whose size is nearest to `target`, by the width or the hidden size that `design` takes.

    The size is the number of parameters, or with an `example` (1, C, …) that of multiply-adds. It grows with the
    width, so that halving finds it.
    """

    def size_at(width: int) -> int:
        network = made(0, design(width), in_channels, outputs, **options)
        return parameter_count(network) if example is None else multiply_adds(network, example)

    low = 16 if design(16)["family"] == "cnn" else 4
    high = highest
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size_at(middle) <= target else (low, middle)
    return design(min((low, high), key=lambda width: abs(size_at(width) - target)))


def state_bytes(design: Design, in_channels: int) -> int:
    """Counts the bytes that a causal network has to keep of the past to answer step by step, as float32.

    A recurrent cell keeps its state, an LSTM two; a convolution keeps the inputs that its kernel still reaches.
    """
    if design["family"] == "rnn":
        states = 2 if design["architecture"] == "lstm" else 1
        return 4 * states * int(design["hidden"]) * int(design["layers"])
    width, depth, reach = int(design["width"]), int(design["depth"]), int(design["kernel_size"]) - 1
    kept = in_channels + 2 * width * (2**depth - 1)  # two convolutions a level, whose dilation is 1, 2, 4, …
    return int(4 * reach * kept)
