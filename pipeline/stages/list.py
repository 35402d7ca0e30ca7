"""Shows what can be named in params.yaml, with a line each."""

from __future__ import annotations

import importlib
import inspect

from pipeline.data.formats import FORMATS
from pipeline.models import FAMILIES, load_family
from pipeline.models.presets import PRESETS
from pipeline.recipes import available
from pipeline.tasks import TASKS


def main(name: str | None) -> None:
    """Prints recipes, tasks, formats, families and architectures."""
    families = {family: _first_line(importlib.import_module(path.split(":")[0])) for family, path in FAMILIES.items()}
    architectures = {
        f"{architecture} ({family})": _first_line(entry)
        for family in FAMILIES
        for architecture, entry in getattr(load_family(family), "ARCHITECTURES", {}).items()
    }
    presets = {
        f"{name} ({family})": _first_line(PRESETS[published])
        for family in FAMILIES
        for name, published in getattr(load_family(family), "PRESETS", {}).items()
    }
    groups = {
        "recipes": available(),
        "tasks": {task: _first_line(importlib.import_module(path.split(":")[0])) for task, path in TASKS.items()},
        "formats": {name: _first_line(function) for name, function in FORMATS.items()},
        "families": families,
        "architectures": architectures,
        "published trunks, also names of an architecture": presets,
    }
    for title, entries in groups.items():
        print(f"{title}:")
        for entry, text in entries.items():
            print(f"  {entry:24} {text}")


def _first_line(thing: object) -> str:
    """The first sentence of a docstring; torch begins some with the signature."""
    lines = [line for line in (inspect.getdoc(thing) or "").split("\n") if line and not line.startswith("__init__(")]
    return lines[0] if lines else ""
