"""Small raw data of the forms that real data sets have, for experiments of tests/tiny.yaml that download nothing.

One function a folder of data/raw, and one line in GENERATED.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np


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


def waves(folder: Path) -> None:
    """Sines of three speeds in two channels, unequally long, with noise, a few gaps and a header as in the archive."""
    draw = np.random.default_rng(0)
    for part, count in (("TRAIN", 60), ("TEST", 30)):
        lines = ["# Sines of three speeds", "@problemName waves", "@timestamps false", "@missing true"]
        lines += [
            "@univariate false",
            "@dimensions 2",
            "@equalLength false",
            "@classLabel true slow even fast",
            "@data",
        ]
        for number in range(count):
            steps, phase = int(draw.integers(12, 25)), draw.uniform(0, 2 * np.pi)
            angle = (0.3, 0.7, 1.4)[number % 3] * np.arange(steps) + phase
            values = np.stack([np.sin(angle), 5 + 2 * np.cos(angle)]) + draw.normal(0, 0.1, (2, steps))
            fields = [[f"{value:.4f}" for value in channel] for channel in values]
            if number % 10 == 4:
                fields[1][steps // 2] = "?"
            lines.append(":".join([*map(",".join, fields), ("slow", "even", "fast")[number % 3]]))
        (folder / f"waves_{part}.ts").write_text("\n".join(lines) + "\n", encoding="utf-8")


GENERATED: dict[str, Callable[[Path], None]] = {"pairs": pairs, "waves": waves}


def write_raw(folder: Path) -> None:
    """Fills a folder under data/raw with what its name stands for."""
    folder.mkdir(parents=True)
    GENERATED[folder.name](folder)
