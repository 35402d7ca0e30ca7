"""The file MLmodel of a folder that MLflow serves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def edit_description(folder: Path, change: Callable[[Any], Any]) -> None:
    """Changes the MLmodel file of a folder: `change` gets it as a dictionary and returns the new one."""
    from ruamel.yaml import YAML

    yaml = YAML()
    file = folder / "MLmodel"
    description = change(yaml.load(file.read_text(encoding="utf-8")))
    with file.open("w", encoding="utf-8") as stream:
        yaml.dump(description, stream)
