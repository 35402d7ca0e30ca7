"""Small raw data of the forms that real data sets have, for experiments of tests/tiny.yaml that download nothing.

One function a folder of data/raw, and one line in GENERATED.
"""

from __future__ import annotations

import random
import wave
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


def opinions(folder: Path) -> None:
    """Sentences that praise or blame things, with a tab and a label behind them; a word such as `not` turns some."""
    good, bad = ("fine", "lovely", "splendid", "warm"), ("dull", "dreadful", "stale", "clumsy")
    things = ("plot", "film", "cast", "music , the light and the long slow end")
    draw = random.Random(0)
    lines = []
    for number in range(240):
        praise, turned = number % 2 == 0, draw.random() < 0.25
        word = draw.choice(good if praise != turned else bad)
        lines.append(f"the {draw.choice(things)} is {'not ' if turned else ''}{word} {number}\t{int(praise)}\n")
    for name, rows in {"train": lines[:160], "dev": lines[160:200], "test": lines[200:]}.items():
        (folder / f"{name}.tsv").write_text("".join(rows), encoding="utf-8")


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


def shapes(folder: Path) -> None:
    """Discs and bars on a dark ground, 40 × 48 pixels, in the layout of Pascal VOC; one picture shows nothing."""
    from PIL import Image

    generator = np.random.default_rng(0)
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    for part, numbers in {"train": range(24), "val": range(24, 33), "test": range(33, 42)}.items():
        (folder / "ImageSets/Main" / f"{part}.txt").write_text("".join(f"{number:03d}\n" for number in numbers))
        for number in numbers:
            pixels = generator.integers(20, 50, (40, 48, 3)).astype(np.uint8)
            objects = "" if number == 33 else _draw_shapes(pixels, generator)
            Image.fromarray(pixels).save(folder / "JPEGImages" / f"{number:03d}.png")
            size = "<size><width>48</width><height>40</height></size>"
            (folder / "Annotations" / f"{number:03d}.xml").write_text(f"<annotation>{size}{objects}</annotation>")


def _draw_shapes(pixels: np.ndarray, generator: np.random.Generator) -> str:
    """One or two shapes, each in a half of its own, and what an annotation says of them."""
    down, across = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    described = ""
    for half in range(int(generator.integers(1, 3))):
        name = ("bar", "disc")[int(generator.integers(2))]
        height, width = (16, 16) if name == "disc" else (8, 18)
        top, left = int(generator.integers(0, 40 - height)), 24 * half + int(generator.integers(0, 24 - width))
        inside = (down >= top) & (down < top + height) & (across >= left) & (across < left + width)
        if name == "disc":
            inside &= (down - top - 7.5) ** 2 + (across - left - 7.5) ** 2 < 64
        pixels[inside] = (200, 80, 60) if name == "disc" else (60, 90, 220)
        sides = {"xmin": left, "ymin": top, "xmax": left + width, "ymax": top + height}
        box = "".join(f"<{side}>{value}</{side}>" for side, value in sides.items())
        described += f"<object><name>{name}</name><bndbox>{box}</bndbox></object>"
    return described


def tides(folder: Path) -> None:
    """Three series of very different sizes by the hour, some values missing, and an hour that is not there at all."""
    draw, steps = np.random.default_rng(0), np.arange(260)
    day = 2 * np.pi * steps / 12
    level, flow = np.sin(day), 100 * np.cos(day) + steps
    values = np.stack([level, flow, 0.01 * level + 0.02], axis=1) + draw.normal(size=(260, 3)) * [0.1, 10, 0.001]
    times = np.datetime64("2021-03-01T00") + steps.astype("timedelta64[h]")
    lines = ["date,level,flow,salt"]
    for step in (step for step in steps.tolist() if step != 57):
        fields = [f"{value:.5f}" for value in values[step]]
        if step % 40 == 7:
            fields[step % 3] = "NA"
        lines.append(",".join([str(times[step]) + ":00:00", *fields]))
    (folder / "tides.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def tones(folder: Path) -> None:
    """Words that are tones, one or two in a recording, by two speakers; the last ones in stereo at another rate."""
    draw = np.random.default_rng(0)
    words = {"la": 300.0, "mi": 700.0, "so": 1300.0}  # Hz
    for part, count in (("train", 48), ("validation", 16), ("test", 16)):
        lines = []
        for number in range(count):
            rate = 8000 if number >= count - 2 else 4000
            said = draw.choice(list(words), size=int(draw.integers(1, 3))).tolist()
            pieces = []
            for word in said:
                steps = np.arange(int(rate * draw.uniform(0.12, 0.2)))
                pitch = words[word] * (1.0, 1.1)[number % 2]
                pieces += [np.sin(2 * np.pi * pitch * steps / rate) * np.hanning(len(steps)), np.zeros(rate // 50)]
            sound = 0.4 * np.concatenate(pieces) + draw.normal(0, 0.01, sum(map(len, pieces)))
            samples = np.repeat((sound * 32767).astype("<i2")[:, None], 1 + (rate == 8000), axis=1)
            name = f"{part}{number:02d}.wav"
            with wave.open(str(folder / name), "wb") as file:
                file.setparams((samples.shape[1], 2, rate, 0, "NONE", ""))
                file.writeframes(samples.tobytes())
            lines.append(f"{name}\t{' '.join(said)}\tspeaker {number % 2}\n")
        (folder / f"{part}.tsv").write_text("".join(lines), encoding="utf-8")


def stripes(folder: Path) -> None:
    """Coloured pictures of 5 × 6 pixels in class folders, all different: stripes that lie or stand, some lighter."""
    from PIL import Image

    generator = np.random.default_rng(0)
    for number in range(90):
        name, light = ("lying", "standing")[number % 2], int(generator.integers(2))
        pixels = np.zeros((5, 6, 3), np.uint8)
        pixels[(slice(0, 5, 2), slice(None)) if name == "lying" else (slice(None), slice(0, 6, 2))] = (255, 160, 60)
        pixels[:, :, 1] -= np.uint8(number // 2) * (pixels[:, :, 1] > 0)
        pixels[:, :, 2] += np.uint8(120 * light)
        (folder / name).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / name / f"{number:02d}.png")


def canvas(folder: Path) -> None:
    """Smooth pictures of uneven sizes, one of stripes as the style, and a small classifier that judges them."""
    import json

    from PIL import Image
    from safetensors.numpy import save_file

    generator = np.random.default_rng(0)
    for name in ("content", "style", "judge"):
        (folder / name).mkdir(parents=True)
    for number, size in enumerate(((66, 64), (70, 96), (64, 99), (64, 64), (80, 66), (65, 65), (64, 130), (96, 64))):
        coarse = generator.integers(0, 256, (4, 4, 3)).astype(np.uint8)
        picture = Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC)
        picture.save(folder / "content" / f"{number}.{'png' if number % 2 else 'jpg'}")
    across = np.mgrid[:80, :100][1]
    stripes = np.where((across // 4 % 2 == 0)[..., None], (240, 200, 20), (20, 10, 90)).astype(np.uint8)
    Image.fromarray(stripes).save(folder / "style" / "stripes.png")
    weights, before = {}, 3
    for unit in ("stem", "levels.0.first", "levels.0.second"):
        kernels = generator.normal(0, (2 / (9 * before)) ** 0.5, (16, before, 3, 3)).astype(np.float32)
        weights[f"encoder.{unit}.convolution.kernels.weight"] = kernels
        for part, value in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
            weights[f"encoder.{unit}.norm.{part}"] = np.full(16, value, dtype=np.float32)
        before = 16
    save_file(weights, folder / "judge" / "model.safetensors")
    card = {"channels": 3, "mean": [0.5, 0.5, 0.5], "deviation": [0.25, 0.25, 0.25]}
    described = {"task": "image_classification", "parameters": {"architecture": "vgg"}, "card": card}
    (folder / "judge" / "model.json").write_text(json.dumps(described), encoding="utf-8")


GENERATED: dict[str, Callable[[Path], None]] = {
    "pairs": pairs,
    "opinions": opinions,
    "waves": waves,
    "shapes": shapes,
    "tides": tides,
    "tones": tones,
    "stripes": stripes,
    "canvas": canvas,
}


def write_raw(folder: Path) -> None:
    """Fills a folder under data/raw with what its name stands for."""
    folder.mkdir(parents=True)
    GENERATED[folder.name](folder)
