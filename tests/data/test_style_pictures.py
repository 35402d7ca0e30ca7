"""Style transfer: pictures read, cut, split, and refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.formats import content_and_style
from pipeline.formats.styles import squares
from pipeline.tasks.style_transfer.preparation import prepare_pictures

ASKED: dict[str, Any] = {"content": ["content"], "style": ["style"], "size": 16, "shorter_side": 32}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Five content pictures, each of a colour of its own, and two of a style."""
    for name in ("content", "style"):
        (tmp_path / name).mkdir()
    for number, size in enumerate(((32, 32), (64, 64), (80, 40), (33, 70), (100, 100))):
        Image.new("RGB", size, (40 * number, 10, 10)).save(tmp_path / "content" / f"{number}.png")
    for number in (1, 2):
        Image.new("RGB", (40, 50), (0, 100 * number, 0)).save(tmp_path / "style" / f"{number}.JPG")
    return tmp_path


def test_pictures_are_scaled_by_their_shorter_side_and_cut_into_squares(raw: Path) -> None:
    found = content_and_style(raw, **ASKED)
    assert found.names == [f"content/{number}.png" for number in range(5)]
    assert np.bincount(found.pictures).tolist() == [4, 4, 8, 8, 4]  # 32 × 32 four times, 64 × 32, 32 × 68
    assert found.squares.shape == (28, 3, 16, 16)
    assert found.squares[:, 0].reshape(28, -1).max(1).tolist() == (40 * found.pictures).tolist()
    assert [style.shape for style in found.styles] == [(3, 40, 32)] * 2
    assert found.style_names == ["style/1.JPG", "style/2.JPG"]


def test_squares_do_not_overlap_and_are_spread_evenly() -> None:
    picture = np.arange(10 * 26).reshape(1, 10, 26)
    found = list(squares(picture, 8))
    assert [(part[0, 0, 0] // 26, part[0, 0, 0] % 26) for part in found] == [(1, 0), (1, 9), (1, 18)]


def test_single_files_can_be_named_beside_folders(raw: Path) -> None:
    found = content_and_style(raw, **ASKED | {"content": ["style", "content/3.png"], "style": ["style/2.JPG"]})
    assert found.names == ["style/1.JPG", "style/2.JPG", "content/3.png"]
    assert found.style_names == ["style/2.JPG"]


def test_other_files_are_ignored_and_counted(raw: Path) -> None:
    (raw / "content" / "notes.txt").write_text("x")
    (raw / "content" / ".DS_Store").write_text("x")
    assert content_and_style(raw, **ASKED).warnings == (
        f"1 files among the pictures in {raw.as_posix()} are none and were ignored",
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"content": []}, "data.content: found []; allowed: a list of folders and files"),
        ({"content": ["photos"]}, "photos: no such file or folder; .* has content, empty, style"),
        ({"content": ["empty"]}, "empty: this folder of content pictures has none; add some"),
        ({"style": ["empty"]}, "empty: this folder of style pictures has none; add some"),
        ({"content": ["../x"]}, "data.content: found '../x'; allowed: folders and files inside of"),
        ({"content": ["content", "content/1.png"]}, "data.content: content/1.png is named twice"),
        ({"shorter_side": 33}, "0.png: found 32 × 32 pixels; allowed: at least 33 on both sides"),
        ({"size": 40}, "data.options.size: found 40; allowed: at most shorter_side, which is 32"),
        ({"size": 0}, "data.options.size: found 0; allowed: a whole number from 1"),
        ({"perceptual": "vgg16.pth"}, "vgg16.pth: no such file or folder"),
    ],
)
def test_what_cannot_be_used_is_named(raw: Path, change: dict[str, Any], said: str) -> None:
    (raw / "empty").mkdir()
    pattern = re.escape(said).replace(r"\.\*", ".*")
    with pytest.raises(ValueError, match=pattern):
        content_and_style(raw, **ASKED | change)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n broken"])
@pytest.mark.parametrize("place", ["content/2.png", "style/1.JPG"])
def test_a_broken_picture_is_named(raw: Path, place: str, content: bytes) -> None:
    (raw / place).write_bytes(content)
    with pytest.raises(ValueError, match=f"{re.escape(str(raw / place))}: not readable as an image"):
        content_and_style(raw, **ASKED)


def test_a_truncated_picture_is_named(raw: Path) -> None:
    file = raw / "style" / "1.JPG"
    Image.effect_noise((200, 200), 50).convert("RGB").save(file)
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"1\.JPG: not readable as an image"):
        content_and_style(raw, **ASKED)


def test_squares_of_one_picture_stay_in_one_split(raw: Path) -> None:
    prepared = prepare_pictures({"all": content_and_style(raw, **ASKED)}, {"validation": 0.2, "test": 0.4}, 0)
    seen = {split: set(table["pictures"].tolist()) for split, table in prepared.tables.items()}
    assert [len(seen[split]) for split in ("train", "validation", "test")] == [2, 1, 2]
    assert set.union(*seen.values()) == set(range(5))
    assert sum(prepared.card["counts"].values()) == 28
    assert prepared.card["squares"] == 8
    assert sum(map(len, prepared.card["contents"].values())) == 5


def test_published_parts_are_kept(raw: Path) -> None:
    parts = {
        name: content_and_style(raw, **ASKED | {"content": [f"content/{number}.png"]})
        for number, name in enumerate(("train", "validation", "test"))
    }
    card = prepare_pictures(parts, {"validation": None, "test": None}, 0).card
    assert card["contents"] == {
        "train": ["content/0.png"], "validation": ["content/1.png"], "test": ["content/2.png"],
    }  # fmt: skip
    assert card["counts"] == {"train": 4, "validation": 4, "test": 8}


def test_parts_with_different_styles_or_sizes_are_refused(raw: Path) -> None:
    first = content_and_style(raw, **ASKED)
    shares = {"validation": 0.2, "test": None}
    other = content_and_style(raw, **ASKED | {"style": ["style/1.JPG"]})
    with pytest.raises(ValueError, match=r"data\.parts\.test\.style: differs from that of train"):
        prepare_pictures({"train": first, "test": other}, shares, 0)
    larger = content_and_style(raw, **ASKED | {"size": 32})
    with pytest.raises(ValueError, match="one size: train has 16, test 32"):
        prepare_pictures({"train": first, "test": larger}, shares, 0)


def test_too_few_pictures_for_a_split_are_refused(raw: Path) -> None:
    one = content_and_style(raw, **ASKED | {"content": ["content/0.png"]})
    with pytest.raises(ValueError, match="found 1 different pictures, too few for train"):
        prepare_pictures({"all": one}, {"validation": 0.2, "test": 0.2}, 0)


def test_the_same_picture_in_two_splits_is_worth_a_warning(raw: Path) -> None:
    (raw / "content" / "again.png").write_bytes((raw / "content" / "0.png").read_bytes())
    parts = {
        "train": content_and_style(raw, **ASKED | {"content": ["content/0.png", "content/1.png"]}),
        "test": content_and_style(raw, **ASKED | {"content": ["content/again.png"]}),
    }
    warnings = prepare_pictures(parts, {"validation": 0.5, "test": None}, 0).card["warnings"]
    assert any("squares of test are also in" in warning for warning in warnings)
