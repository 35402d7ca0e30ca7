"""Shows what can be named in params.yaml, with a line each."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from typing import Any

from pipeline.formats import FORMATS
from pipeline.models import FAMILIES, load_family
from pipeline.models.presets import PRESETS
from pipeline.recipes import available
from pipeline.tasks import TASKS, task_type

WIDTH = 24  # of the names


def main() -> None:
    """Prints recipes, tasks, formats, families and architectures."""
    families = {family: _first_sentence(importlib.import_module(load_family(family).__module__)) for family in FAMILIES}
    architectures = {
        f"{architecture} ({family})": _first_sentence(entry)
        for family in FAMILIES
        for architecture, entry in getattr(load_family(family), "ARCHITECTURES", {}).items()
    }
    presets = {
        f"{name} ({family})": _first_sentence(PRESETS[published])
        for family in FAMILIES
        for name, published in getattr(load_family(family), "PRESETS", {}).items()
    }
    groups = {
        "recipes": available(),
        "tasks": {task: _about_task(task) for task in TASKS},
        "formats": {name: f"{_first_sentence(read)} [{_keys(read)}]" for name, read in FORMATS.items()},
        "families": families,
        "architectures": architectures,
        "published trunks, also names of an architecture": presets,
    }
    for title, entries in groups.items():
        print(f"{title}:")
        for entry, text in entries.items():
            print(f"  {entry:{WIDTH}} {text}")


def _about_task(task: str) -> str:
    """Describes what a task does, the score that decides, and the keys of `settings`."""
    task_class = task_type(task)
    score = getattr(task_class, "score", "the one that settings.score names")
    settings = f"; settings: {', '.join(task_class.SETTINGS)}" if task_class.SETTINGS else ""
    return f"{_first_sentence(importlib.import_module(task_class.__module__))} [score: {score}{settings}]"


def _keys(read: Callable[..., Any]) -> str:
    """Lists what `options` and `parts` of a format may hold; what need not be there is in brackets."""
    _, *options = inspect.signature(read).parameters.values()
    return ", ".join(option.name if option.default is option.empty else f"({option.name})" for option in options)


def _first_sentence(thing: object) -> str:
    """Returns a docstring's first sentence; torch begins some with the signature and writes formulas in TeX."""
    lines = [line for line in (inspect.getdoc(thing) or "").split("\n") if not line.startswith("__init__(")]
    paragraph = " ".join("\n".join(lines).strip().partition("\n\n")[0].split())
    sentence = re.split(r"(?<!\bal)\.(?= |$)", paragraph, maxsplit=1)[0]
    return re.sub(r":math:`\\?(?:text\{)?(\w+)\}?`", r"\1", sentence)
