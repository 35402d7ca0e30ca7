"""An example keeps its split: it follows from content and seed, not from how many examples there are."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.data.splits import by_class, draws, split_rows

SHARES = {"validation": 0.2, "test": 0.2}


def units(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)


def parts(contents: np.ndarray, labels: np.ndarray | None = None, seed: int = 0) -> dict[str, set[int]]:
    """Contents of every split."""
    names = ["a", "b", "c"] if labels is not None else ["things"]
    rows = split_rows({"all": len(contents)}, SHARES, seed, contents, classes=names, labels=labels)
    return {name: set(contents[found].tolist()) for name, found in rows.items()}


@pytest.mark.parametrize("labelled", [False, True])
def test_an_example_keeps_its_split_through_twenty_growths_in_any_order(labelled: bool) -> None:
    contents = units(2000)
    labels = np.random.default_rng(1).integers(0, 3, len(contents)) if labelled else None
    order = np.random.default_rng(2).permutation(len(contents))
    place: dict[int, str] = {}
    size = 700
    while size < len(contents):
        present = order[:size]
        found = parts(contents[present], None if labels is None else labels[present])
        for name, members in found.items():
            for member in members:
                assert place.setdefault(member, name) == name
        size = int(size * 1.05) + 1
    assert len(place) > 1800


def test_shares_are_kept_within_what_chance_allows() -> None:
    found = parts(units(20_000))
    assert {name: len(members) for name, members in found.items()} == pytest.approx(
        {"train": 12_000, "validation": 4_000, "test": 4_000}, abs=4 * np.sqrt(20_000 * 0.2 * 0.8)
    )


def test_another_seed_is_another_draw_and_the_draw_is_the_same_on_every_machine() -> None:
    contents = np.arange(4, dtype=np.uint64)
    assert draws(contents, 0).tolist() == pytest.approx([0.88331, 0.56656, 0.59119, 0.11345], abs=1e-5)
    both = [draws(units(1000), seed) for seed in (0, 1)]
    assert abs(np.corrcoef(both)[0, 1]) < 0.1


def test_the_same_content_is_never_in_two_splits_whatever_its_labels() -> None:
    contents = np.repeat(units(60), 3)
    labels = np.arange(len(contents)) % 3  # every content under three labels
    found = parts(contents, labels)
    assert sum(map(len, found.values())) == len(set(contents.tolist()))


def test_a_class_of_fewer_than_ten_has_its_share_in_every_split() -> None:
    labels = np.array([0] * 300 + [1] * 5 + [2] * 9)
    for seed in range(50):
        found = by_class(draws(units(len(labels), seed), seed), labels, ["a", "b", "c"], SHARES)
        counts = {name: np.bincount(labels[rows], minlength=3)[1:].tolist() for name, rows in found.items()}
        assert counts == {"train": [3, 5], "validation": [1, 2], "test": [1, 2]}


def test_no_split_is_ever_empty() -> None:
    for seed in range(200):
        rows = split_rows({"all": 10}, {"validation": 0.05, "test": 0.05}, seed, units(10, seed), classes=["things"])
        assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(10))
        assert all(len(found) for found in rows.values())


def test_copies_of_one_example_are_too_few() -> None:
    with pytest.raises(ValueError, match="found 1 different pictures, too few for train and shares of validation and"):
        split_rows({"all": 8}, SHARES, 0, np.full(8, 7, dtype=np.uint64), classes=["pictures"])


def test_published_parts_stay_as_they_are() -> None:
    rows = split_rows({"train": 50, "test": 20}, {"validation": 0.2}, 0, units(70), classes=["things"])
    assert rows["test"].tolist() == list(range(50, 70))
    assert sorted([*rows["train"], *rows["validation"]]) == list(range(50))
