"""Checks that a stage reads what the stage before it wrote, byte for byte.

DVC does not look: it takes a write-protected file of its cache for whole, copies it out, and remembers the MD5 that it
should have. A bit that the disk has lost would reach the registry unseen.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.params import Params
from pipeline.tracking.dvc_lock import LockedOutput, cached, locked_outputs, md5_of


def inputs_of(stage: str, name: str | None, params: Params) -> list[Path]:
    """Lists files and folders that a stage reads; nothing for a name that params.yaml does not have."""
    if stage == "prepare" and name in params.experiments:
        return [Path(params.experiments[name].data.path)]
    if stage in ("tune", "train") and name in params.candidates:
        experiment = params.candidates[name].experiment
        inputs = [Path("data/prepared", experiment)]
        return inputs if stage == "tune" else [*inputs, Path("search", experiment, name)]
    if stage == "evaluate" and name in params.experiments:
        return [Path("data/prepared", name), *_of_candidates("models", name, params)]
    if stage == "register":
        chosen = [name] if name else list(params.experiments)
        return [path for experiment in chosen for path in _registered(experiment, params)]
    return []


def check_inputs(inputs: Iterable[Path], root: Path = Path()) -> None:
    """Raises ValueError where a file is not the one that dvc.lock names; files that are not there are not looked at."""
    wanted = set(inputs)
    for output in locked_outputs(root):
        path = Path(output.path)
        is_read = not wanted.isdisjoint((path, *path.parents))
        if is_read and output.of_bytes and (root / path).exists():
            for file, expected in _files(root, output):
                if md5_of(root / file) != expected:
                    raise ValueError(_damaged(root, output.stage, file, expected))


def _registered(experiment: str, params: Params) -> list[Path]:
    if experiment not in params.experiments:
        return []
    folders = [*_of_candidates("search", experiment, params), *_of_candidates("models", experiment, params)]
    return [*folders, Path("data/prepared", experiment), Path("evaluation", experiment), Path("metrics")]


def _of_candidates(folder: str, experiment: str, params: Params) -> list[Path]:
    return [Path(folder, experiment, candidate) for candidate in params.experiments[experiment].candidates]


def _files(root: Path, output: LockedOutput) -> Iterator[tuple[Path, str]]:
    """Yields (file, MD5) of an output; those of a folder are in DVC's cache, and are unknown without it."""
    path = Path(output.path)
    if not output.md5.endswith(".dir"):
        yield path, output.md5
        return
    try:
        listed = json.loads(cached(root, output.md5).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    for entry in listed:
        if (root / path / entry["relpath"]).is_file():
            yield path / entry["relpath"], entry["md5"]


def _damaged(root: Path, stage: str, file: Path, expected: str) -> str:
    copies = [file, *(path for path in [cached(root, expected)] if path.exists())]
    return (
        f"{file} is not what {stage} wrote (dvc.lock: MD5 {expected}): it was damaged on the disk or in DVC's cache, "
        f"or changed by hand. To make it anew: `rm -f {' '.join(_shown(root, path) for path in copies)}`, "
        f"then `dvc repro {stage}`, then `dvc repro`"
    )


def _shown(root: Path, path: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()
