"""Class folders as people have them: in colour, of uneven sizes, turned, in many formats, and with broken files."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from pipeline.data.tables import read_card, read_table, write
from pipeline.formats import class_folders
from pipeline.formats.image import read_image

COLOURS = {"leaf": (40, 160, 60), "sea": (30, 80, 200), "sun": (240, 200, 40)}
OPTIONS = {"directory": ".", "height": 8, "width": 10, "mode": "RGB"}
SAVED: list[tuple[str, str, dict[str, object]]] = [
    ("png", "RGB", {}), ("JPG", "RGB", {"quality": 95}), ("jpeg", "L", {}), ("png", "P", {}), ("png", "RGBA", {}),
    ("png", "LA", {}), ("webp", "RGB", {"lossless": True}), ("bmp", "RGB", {}), ("tiff", "CMYK", {}), ("gif", "P", {}),
]  # fmt: skip


def turned(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Ten pictures a class, each in another format, mode and size, with a darker upper half; some lie on their side."""
    draw = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        folder = tmp_path / "raw" / name
        folder.mkdir(parents=True)
        for number, (suffix, mode, options) in enumerate(SAVED):
            height, width = int(draw.integers(9, 60)), int(draw.integers(9, 60))
            pixels = np.tile(np.array(colour, dtype=np.float64), (height, width, 1)) + draw.normal(
                0, 4, (height, width, 1)
            )
            pixels[: height // 2] *= 0.6
            image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            if number == 1:  # as a camera stores it that was held upright
                image, options = image.transpose(Image.Transpose.ROTATE_90), {**options, "exif": turned(6)}
            image = image.convert(mode)
            if mode.endswith("A"):
                image.putalpha(128)
            image.save(folder / f"{number}.{suffix}", **options)
    return tmp_path / "raw"


def test_pictures_of_all_kinds_become_upright_colours_of_one_size(raw: Path) -> None:
    found = class_folders(raw, **OPTIONS)
    assert found.pixels.shape == (30, 3, 8, 10) and found.warnings == ()
    assert found.labels.tolist() == [name for name in sorted(COLOURS) for _ in SAVED]
    for pixels, label, name in zip(found.pixels, found.labels, found.names or [], strict=True):
        upper, lower = pixels[:, :3].mean(axis=(1, 2)), pixels[:, 5:].mean(axis=(1, 2))
        assert (upper < lower).all(), f"{name} stands upright"
        if name.split("/")[1].split(".")[0] not in ("2", "4", "5", "8"):  # grey, half white, cmyk
            assert np.abs(lower - COLOURS[str(label)]).max() < 30, name


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("1.JPG", lambda data: data[: len(data) // 2]),
        ("1.JPG", lambda data: data[:20]),
        ("1.JPG", lambda data: b""),
        ("0.png", lambda data: data[: len(data) // 2]),
        ("0.png", lambda data: data[:40] + bytes([data[40] ^ 255]) + data[41:]),  # a checksum that does not fit
        ("0.png", lambda data: b"<html>404 not found</html>"),
        ("6.webp", lambda data: data[:30]),
    ],
)
def test_a_broken_picture_is_named_in_one_sentence(name: str, spoil: Callable[[bytes], bytes], raw: Path) -> None:
    file = raw / "sea" / name
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(
        ValueError, match=rf"^{re.escape(str(file))}: not readable as an image \(.*remove it$"
    ) as caught:
        class_folders(raw, **OPTIONS)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore")  # Pillow warns of damage in some headers
def test_whatever_bytes_a_picture_has_it_is_read_or_refused(raw: Path) -> None:
    """A library for many formats has many ways to fail: damage must not come through as an error of ours."""
    draw = random.Random(0)
    whole = [path.read_bytes() for path in sorted(raw.glob("sun/*"))]
    outcomes = {"read": 0, "refused": 0}
    for _ in range(600):
        data = bytearray(draw.choice(whole))
        for _ in range(draw.choice((1, 2, 8))):
            place = draw.randrange(min(len(data), draw.choice((40, 400, len(data)))))
            data[place] = draw.randrange(256)
        if draw.random() < 0.2:
            del data[draw.randrange(len(data)) :]
        try:
            pixels = read_image(io.BytesIO(bytes(data)), height=5, width=4, mode=draw.choice(("L", "RGB")))
            assert pixels.dtype == np.uint8 and pixels.shape[1:] == (5, 4)
            outcomes["read"] += 1
        except ValueError as error:
            assert str(error).startswith("the picture: not readable as an image")
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 50, outcomes


def test_the_served_model_sees_a_file_as_training_saw_it(raw: Path, tmp_path: Path) -> None:
    """Orientation, transparency, depth, size and colour: the answer to the file is the prediction of its record."""
    from pipeline.models import load_family
    from pipeline.tasks.image_classification.task import ImageClassification

    task = ImageClassification({})
    records = class_folders(raw, **OPTIONS)
    write(task.prepare({"all": records}, {"validation": 0.2, "test": 0.4}, 0), tmp_path / "prepared")
    card, table = read_card(tmp_path / "prepared"), read_table(tmp_path / "prepared", "test")
    family = load_family("cnn")
    torch.manual_seed(0)
    network = task.network(
        lambda channels: family(channels, 2, False, architecture="vgg", **family.EXAMPLE), card,
        shift=0, flip=False, label_smoothing=0.0,
    ).eval()  # fmt: skip
    predictions = task.predict(network, task.examples(table, card), card)
    assert records.names is not None
    files = [raw / records.names[row] for row in table["rows"].tolist()]
    request = pd.concat([task.request(file, card, OPTIONS) for file in files], ignore_index=True)
    answer = task.answer(network, request, card)
    assert len(answer) == len(table["rows"]) > 5 and list(answer)[2:] == sorted(COLOURS)
    expected = predictions[[f"probability_{number}" for number in range(3)]].to_numpy()
    np.testing.assert_allclose(answer[sorted(COLOURS)].to_numpy(), expected, rtol=1e-6)
