"""How long stages took belongs to the world and not to the outputs: timings/ is outside of them."""

from __future__ import annotations

import time
from pathlib import Path

from pipeline.files.atomic import write_json


def write_timing(experiment: str, candidate: str, stage: str, started: float, key: str) -> None:
    """`started` as time.monotonic() said; `key` of the search or training, for which alone the time counts."""
    seconds = round(time.monotonic() - started, 2)
    write_json(Path("timings", experiment, candidate, f"{stage}.json"), {"seconds": seconds, "key": key})
