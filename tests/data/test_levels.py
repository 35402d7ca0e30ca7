"""Pictures with few levels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.formats.records import Images, Series
from pipeline.tasks.image_generation.preparation import prepare_levels, quantise

SHARES = {"validation": 0.25, "test": 0.25}


def images(maximum: int = 255) -> Images:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, maximum + 1, (40, 1, 3, 2)).astype(np.uint8)
    return Images(pixels, np.arange(40) % 2, maximum=maximum, names=None)


def test_all_levels_of_the_files_are_kept_as_they_are() -> None:
    for maximum in (1, 16, 255):
        found = quantise(images(maximum), maximum + 1)
        assert np.array_equal(found.pixels, images(maximum).pixels)
        assert found.maximum == maximum


def test_fewer_levels_share_the_values_evenly() -> None:
    values = Images(np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16), np.zeros(1), maximum=255, names=None)
    found = quantise(values, 8)
    assert found.maximum == 7
    assert np.bincount(found.pixels.ravel()).tolist() == [32] * 8
    assert (np.diff(found.pixels.ravel().astype(int)) >= 0).all()


def test_the_card_says_of_which_levels_bits_are_counted() -> None:
    prepared = prepare_levels({"all": images()}, SHARES, 0, levels=4, samples=2)
    assert (prepared.card["levels"], prepared.card["values"], prepared.card["maximum"]) == (4, 256, 3)
    assert max(table["images"].max() for table in prepared.tables.values()) == 3


def test_more_levels_than_the_files_have_are_refused() -> None:
    with pytest.raises(ValueError, match=r"settings\.levels: found 18; allowed: 2 to 17, the values that a pixel can"):
        prepare_levels({"all": images(16)}, SHARES, 0, levels=18, samples=2)


def test_fewer_samples_than_classes_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"settings\.samples: found 1; allowed: at least one for each of the 2 classes"
    ):
        prepare_levels({"all": images()}, SHARES, 0, levels=4, samples=1)


def test_pictures_of_one_class_are_enough() -> None:
    alone = replace(images(), labels=np.full(40, "flower"))
    prepared = prepare_levels({"all": alone}, SHARES, 0, levels=4, samples=1)
    assert prepared.card["classes"] == ["flower"]
    assert {part: len(table["labels"]) for part, table in prepared.tables.items()} == {
        "train": 18, "validation": 10, "test": 12,
    }  # fmt: skip


def test_what_is_no_picture_is_refused() -> None:
    series = Series(np.zeros((3, 1)), np.arange(3).astype("datetime64[s]"), ["a"])
    with pytest.raises(ValueError, match=r"part all holds a Series; choose a data\.format that reads images"):
        prepare_levels({"all": series}, SHARES, 0, levels=4, samples=2)  # type: ignore[dict-item]
