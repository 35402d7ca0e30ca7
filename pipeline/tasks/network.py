"""A network out of its description, with random or with stored weights."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.data.folders import damaged, read_json
from pipeline.models import load_family
from pipeline.models.encoder import Encoder
from pipeline.tasks import load_task
from pipeline.tasks.task import Card, Task


def keyword_names(function: Any) -> list[str]:
    """The names of a function's keyword-only arguments: its parameters in params.yaml."""
    parameters = inspect.signature(function).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]


def build_network(task: Task, family: str, card: Card, parameters: Mapping[str, Any]) -> nn.Module:
    """The task's head on an encoder of the family. Raises ValueError for parameters out of range."""
    encoder_type: Any = load_family(family)
    chosen = {name: parameters[name] for name in keyword_names(encoder_type.__init__)}

    def encoders(channels: int, *, causal: bool = False) -> Encoder:
        found: Encoder = encoder_type(channels, task.dimensions, causal, **chosen)
        return found

    return task.network(encoders, card, **{name: parameters[name] for name in keyword_names(task.network)})


def load_network(folder: Path) -> tuple[Task, nn.Module, dict[str, Any], dict[str, Any]]:
    """(task, network in evaluation mode, card, model.json) of a folder with model.json and model.safetensors.

    Raises ValueError that names the file where one of them is missing or damaged.
    """
    description = read_json(folder / "model.json")
    task = load_task(description["task"], description["settings"])
    network = build_network(task, description["family"], description["card"], description["parameters"])
    network.load_state_dict(load_weights(folder / "model.safetensors"))
    return task, network.eval(), description["card"], description


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """Tensors by name. Raises ValueError that names the file where it is missing or damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except FileNotFoundError:
        raise ValueError(f"{path} is missing; run `dvc repro` (or `dvc pull`) first, which makes it") from None
    except SafetensorError as error:
        raise damaged(path, error) from None
