import numpy as np
import pytest

from pipeline.formats.records import AnnotatedImages, Images
from pipeline.tasks.object_detection.preparation import prepare_scenes

PUBLISHED = {"validation": None, "test": None}


def pictures(*labels: str, seed: int = 0, size: tuple[int, int] = (8, 9), prefix: str = "") -> AnnotatedImages:
    """One picture for each text, with a box of 4 × 1 pixels for each letter of it."""
    pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), 3, *size)).astype(np.uint8)
    boxes = [np.array([[at, 0, at + 4, 1] for at in range(len(text))], np.float32).reshape(-1, 4) for text in labels]
    names = [f"{prefix}{number}.png" for number in range(len(labels))]
    return AnnotatedImages(pixels, np.full((len(labels), 2), 16), boxes, [list(text) for text in labels], names)


def complaint(parts: dict, split: dict = PUBLISHED) -> str:
    with pytest.raises(ValueError) as caught:
        prepare_scenes(parts, split, 0)
    return str(caught.value)


def test_boxes_are_padded_to_the_most_of_any_split_and_labels_say_where():
    parts = {"train": pictures("ab", "b"), "validation": pictures("", seed=1), "test": pictures("bab", seed=2)}
    prepared = prepare_scenes(parts, PUBLISHED, 0)
    assert prepared.tables["train"]["labels"].tolist() == [[0, 1, -1], [1, -1, -1]]
    assert prepared.tables["validation"]["labels"].tolist() == [[-1, -1, -1]]
    assert prepared.tables["test"]["boxes"][0].tolist() == [[0, 0, 4, 1], [1, 0, 5, 1], [2, 0, 6, 1]]
    assert {name: str(array.dtype) for name, array in prepared.tables["train"].items()} == {
        "images": "uint8", "boxes": "float32", "labels": "int64", "sizes": "int64", "rows": "int64",
    }  # fmt: skip
    assert prepared.tables["test"]["rows"].tolist() == [3]
    card = prepared.card
    assert card["classes"] == ["a", "b"] and card["counts"] == {"train": 2, "validation": 1, "test": 1}
    assert card["class_counts"] == {"train": {"a": 1, "b": 2}, "validation": {"a": 0, "b": 0}, "test": {"a": 1, "b": 2}}
    assert (card["channels"], card["height"], card["width"], card["side"]) == (3, 8, 9, 2.0)
    assert "validation has no box of class a, b" in card["warnings"]


def test_mean_and_deviation_are_those_of_train_alone():
    parts = {"train": pictures("a", "a"), "validation": pictures("a", seed=5), "test": pictures("a", seed=6)}
    card = prepare_scenes(parts, PUBLISHED, 0).card
    pixels = parts["train"].pixels / 255
    assert card["mean"] == pytest.approx(pixels.mean(axis=(0, 2, 3)), abs=1e-12)
    assert card["deviation"] == pytest.approx(pixels.std(axis=(0, 2, 3)), abs=1e-12)


def test_pictures_are_drawn_by_seed_where_no_split_is_published():
    parts = {"all": pictures(*["ab"] * 40)}
    drawn = [prepare_scenes(parts, {"validation": 0.25, "test": 0.1}, seed) for seed in (0, 0, 1)]
    rows = [prepared.tables["test"]["rows"].tolist() for prepared in drawn]
    assert rows[0] == rows[1] != rows[2] and len(rows[0]) == 3
    assert sum(drawn[0].card["counts"].values()) == 40 and drawn[0].card["split"]["kind"] == "content"


def test_a_picture_of_two_splits_is_warned_of():
    parts = {"train": pictures("a", "b"), "validation": pictures("a", seed=1), "test": pictures("a")}
    assert (
        "1 of 1 images of test are also in train, pixel by pixel"
        in prepare_scenes(parts, PUBLISHED, 0).card["warnings"]
    )


def test_parts_that_do_not_fit_together_are_refused():
    train, other = pictures("a", "b"), pictures("a", seed=1)
    unknown = {"train": train, "validation": other, "test": pictures("a", "c", seed=2, prefix="test/")}
    assert "test/1.png of part test has a box of class 'c', which is not in train (a, b)" in complaint(unknown)
    sizes = {"train": train, "validation": other, "test": pictures("a", size=(4, 4))}
    assert "train has 3 × 8 × 9, validation has 3 × 8 × 9, test has 3 × 4 × 4" in complaint(sizes)
    assert "part train has no boxes at all" in complaint({"train": pictures(""), "validation": other, "test": other})
    images = Images(train.pixels, np.array(["a", "b"]), 255, None)
    message = complaint({"train": images, "validation": other, "test": other})
    assert "part train holds a Images; choose a data.format that reads pictures with boxes" in message
