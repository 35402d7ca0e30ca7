"""What dvc.yaml declares of a stage: its code, and the files from which its imports begin."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.params import Params

ROOT = Path(__file__).parents[1]
Document = dict[str, Any]
PER_CANDIDATE = ("tune", "train")


def declared(stage: str, key: str, item: Any, document: Document) -> Document:
    """Returns the entry of a stage in dvc.yaml for one candidate, experiment or download."""

    def filled(text: str) -> str:
        def value(match: re.Match[str]) -> str:
            place: Any = {"key": key, "item": item}
            for name in match.group(1).split("."):
                place = place[name] if isinstance(place, dict) else getattr(place, name)
            return str(place)

        return re.sub(r"\$\{([\w.]+)\}", value, text)

    body = document["stages"][stage]["do"]
    return {
        part: [filled(entry) for entry in body.get(part, []) if isinstance(entry, str)] for part in ("deps", "params")
    }


def pairs(params: Params) -> Iterator[tuple[str, str, Any]]:
    """Yields (stage, name, entry of params.yaml) of all stages that are loops."""
    for name, download in params.downloads.items():
        yield "fetch", name, download
    for name, experiment in params.experiments.items():
        yield "prepare", name, experiment
        yield "evaluate", name, experiment
    for name, candidate in params.candidates.items():
        for stage in PER_CANDIDATE:
            yield stage, name, candidate


def code(entries: list[str], root: Path = ROOT) -> set[str]:
    """Returns the files of pipeline/ among dependencies; a folder stands for all files in it."""
    files: set[str] = set()
    for entry in entries:
        if entry.startswith("pipeline/"):
            paths = (root / entry).rglob("*.py") if (root / entry).is_dir() else [root / entry]
            files |= {path.relative_to(root).as_posix() for path in paths}
    return files


def starts(stage: str, item: Any, params: Params) -> list[str]:
    """Returns the files from which a stage's imports begin: its own, and those of the task and family that it names."""
    files = [f"pipeline/stages/{stage}.py"]
    if stage in PER_CANDIDATE:
        files += [f"pipeline/tasks/{item.task}/task.py", f"pipeline/models/{item.family}/encoder.py"]
    if stage in ("prepare", "evaluate"):
        files += [f"pipeline/tasks/{item.task}/task.py"]
    if stage == "evaluate":
        files += [f"pipeline/models/{params.candidates[name].family}/encoder.py" for name in item.candidates]
    return files
