import numpy as np
import pytest

from pipeline.data.images import prepare_images
from pipeline.formats.records import Images, Series

THIRDS = {"validation": 0.25, "test": 0.25}
PUBLISHED = {"validation": None, "test": None}


def pictures(labels, *, seed=0, maximum=255, size=(1, 2, 2), warnings=()) -> Images:
    pixels = np.random.default_rng(seed).integers(0, maximum + 1, (len(labels), *size)).astype(np.uint8)
    return Images(pixels, np.array(labels), maximum, None, warnings)


def complaint(*arguments) -> str:
    with pytest.raises(ValueError) as caught:
        prepare_images(*arguments)
    return str(caught.value)


def test_every_class_gives_its_share_to_every_split_and_no_record_is_lost():
    records = pictures(["a"] * 40 + ["b"] * 80)
    prepared = prepare_images({"all": records}, THIRDS, 0)
    for part, share in {"train": 0.5, "validation": 0.25, "test": 0.25}.items():
        counts = prepared.card["class_counts"][part]
        assert [counts["a"], counts["b"]] == pytest.approx([40 * share, 80 * share], rel=0.5)
    rows = np.concatenate([table["rows"] for table in prepared.tables.values()])
    assert np.sort(rows).tolist() == list(range(120))
    for table in prepared.tables.values():
        assert (table["images"] == records.pixels[table["rows"]]).all()
        assert table["images"].dtype == np.uint8 and table["labels"].dtype == table["rows"].dtype == np.int64


def test_the_draw_depends_on_the_seed_alone():
    records = pictures(["a", "b"] * 30)
    drawn = [prepare_images({"all": records}, THIRDS, seed).tables["test"]["rows"].tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] == [3, 4, 9, 11, 30, 38, 40, 43, 52, 53, 58, 59]  # on every machine


def test_published_parts_are_kept_and_the_seed_changes_nothing():
    parts = {
        "test": pictures(["b", "a"], seed=3),
        "train": pictures(["a", "b", "a", "b"], seed=1),
        "validation": pictures(["a"], seed=2),
    }
    prepared, again = prepare_images(parts, PUBLISHED, 0), prepare_images(parts, PUBLISHED, 1)
    rows = {name: table["rows"].tolist() for name, table in prepared.tables.items()}
    assert rows == {"train": [0, 1, 2, 3], "validation": [4], "test": [5, 6]}
    assert prepared.card == again.card and prepared.card["split"]["kind"] == "published"
    assert prepared.tables["test"]["labels"].tolist() == [1, 0]


def test_a_missing_validation_part_is_taken_from_train_only():
    parts = {"train": pictures(["a", "b"] * 50, seed=1), "test": pictures(["a", "b"] * 10, seed=2)}
    prepared = prepare_images(parts, {"validation": 0.1, "test": None}, 0)
    assert prepared.card["counts"] == {"train": 91, "validation": 9, "test": 20}
    assert prepared.tables["validation"]["rows"].max() < 100
    assert prepared.tables["test"]["rows"].tolist() == list(range(100, 120))
    assert prepared.card["split"]["detail"].startswith("test as published; validation 0.1 of the part train")


def test_the_card_describes_train_only():
    pixels = np.zeros((8, 2, 1, 2), dtype=np.uint8)
    pixels[:4, 0] = [[0, 10]]
    pixels[4:] = 200
    labels = np.array(["x", "y"] * 4)
    train, other = (Images(pixels[rows], labels[rows], 250, None) for rows in (slice(4), slice(4, 8)))
    card = prepare_images({"train": train, "validation": other, "test": other}, PUBLISHED, 0).card
    assert card["mean"] == [5 / 250, 0.0] and card["deviation"] == [5 / 250, 1.0]
    assert card["ranges"] == {"train": [0, 10]}
    assert (card["shape"], card["channels"], card["height"], card["width"], card["maximum"]) == ("grid", 2, 1, 2, 250)
    assert "channel 1 is constant in train" in card["warnings"]
    assert card["schema"]["images"] == {"dtype": "uint8", "shape": [2, 1, 2]}


def test_mean_and_deviation_agree_with_numpy():
    records = pictures(["a", "b"] * 2000, size=(3, 5, 5))
    prepared = prepare_images({"all": records}, THIRDS, 0)
    scaled = prepared.tables["train"]["images"] / 255
    assert prepared.card["mean"] == pytest.approx(scaled.mean(axis=(0, 2, 3)).tolist(), abs=1e-12)
    assert prepared.card["deviation"] == pytest.approx(scaled.std(axis=(0, 2, 3)).tolist(), abs=1e-12)


def test_duplicates_across_splits_are_counted():
    train = pictures(["a", "b"] * 20, seed=1, size=(1, 4, 4))
    drawn = prepare_images({"train": train, "test": train}, {"validation": 0.1, "test": None}, 0).tables
    chosen = [*drawn["train"]["rows"][:3], drawn["validation"]["rows"][0]]
    test = Images(train.pixels[chosen], np.array(list("abab")), 255, None)
    prepared = prepare_images({"train": train, "test": test}, {"validation": 0.1, "test": None}, 0)
    assert prepared.card["warnings"][:2] == [
        "3 of 4 images of test are also in train, pixel by pixel",
        "1 of 4 images of test are also in validation, pixel by pixel",
    ]


def test_small_and_absent_classes_are_warned_of():
    parts = {
        "train": pictures(["a"] * 12 + ["b"] * 9, seed=1, warnings=("2 files were ignored",)),
        "validation": pictures(["a"] * 11, seed=2),
        "test": pictures(["a"] * 10 + ["b"] * 10, seed=3),
    }
    assert prepare_images(parts, PUBLISHED, 0).card["warnings"][:1] == ["2 files were ignored"]
    text = prepare_images(parts, PUBLISHED, 0).card["warnings"]
    assert "train has fewer than 10 examples of class b (9)" in text
    assert "validation has no example of class b" in text
    assert not any(line.startswith("test has") for line in text)


def test_classes_are_sorted_as_numbers_where_they_are_numbers():
    assert prepare_images({"all": pictures([10, 9, 2] * 4)}, THIRDS, 0).card["classes"] == ["2", "9", "10"]
    parts = {"train": pictures([1, 2] * 4), "test": pictures(["1", "2"])}
    assert prepare_images(parts, {"validation": 0.3, "test": None}, 0).card["classes"] == ["1", "2"]


@pytest.mark.parametrize(
    ("parts", "split", "expected"),
    [
        (
            {"train": ["a", "b"], "test": ["c"]},
            {"validation": 0.5, "test": None},
            "part test has examples of class 'c'",
        ),
        ({"all": ["a"] * 9 + ["b"] * 2}, THIRDS, "class 'b' has 2 different examples, too few"),
        ({"all": ["a"] * 9}, THIRDS, "found one class only, 'a'"),
        ({"train": [], "test": ["a"]}, {"validation": 0.5, "test": None}, "part train has no images"),
        ({"train": ["a", "b"], "test": ["a"]}, THIRDS, "split.test: found 0.25; part test is published"),
        ({"train": ["a", "b"], "test": ["a"]}, PUBLISHED, "split.validation: found null; give a share"),
        ({"all": ["a", "b"]}, PUBLISHED, "split.validation: found null; give a share"),
        ({"all": ["a", "b"], "test": ["a"]}, THIRDS, "allowed: all alone, or train, validation and test"),
        ({"test": ["a", "b"]}, THIRDS, "data.parts: found test"),
        ({"all": ["a", "b"]}, {"validation": 0.5, "test": 0.5}, "leave something to train on"),
        ({"train": ["a"], "tests": ["a"]}, THIRDS, "data.parts: found 'tests'; allowed: all, or train"),
    ],
)
def test_parts_that_cannot_be_split_are_refused(parts, split, expected):
    message = complaint({name: pictures(labels) for name, labels in parts.items()}, split, 0)
    assert expected in message, message


def test_parts_of_different_size_or_kind_are_refused():
    parts = {"train": pictures(["a", "b"]), "test": pictures(["a", "b"], size=(1, 3, 2))}
    message = complaint(parts, {"validation": 0.5, "test": None}, 0)
    assert "train has 1 × 2 × 2 up to 255, test has 1 × 3 × 2 up to 255" in message
    series = Series(np.zeros((2, 1)), np.arange(2).astype("datetime64[s]"), ["a"])
    assert "part all holds a Series; choose a data.format that reads images" in complaint({"all": series}, THIRDS, 0)
