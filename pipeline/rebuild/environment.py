"""What has changed around the files since a run: Python, installed packages, machine. It explains other results."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.tracking.machine import CAPABILITY, GPU, MACHINE, PYTHON, installed, machine_tags, packages_of

WORDS = {PYTHON: "Python", MACHINE: "machine", CAPABILITY: "kernels of PyTorch", GPU: "graphics processor"}
DECISIVE = ("torch", "pytorch-lightning", "numpy", "safetensors")  # they compute the weights
SHOWN = 6


def changes(tags: Mapping[str, str], requirements: str | None) -> list[str]:
    """Returns what is different now from what a run has recorded, the decisive first."""
    if MACHINE not in tags and requirements is None:
        return ["the run has not recorded its Python, packages and machine"]
    now = machine_tags()
    machine = [
        f"{word} {now.get(name, 'none')} instead of {tags.get(name, 'none')}"
        for name, word in WORDS.items()
        if (name in tags or name == GPU) and now.get(name) != tags.get(name)
    ]
    packages = _changed_packages(installed(), packages_of(requirements or ""))
    return [*packages[0], *machine, *packages[1]]


def _changed_packages(now: Mapping[str, str], then: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """(decisive, others) among the packages that a run has seen in another version than this process."""
    changed = {name: version for name, version in then.items() if now.get(name) != version}
    decisive = [_told(name, now, changed) for name in DECISIVE if name in changed]
    minor = [_told(name, now, changed) for name in changed if name not in DECISIVE]
    if len(minor) > SHOWN:
        minor = [*minor[:SHOWN], f"{len(minor) - SHOWN} more packages"]
    return decisive, minor


def _told(name: str, now: Mapping[str, str], then: Mapping[str, str]) -> str:
    return f"{name} {now.get(name, 'missing')} instead of {then[name]}"
