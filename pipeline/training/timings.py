"""Small files beside the outputs: whole or not there at all."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Sorted, indented JSON; takes the place of an earlier file only when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


def write_timing(experiment: str, candidate: str, stage: str, started: float) -> None:
    """How long a stage took belongs to the world and not to the outputs: timings/ is outside of them."""
    seconds = round(time.monotonic() - started, 2)
    write_json(Path("timings", experiment, candidate, f"{stage}.json"), {"seconds": seconds})
