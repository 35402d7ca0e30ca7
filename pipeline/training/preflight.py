"""What would spoil a long training at its end is looked for before it begins, in less than a second."""

from __future__ import annotations

import errno
import itertools
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import torch
from safetensors.torch import load_file, save_file

from pipeline.data.tables import read_table
from pipeline.tasks.network import build_network

if TYPE_CHECKING:
    from pipeline.params import Space
    from pipeline.training.facts import Subject

CHECKPOINTS = 3  # of every fit: the last two, and the one that is being written
COPIES = 4  # numbers a weight in a checkpoint: the weight, Adam's two moments, the moving average
NUMBER = 4  # bytes
SPARE = 32_000_000  # bytes for tables, pictures and journals


def check_before(subject: Subject, *, work: Path, target: Path, workers: int, address: str, kept: int) -> None:
    """Raises ValueError with one sentence where this candidate's training could not end well.

    `workers` fits run side by side, and the weights of `kept` are kept; `target` is the folder that the stage will
    write; `address` is MLflow's, which must be well-formed, but need not answer: tracking waits for nobody.
    """
    _check_address(address)
    for folder in (work, target.parent, Path("timings"), Path("reports")):
        check_writable(folder)
    needed = space_needed(subject, workers, kept)
    free = shutil.disk_usage(_existing(work)).free
    if free < needed:
        raise ValueError(
            f"{work}: found {free / 1e6:,.0f} MB free on its disk; {subject.name} needs about {needed / 1e6:,.0f} MB "
            "for checkpoints and outputs; free some, or lower workers, trials or repeats"
        )
    check_networks(subject)


def check_networks(subject: Subject) -> None:
    """Every kind of network that the search space names is built small, saved, loaded, and answers as before."""
    examples = subject.task.examples(read_table(subject.prepared, "validation"), subject.card)
    batch = {name: tensor[:2] for name, tensor in examples.items()}
    with torch.random.fork_rng(devices=[]), torch.inference_mode(), tempfile.TemporaryDirectory() as scratch:
        for parameters in smallest(subject.candidate.parameters):
            try:
                same = _survives(subject, parameters, batch, Path(scratch, "weights.safetensors"))
            except (RuntimeError, TypeError, KeyError, IndexError) as error:
                raise ValueError(_cannot(subject, parameters, str(error).strip().splitlines()[0])) from error
            if not same:
                raise ValueError(_cannot(subject, parameters, "it answers otherwise after it was saved and loaded"))


def space_needed(subject: Subject, workers: int, kept: int) -> int:
    """Bytes on the disk for the largest network of the search space: its checkpoints and what the stage keeps."""
    with torch.random.fork_rng(devices=[]):
        counts = [
            sum(weight.numel() for weight in _network(subject, parameters).parameters())
            for parameters in smallest(subject.candidate.parameters, largest=True)
        ]
    return max(counts) * NUMBER * (workers * CHECKPOINTS * COPIES + kept) + SPARE


def smallest(space: Mapping[str, Space], *, largest: bool = False) -> Iterator[dict[str, Any]]:
    """Parameters of the space: every combination of its words, each with the smallest (or largest) of its numbers."""
    choose = max if largest else min
    options: dict[str, list[Any]] = {}
    for name, entry in space.items():
        choices = getattr(entry, "choices", None)
        if choices is not None and all(isinstance(choice, int | float) for choice in choices):
            options[name] = [choose(choices)]
        elif choices is not None:
            options[name] = list(choices)
        else:
            options[name] = [getattr(entry, "high" if largest else "low", entry)]
    for values in itertools.product(*options.values()):
        yield dict(zip(options, values, strict=True))


def check_writable(folder: Path) -> None:
    """Raises ValueError where no file can be made in a folder, or in the one in which it would be made."""
    place = _existing(folder)
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".writable-"):
            pass
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        todo = "free some space" if full else f"make {place} a folder in which you may write"
        raise ValueError(
            f"{folder}: cannot be written ({error.strerror}); {todo} and start again. Nothing earlier was changed"
        ) from None


def _survives(subject: Subject, parameters: Mapping[str, Any], batch: dict[str, torch.Tensor], file: Path) -> bool:
    """Whether a network answers the same after it was written and read."""
    network, again = (_network(subject, parameters).eval() for _ in range(2))
    save_file(network.state_dict(), file)
    again.load_state_dict(load_file(file))
    return torch.equal(subject.task.output(network, batch), subject.task.output(again, batch))


def _network(subject: Subject, parameters: Mapping[str, Any]) -> torch.nn.Module:
    return build_network(subject.task, subject.candidate.family, subject.card, parameters)


def _cannot(subject: Subject, parameters: Mapping[str, Any], why: str) -> str:
    words = ", ".join(f"{name} {value}" for name, value in parameters.items() if isinstance(value, str))
    return f"candidates.{subject.name}: its smallest network{f' ({words})' if words else ''} cannot be trained: {why}"


def _check_address(address: str) -> None:
    """Raises ValueError for an address that no server can have. It is not printed: it may hold a password."""
    if address.startswith("sqlite:"):
        return
    try:
        parts = urlsplit(address)
        complete = bool(parts.scheme) and parts.port != 0  # asking for the port reads it
        complete = complete and bool(parts.hostname or not parts.scheme.startswith("http"))
    except ValueError:  # of a port that is no number
        complete = False
    if not complete:
        raise ValueError(
            "tracking.uri (or MLFLOW_TRACKING_URI): found an address without a host, or with a port that is no number; "
            "allowed: sqlite:///mlflow.db, http(s)://host:port, or a database such as postgresql://user@host/name"
        )


def _existing(folder: Path) -> Path:
    """The folder itself, or the nearest one above that exists."""
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())
