"""How long stages took belongs to the world and not to the outputs: timings/ is outside of them."""

from __future__ import annotations

import time
from pathlib import Path

from pipeline.data.folders import write_json


def write_timing(experiment: str, candidate: str, stage: str, started: float) -> None:
    """`started` as time.monotonic() said."""
    seconds = round(time.monotonic() - started, 2)
    write_json(Path("timings", experiment, candidate, f"{stage}.json"), {"seconds": seconds})
