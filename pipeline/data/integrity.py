"""What a stage reads is what the stage before it wrote, byte for byte.

DVC does not look: it takes a write-protected file of its cache for whole, copies it out, and remembers the MD5 that it
should have. A bit that the disk has lost would reach the registry unseen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pipeline.data.transfer import chunks_of
from pipeline.params import Params


def inputs_of(stage: str, name: str | None, params: Params) -> list[Path]:
    """Files and folders that a stage reads; nothing for a name that params.yaml does not have."""
    if stage == "prepare" and name in params.experiments:
        return [Path(params.experiments[name].data.path)]
    if stage in ("tune", "train") and name in params.candidates:
        experiment = params.candidates[name].experiment
        found = [Path("data/prepared", experiment)]
        return found if stage == "tune" else [*found, Path("search", experiment, name)]
    if stage == "evaluate" and name in params.experiments:
        return [Path("data/prepared", name), *_of_candidates("models", name, params)]
    if stage == "register":
        chosen = [name] if name else list(params.experiments)
        return [path for experiment in chosen for path in _registered(experiment, params)]
    return []


def check_inputs(inputs: Iterable[Path], root: Path = Path()) -> None:
    """Raises ValueError where a file is not the one that dvc.lock names; files that are not there are not looked at."""
    wanted = list(inputs)
    for stage, path, md5 in _locked(root / "dvc.lock"):
        if (root / path).exists() and any(path == place or place in path.parents for place in wanted):
            for file, expected in _files(root, path, md5):
                if _md5(root / file) != expected:
                    raise ValueError(_damaged(root, stage, file, expected))


def _registered(experiment: str, params: Params) -> list[Path]:
    if experiment not in params.experiments:
        return []
    found = [*_of_candidates("search", experiment, params), *_of_candidates("models", experiment, params)]
    return [*found, Path("data/prepared", experiment), Path("evaluation", experiment), Path("metrics")]


def _of_candidates(folder: str, experiment: str, params: Params) -> list[Path]:
    return [Path(folder, experiment, candidate) for candidate in params.experiments[experiment].candidates]


def _locked(lock: Path) -> Iterator[tuple[str, Path, str]]:
    """(stage, path, MD5) of every output that dvc.lock knows; nothing where there is no readable one."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        document = YAML(typ="safe").load(lock.read_text(encoding="utf-8"))
    except (OSError, YAMLError):  # DVC itself complains about it
        return
    stages: dict[str, Any] = (document or {}).get("stages") or {}
    for stage, entry in stages.items():
        for out in entry.get("outs", []):
            if out.get("hash") == "md5":  # DVC 2 hashed texts in a way of its own
                yield stage, Path(out["path"]), out["md5"]


def _files(root: Path, path: Path, md5: str) -> Iterator[tuple[Path, str]]:
    """(file, MD5) of an output; those of a folder stand in DVC's cache, and without that nobody knows them."""
    if not md5.endswith(".dir"):
        yield path, md5
        return
    try:
        listed = json.loads((root / _cached(md5)).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    for entry in listed:
        if (root / path / entry["relpath"]).is_file():
            yield path / entry["relpath"], entry["md5"]


def _cached(md5: str) -> Path:
    return Path(".dvc/cache/files/md5", md5[:2], md5[2:])


def _md5(file: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with file.open("rb") as stream:
        for chunk in chunks_of(stream):
            digest.update(chunk)
    return digest.hexdigest()


def _damaged(root: Path, stage: str, file: Path, expected: str) -> str:
    copies = " ".join(path.as_posix() for path in (file, _cached(expected)) if (root / path).exists())
    return (
        f"{file} is not what {stage} wrote (dvc.lock: MD5 {expected}): it was damaged on the disk or in DVC's cache, "
        f"or changed by hand. To make it anew: `rm -f {copies}`, then `dvc repro {stage}`, then `dvc repro`"
    )
