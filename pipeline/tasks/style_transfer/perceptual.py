"""The perceptual network of style transfer: a plain stack of convolutions with its weights, from one of three sources.

Whatever the source, it becomes the same thing: kernels, biases and the places of the pooling between them. Batch norms
are folded into the kernels before them. Features are called as in the literature: relu3_1 is what comes out of the
first convolution after the second pooling.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.files.atomic import read_json
from pipeline.models.presets import preset
from pipeline.models.weights import load_trunk, read_weights

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])  # mean and deviation of colours from 0 to 1, red to blue
GREY = (0.299, 0.587, 0.114)  # what red, green and blue count in a grey picture (ITU-R 601)
CARD = {"channels", "mean", "deviation"}  # what is needed of the card of a classifier
EPSILON = 1e-5  # of PyTorch's batch norm


@dataclass(frozen=True)
class Layer:
    """One convolution and the ReLU behind it."""

    name: str  # of what comes out
    pooled: bool  # whether its input is halved
    weight: Tensor
    bias: Tensor


@dataclass(frozen=True)
class Stack:
    """The convolutions in order, and the mean and deviation of colours (from 0 to 1) that the first one expects."""

    layers: list[Layer]
    mean: list[float]
    deviation: list[float]


def perceptual_stack(source: Path | None, layers: Sequence[str], seed: int) -> Stack:
    """Returns as many convolutions as the named layers need.

    Without a source the trunk of VGG-16 with random weights, drawn by the seed (He, Wang and Hopcroft, 2016, "A
    powerful generative model using random weights for the deep image representation"). Raises ValueError for a file or
    folder that holds no such network, and for a name that it does not have.
    """
    if source is None:
        stack = _untrained(seed)
    elif source.is_dir():
        stack = _of_classifier(source)
    else:
        trunk = preset("vgg16")
        load_trunk(trunk, read_weights(source), source)
        stack = _of_vgg16(trunk.state_dict(), *IMAGENET)
    names = [layer.name for layer in stack.layers]
    unknown = [name for name in layers if name not in names]
    if unknown:
        raise ValueError(f"settings: found the layer {unknown[0]!r}; the perceptual network has {', '.join(names)}")
    return Stack(stack.layers[: 1 + max(names.index(name) for name in layers)], stack.mean, stack.deviation)


def _untrained(seed: int) -> Stack:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _of_vgg16(preset("vgg16").state_dict(), *IMAGENET)


def _of_vgg16(weights: Mapping[str, Tensor], mean: list[float], deviation: list[float]) -> Stack:
    places = sorted({int(name.split(".")[1]) for name in weights if name.startswith("features.")})
    kernels = [(weights[f"features.{place}.weight"], weights[f"features.{place}.bias"]) for place in places]
    pooled = [
        after - before == 3 for before, after in zip([0, *places], places, strict=False)
    ]  # a pooling between them
    return Stack(list(_named(kernels, pooled)), mean, deviation)


def _of_classifier(folder: Path) -> Stack:
    """Reads the trunk of an image classifier that this pipeline trained, such as a champion: vgg blocks or vgg16."""
    description, file = read_json(folder / "model.json"), folder / "model.safetensors"
    parameters, card = description.get("parameters"), description.get("card")
    if not (isinstance(parameters, Mapping) and isinstance(card, Mapping) and card.keys() >= CARD):
        raise ValueError(f"{folder / 'model.json'}: has no parameters and card; name the folder of a trained model")
    weights = read_weights(file)
    architecture = str(parameters.get("architecture"))
    if description.get("task") != "image_classification" or architecture not in ("vgg", "vgg16"):
        raise ValueError(
            f"{folder}: found a model of the task {description.get('task')} and the architecture {architecture}; a "
            "perceptual network can be one of image_classification with the architecture vgg or vgg16"
        )
    try:
        if architecture == "vgg16":
            trunk = {name.removeprefix("encoder."): value for name, value in weights.items()}
            stack = _of_vgg16(trunk, card["mean"], card["deviation"])
        else:
            stack = _of_blocks(weights, card["mean"], card["deviation"])
    except KeyError as error:
        raise ValueError(f"{file}: has no tensor {error}; it does not belong to {folder / 'model.json'}") from None
    return stack if card["channels"] == 3 else _for_colours(stack)


def _of_blocks(weights: Mapping[str, Tensor], mean: list[float], deviation: list[float]) -> Stack:
    """Reads a stem and levels of two convolutions each, with a pooling before every level."""
    depth = len({name.split(".")[2] for name in weights if name.startswith("encoder.levels.")})
    units = ["stem", *(f"levels.{level}.{unit}" for level in range(depth) for unit in ("first", "second"))]
    kernels = [_folded(weights, f"encoder.{unit}") for unit in units]
    if kernels[0][0].shape[2] % 2 == 0:
        raise ValueError(f"the classifier has a kernel_size of {kernels[0][0].shape[2]}; an odd one is needed")
    return Stack(list(_named(kernels, [unit.endswith("first") for unit in units])), mean, deviation)


def _folded(weights: Mapping[str, Tensor], unit: str) -> tuple[Tensor, Tensor]:
    """Returns kernels and biases that do what a convolution and its batch norm do."""
    kernels = weights[f"{unit}.convolution.kernels.weight"]
    norm = {part: weights[f"{unit}.norm.{part}"] for part in ("weight", "bias", "running_mean", "running_var")}
    scale = norm["weight"] / (norm["running_var"] + EPSILON).sqrt()
    return kernels * scale[:, None, None, None], norm["bias"] - norm["running_mean"] * scale


def _named(kernels: Sequence[tuple[Tensor, Tensor]], pooled: Sequence[bool]) -> Iterator[Layer]:
    block, number = 1, 0
    for (weight, bias), halved in zip(kernels, pooled, strict=True):
        block, number = (block + 1, 1) if halved else (block, number + 1)
        yield Layer(f"relu{block}_{number}", halved, weight.contiguous(), bias.contiguous())


def _for_colours(stack: Stack) -> Stack:
    """Makes a network for grey pictures see the grey values of coloured ones."""
    first, *remaining = stack.layers
    weight = first.weight * torch.tensor(GREY).view(1, 3, 1, 1)
    layers = [Layer(first.name, first.pooled, weight, first.bias), *remaining]
    return Stack(layers, stack.mean * 3, stack.deviation * 3)


def as_tables(stack: Stack) -> dict[str, np.ndarray]:
    """Returns weights by names that tables can hold."""
    return {
        f"perceptual.{number}.{part}": getattr(layer, part).numpy()
        for number, layer in enumerate(stack.layers)
        for part in ("weight", "bias")
    }
