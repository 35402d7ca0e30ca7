"""Sources of the weights of a network: drawn at random, or read from a file in torchvision's published form."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

HEADS = ("classifier.", "fc.", "aux1.", "aux2.")  # what a published network has behind or next to its trunk
COUNTER = "num_batches_tracked"  # of a batch norm; files from before 2018 have none
NAMED = 4  # keys in a message, at most


def initialise(module: nn.Module) -> None:
    """Draws the weights of a convolution for the ReLU behind it (He et al., 2015)."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Reads tensors by name out of a file `.safetensors`, or of `.pth` or `.pt` as `torch.save` writes a state dict.

    Nothing but tensors is read: a file that would run code is refused. Raises ValueError that names the file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise ValueError(f"{path}: no such file; put the weights there, or correct the path")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, LookupError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{path}: not readable as weights ({reason[:160]}); allowed: .safetensors, or a state dict of tensors in a "
            ".pth that torch.load reads with weights_only=True"
        ) from None
    if not isinstance(weights, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in weights.items()
    ):
        kind = "something else beside tensors with names" if isinstance(weights, dict) else type(weights).__name__
        raise ValueError(f"{path}: found {kind}; allowed: a state dict, that is a dictionary of tensors by their names")
    return weights


def load_trunk(trunk: nn.Module, weights: Mapping[str, Tensor], source: str | Path) -> None:
    """Gives a trunk the published weights of the same names.

    Of the file only heads may be left over; of the trunk only counters of batches may be left without. A trunk for
    pictures of one channel gets the sum over the three published ones: what these see of a grey picture. Raises
    ValueError with `source` and the names that do not fit.
    """
    own = trunk.state_dict()
    strangers = [name for name in weights if name not in own and not name.startswith(HEADS)]
    missing = [name for name in own if name not in weights and not name.endswith(COUNTER)]
    if strangers or missing:
        faults = [f"{what} {_named(names)}" for what, names in (("lacks", missing), ("has", strangers)) if names]
        raise ValueError(
            f"{source}: these are not the weights of a {type(trunk).__name__} in torchvision's form: the file "
            + " and ".join(faults)
        )
    taken = {name: _for_channels(weights[name], own[name]) for name in own if name in weights}
    wrong = [name for name, value in taken.items() if value.shape != own[name].shape]
    if wrong:
        name = wrong[0]
        raise ValueError(
            f"{source}: {name} has the shape {list(taken[name].shape)}; {type(trunk).__name__} needs "
            f"{list(own[name].shape)}; the file belongs to another network"
        )
    bad = [name for name, value in taken.items() if value.is_floating_point() and not value.isfinite().all()]
    if bad:
        raise ValueError(f"{source}: {bad[0]} holds values that are no finite numbers; the file is damaged")
    trunk.load_state_dict({**own, **taken})


def _for_channels(published: Tensor, own: Tensor) -> Tensor:
    grey = published.ndim == 4 and published.shape[1] == 3 and own.shape[1:2] == (1,)
    return published.sum(1, keepdim=True) if grey else published


def _named(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
