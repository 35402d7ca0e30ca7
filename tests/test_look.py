"""`python -m pipeline check NAME`: what it says of data, and that it finds what `prepare` would stop at."""

from __future__ import annotations

import copy
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline import look as room
from pipeline.commands.check import main
from pipeline.data.tables import SPLITS, read_card
from pipeline.look import look
from pipeline.params import load

Document = dict[str, Any]

SEEN = {
    "digits": r"all: 400 pictures of 8 × 8 pixels, grey, values 0 to 16 of 16; 10 classes: 0 \(\d+\), .* and 2 others",
    "co2": r"all: 600 rows, 1963-12-28 to 1975-06-21, every 7 days; co2 \(315.5 to 334.1, 27 missing\)",
    "pairs": r"all: \d+ pairs of sentences; the first: “.+” is “.+”",
    "opinions": r"train: \d+ sentences; 2 classes: blame \(\d+\), praise \(\d+\); the first: “.+” \((blame|praise)\)",
    "waves": r"train: \d+ series of \d+ to \d+ steps, 2 channels; 3 classes: .+",
    "shapes": r"train: \d+ pictures of \d+.* × \d+.* pixels.*; \d+ boxes; 2 classes: .+",
    "tides": r"train: 150 rows, .* every .*; level \(.*\), flow \(.*\), salt \(.*\)",
    "tones": r"train: \d+ recordings of 0\.\d\d to 0\.\d\d s, .* min in all.*; \d+ texts, the first: “.+”",
    "stripes": r"all: \d+ pictures of 6 × 5 pixels, in colour, values \d+ to \d+ of 255; \d+ class.*",
    "canvas": r"all: \d+ squares of \d+ pictures of content, \d+ styles?",
}


@pytest.mark.parametrize("name", SEEN)
def test_a_line_for_each_part_says_what_it_holds(name: str, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(prepared)
    params = load()
    warnings: list[str] = []
    first, *parts, split = look(params.experiments[name], params.seed, warnings.append)
    data = params.experiments[name].data
    assert re.fullmatch(rf"{data.path}: [\d,]+ files?, \d+\.\d MB, read as {data.format}", first)
    assert [line.split(":")[0].strip() for line in parts] == list(data.parts)
    assert re.fullmatch(SEEN[name], parts[0].strip()), parts[0]
    card = read_card(Path("data/prepared", name))
    assert split.strip() == "split: " + ", ".join(f"{card['counts'][part]:,} {part}" for part in SPLITS)
    said = {re.sub(rf"^({'|'.join(data.parts)}): ", "", warning) for warning in warnings}
    assert set(card["warnings"]) <= said


def test_every_experiment_of_the_tests_has_a_line(tiny: Document) -> None:
    assert set(SEEN) == set(tiny["experiments"])


@pytest.fixture
def pictures(tiny: Document, save: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Document:
    """Own pictures of two classes and an experiment on them, in the working directory."""
    for kind in ("cat", "dog"):
        for number in range(10):
            draw(tmp_path / "data/raw/mine" / kind / f"{number}.png", number)
    data = {"path": "data/raw/mine", "format": "class_folders", "options": {"height": 4, "width": 4, "mode": "L"}}
    tiny["experiments"]["digits"]["data"] = {**data, "parts": {"all": {"directory": "."}}}
    monkeypatch.chdir(tmp_path)
    return tiny


def draw(path: Path, grey: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 5), grey, dtype=np.uint8)).save(path)


def test_data_that_prepare_would_refuse_are_an_error_with_all_parts(
    pictures: Document, save: Callable[..., Path], tmp_path: Path, call: Any
) -> None:
    experiment = pictures["experiments"]["digits"]
    experiment["data"]["parts"] = {"train": {"directory": "."}, "test": {"directory": "lost"}}
    experiment["split"]["test"] = None
    (tmp_path / "data/raw/mine/cat/0.png").write_bytes(b"no picture")
    save(pictures, tmp_path)
    assert call(tmp_path, "check").returncode == 0, "without a name no data are opened"
    done = call(tmp_path, "check", "digits")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert re.match(r"check: part train: data/raw/mine/cat/0\.png.*; part test: data/raw/mine/lost: ", done.stderr)


def test_a_split_that_cannot_be_drawn_is_an_error(
    pictures: Document, save: Callable[..., Path], tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "data/raw/mine/dog")
    save(pictures, tmp_path)
    with pytest.raises(ValueError, match="one class only"):
        main("digits")


@pytest.mark.parametrize(
    ("places", "warning"),
    [
        (["train/cat", "train/dog", "test/cat", "test/dog"], "the classes are called test, train, like parts"),
        (["TRAIN", "Validation"], "the classes are called TRAIN, Validation, like parts"),
        (["mine/cat", "mine/dog", "more"], "all pictures of the class mine lie in folders of its folder"),
    ],
)
def test_classes_that_are_none_are_warned_of(
    places: list[str], warning: str, pictures: Document, save: Callable[..., Path], tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    shutil.rmtree(tmp_path / "data/raw/mine")
    for number, place in enumerate(places):
        for other in range(6):
            draw(tmp_path / "data/raw/mine" / place / f"{other}.png", 10 * number + other)
    save(pictures, tmp_path)
    main("digits")
    assert f"digits: all: {warning}" in caplog.text


def test_sound_class_folders_get_no_warning(
    pictures: Document, save: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(pictures, tmp_path)
    main("digits")
    assert "level too high" not in caplog.text and "parts of a split" not in caplog.text


def test_of_large_data_some_records_of_every_class_are_read(
    pictures: Document, save: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "FILES", 10)
    monkeypatch.setattr(room, "SOME", 4)
    params = load(save(pictures, tmp_path))
    lines = list(look(params.experiments["digits"], 0, print))
    assert len(lines) == 2, "a split of some records would say nothing"
    assert lines[1].endswith("2 classes: cat (2), dog (2) (looked at 4 of 20 files)")


def test_looking_writes_nothing(pictures: Document, save: Callable[..., Path], tmp_path: Path) -> None:
    save(pictures, tmp_path)
    before = sorted(tmp_path.rglob("*"))
    main("digits")
    assert sorted(tmp_path.rglob("*")) == before
    assert load().experiments == load(save(copy.deepcopy(pictures), tmp_path)).experiments
