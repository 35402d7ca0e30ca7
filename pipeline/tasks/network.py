"""A network out of its description, with random or with stored weights."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.data.tables import Card
from pipeline.files.atomic import damaged, read_json
from pipeline.files.digests import file_digest
from pipeline.models import load_family
from pipeline.models.encoder import Encoder, choose, trimmed
from pipeline.models.kernels import settle_kernels
from pipeline.models.presets import Trunk, preset
from pipeline.models.weights import load_trunk, read_weights
from pipeline.tasks import load_task
from pipeline.tasks.task import Task


def keyword_names(function: Any) -> list[str]:
    """Returns the names of a function's keyword-only arguments: its parameters in params.yaml."""
    parameters = inspect.signature(function).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]


def build_network(task: Task, family: str, card: Card, parameters: Mapping[str, Any]) -> nn.Module:
    """Puts the task's head on an encoder of the family. Raises ValueError for parameters out of range.

    A published trunk has a width and a depth of its own, and takes no notice of the family's other parameters. Whatever
    computes with a network builds one first, so the kernels of this process are settled here.
    """
    settle_kernels()
    encoder_type: Any = load_family(family)
    chosen = {name: parameters[name] for name in keyword_names(encoder_type.__init__)}

    def encoders(channels: int, *, causal: bool = False) -> Encoder:
        if chosen["architecture"] in encoder_type.PRESETS:
            if task.dimensions != 2 or causal:
                choose(chosen["architecture"], encoder_type.ARCHITECTURES, f"architecture of the family {family}")
            made: Any = preset(encoder_type.PRESETS[chosen["architecture"]], channels)
        else:
            made = encoder_type(channels, task.dimensions, causal, **chosen)
        encoder: Encoder = made
        return encoder

    return task.network(encoders, card, **{name: parameters[name] for name in keyword_names(task.network)})


def by_length(network: nn.Module, x: Tensor, lengths: Tensor, steps: int) -> Tensor:
    """Returns the answers (N, …) of a network to sequences (N, …, T) with lengths (N,), about so many steps at once.

    Sequences of similar length go together, so that long ones do not make short ones long.
    """
    order = lengths.argsort(stable=True)
    batches = torch.split(order, max(steps // x.shape[-1], 1))
    return torch.cat([network(*trimmed(x[rows], lengths[rows])) for rows in batches])[order.argsort()]


def start_from(network: nn.Module, weights: Mapping[str, str]) -> None:
    """Gives the published trunks of a new network the weights of a file.

    `weights` holds the `file` and its `sha256`, which makes what follows a function of the parameters. Raises
    ValueError for a file that is missing, damaged or another one, and where the network has no such trunk.
    """
    file = Path(weights["file"])
    trunks = [module for module in network.modules() if isinstance(module, Trunk)]
    if not trunks:
        raise ValueError(f"weights: found {file}, but the architecture is no published trunk; remove `weights`")
    tensors = read_weights(file)
    digest = file_digest(file)
    if digest != weights["sha256"]:
        raise ValueError(f"{file}: found SHA-256 {digest}; params.yaml asks for {weights['sha256']}")
    for trunk in trunks:
        load_trunk(trunk, tensors, file)


def load_network(folder: Path) -> tuple[Task, nn.Module, dict[str, Any], dict[str, Any]]:
    """Loads (task, network in evaluation mode, card, model.json) of a folder with model.json and model.safetensors.

    Raises ValueError that names the file where one of them is missing or damaged.
    """
    description = read_json(folder / "model.json")
    task = load_task(description["task"], description["settings"])
    network = build_network(task, description["family"], description["card"], description["parameters"])
    network.load_state_dict(load_weights(folder / "model.safetensors"))
    return task, network.eval(), description["card"], description


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """Loads tensors by name. Raises ValueError that names the file where it is missing or damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except FileNotFoundError:
        raise ValueError(f"{path} is missing; run `dvc repro` (or `dvc pull`) first, which makes it") from None
    except SafetensorError as error:
        raise damaged(path, error) from None
