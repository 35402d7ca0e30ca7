"""Small raw data of the forms that real data sets have, for experiments of tests/tiny.yaml that download nothing.

One function a folder of data/raw, and one line in GENERATED.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path


def pairs(folder: Path) -> None:
    """Sentences about counted things, in English and in a language that says the number last."""
    numbers = {"one": "eno", "two": "owt", "three": "eerht", "four": "ruof", "five": "evif"}
    things = {"cats": "stac", "dogs": "sgod", "birds": "sdrib", "trees": "seert", "boats": "staob", "hats": "stah"}
    deeds = {"sleep": "peels", "run": "nur", "shine": "enihs", "wait in the sun": "nus ni tiaw"}
    draw = random.Random(0)
    chosen = [[draw.choice(list(words)) for words in (numbers, things, deeds)] for _ in range(240)]
    (folder / "text.en").write_text("".join(f"{a} {b} {c} .\n" for a, b, c in chosen), encoding="utf-8")
    others = "".join(f"{things[b]} {deeds[c]} {numbers[a]} .\n" for a, b, c in chosen)
    (folder / "text.ne").write_text(others, encoding="utf-8")


GENERATED: dict[str, Callable[[Path], None]] = {"pairs": pairs}


def write_raw(folder: Path) -> None:
    """Fills a folder under data/raw with what its name stands for."""
    folder.mkdir(parents=True)
    GENERATED[folder.name](folder)
