"""What besides files decides about the bytes of a result: Python, installed packages, processor. Looked up quickly."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

# Instructions by which libraries choose how they compute; another choice rounds differently.
INSTRUCTIONS = ("avx", "avx2", "fma", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16", "asimd", "bf16", "sve")
PYTHON, MACHINE, CAPABILITY, GPU = "pipeline.python", "pipeline.machine", "pipeline.capability", "pipeline.gpu"


def machine_tags() -> dict[str, str]:
    """Tags of the Python and the machine that this process runs on."""
    model, flags = _processor(Path("/proc/cpuinfo"))
    instructions = " ".join(name for name in INSTRUCTIONS if name in flags)
    tags = {
        PYTHON: platform.python_version(),
        MACHINE: ", ".join(part for part in (platform.system(), platform.machine(), model, instructions) if part),
        CAPABILITY: _capability(flags),
    }
    graphics = _graphics(Path("/proc/driver/nvidia/gpus"))
    return {**tags, GPU: graphics} if graphics else tags


def machine_in_words() -> str:
    """Such as: Linux, x86_64, AMD EPYC 9B45, 2 processors with bf16, on which times depend much."""
    words = machine_tags()[MACHINE]
    system = words.split(", ")[:3]  # what follows are its instructions
    return ", ".join([*system, f"{os.cpu_count()} processors {'with' if 'bf16' in words else 'without'} bf16"])


def installed() -> dict[str, str]:
    """Package → version. Without local parts such as +cpu, which name a build that no public index has."""
    versions = {entry.name.lower(): entry.version.partition("+")[0] for entry in importlib.metadata.distributions()}
    return dict(sorted(versions.items()))


def requirements_text(packages: dict[str, str]) -> str:
    return "".join(f"{name}=={version}\n" for name, version in packages.items())


def packages_of(text: str) -> dict[str, str]:
    """Returns what `requirements_text` has written."""
    return dict(line.split("==", 1) for line in text.splitlines() if "==" in line)


def _processor(file: Path) -> tuple[str, set[str]]:
    """(model, instructions) of the first processor; other systems than Linux tell the model alone."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").split("\n\n")[0].split("\n")
    except OSError:
        return platform.processor(), set()
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return facts.get("model name", ""), set((facts.get("flags") or facts.get("Features") or "").split())


def _capability(flags: set[str]) -> str:
    """The set of kernels that PyTorch takes on such a processor; asking PyTorch itself would cost its import."""
    wanted = os.environ.get("ATEN_CPU_CAPABILITY", "").upper()
    if {"avx512f", "avx512bw", "avx512dq", "avx512vl", "fma"} <= flags:
        best = "AVX512"
    else:
        best = "AVX2" if {"avx2", "fma"} <= flags else "DEFAULT"
    return wanted or best


def _graphics(folder: Path) -> str:
    """The models of NVIDIA's graphics processors, as their driver tells them."""
    models = []
    for file in sorted(folder.glob("*/information")):
        lines = [line.partition(":") for line in file.read_text(encoding="utf-8", errors="replace").splitlines()]
        models += [value.strip() for name, _, value in lines if name.strip() == "Model"]
    return ", ".join(models)
