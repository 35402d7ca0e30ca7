"""Small raw data of the forms that real data sets have, for experiments of tests/tiny.yaml that download nothing.

One function a folder of data/raw, and one line in GENERATED.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

GENERATED: dict[str, Callable[[Path], None]] = {}


def write_raw(folder: Path) -> None:
    """Fills a folder under data/raw with what its name stands for."""
    folder.mkdir(parents=True)
    GENERATED[folder.name](folder)
