"""Labelled series: gaps, splits, padding, statistics of train alone, and what the card warns of."""

import numpy as np
import pytest

from pipeline.formats.records import Images, LabelledSeries
from pipeline.tasks.series_classification.preparation import fill, padded, prepare_labelled_series

NAN = np.nan
PUBLISHED = {"validation": None, "test": None}
QUARTER = {"validation": 0.25, "test": None}


def records(labels, *, lengths=(3, 5), channels=1, seed=0) -> LabelledSeries:
    random = np.random.default_rng(seed)
    values = [random.normal(size=(channels, lengths[number % len(lengths)])) for number in range(len(labels))]
    return LabelledSeries(values, np.array(labels), [f"c{number}" for number in range(channels)])


def complaint(parts, split=QUARTER) -> str:
    with pytest.raises(ValueError) as caught:
        prepare_labelled_series(parts, split, 0)
    return str(caught.value)


def test_gaps_are_filled_along_straight_lines_and_at_the_ends_by_the_nearest_value():
    filled = fill(np.array([[NAN, 1, NAN, NAN, 4, NAN], [0, 1, 2, 3, 4, 5]]))
    assert filled.tolist() == [[1, 1, 2, 3, 4, 4], [0, 1, 2, 3, 4, 5]]


def test_filling_leaves_its_input_alone():
    values = np.array([[1, NAN, 3]])
    assert fill(values).tolist() == [[1, 2, 3]] and np.isnan(values[0, 1])


def test_series_are_padded_with_zeros_behind_their_lengths():
    table = padded([np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[5.0], [6.0]])])
    assert table["values"].tolist() == [[[1, 2], [3, 4]], [[5, 0], [6, 0]]]
    assert table["lengths"].tolist() == [2, 1]
    assert table["values"].dtype == np.float32 and table["lengths"].dtype == np.int64


def test_every_class_gives_its_share_to_validation_and_the_published_test_stays_whole():
    parts = {"train": records(["a"] * 12 + ["b"] * 8), "test": records(["b", "a", "b"], seed=1)}
    prepared = prepare_labelled_series(parts, QUARTER, 0)
    assert prepared.card["class_counts"] == {
        "train": {"a": 9, "b": 6},
        "validation": {"a": 3, "b": 2},
        "test": {"a": 1, "b": 2},
    }
    assert prepared.tables["test"]["labels"].tolist() == [1, 0, 1]
    rows = np.concatenate([prepared.tables[part]["rows"] for part in ("train", "validation")])
    assert np.sort(rows).tolist() == list(range(20))
    for row, values, length in zip(*(prepared.tables["train"][k] for k in ("rows", "values", "lengths")), strict=True):
        assert values[:, :length].tolist() == parts["train"].values[row].astype(np.float32).tolist()


def test_the_draw_depends_on_the_seed_alone():
    parts = {"all": records(["a", "b"] * 12)}
    share = {"validation": 0.25, "test": 0.25}
    drawn = [prepare_labelled_series(parts, share, seed).tables["test"]["rows"].tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_statistics_are_of_the_steps_of_train_alone_and_not_of_padding():
    train = LabelledSeries([np.array([[1.0, 3.0], [7, 7]]), np.array([[5.0], [7]])], np.array(["a", "b"]), ["x", "y"])
    other = LabelledSeries([np.array([[1e6], [1e6]])] * 2, np.array(["a", "b"]), ["x", "y"])
    card = prepare_labelled_series({"train": train, "validation": other, "test": other}, PUBLISHED, 0).card
    assert card["mean"] == [3.0, 7.0]
    assert card["deviation"] == [pytest.approx((8 / 3) ** 0.5, rel=1e-15), 1.0]
    assert card["ranges"] == {"x": [1.0, 5.0], "y": [7.0, 7.0]}
    assert card["steps"] == {"train": [1, 2], "validation": [1, 1], "test": [1, 1]}


def test_the_card_tells_of_gaps_constant_channels_few_examples_and_duplicates():
    train, test = records(["a", "b"] * 20, lengths=(4,)), records(["a", "b"] * 10, lengths=(4,), seed=1)
    train.values[0][:] = [[1, NAN, NAN, 4]]
    train.values[1][:] = 5.0
    test.values[3][:] = train.values[2]
    prepared = prepare_labelled_series({"train": train, "validation": test, "test": test}, PUBLISHED, 0)
    warnings = prepared.card["warnings"]
    assert "2 missing values in 1 of 40 series of train were filled by straight lines" in warnings
    assert "channel c0 is constant in 1 of 40 series of train" in warnings
    assert "1 of 20 series of test are also in train, value by value" in warnings
    assert prepared.card["missing"] == {"train": {"c0": 2}, "validation": {"c0": 0}, "test": {"c0": 0}}
    assert prepared.tables["train"]["values"][0].tolist() == [[1, 2, 3, 4]]
    few = prepare_labelled_series({"train": records(["a", "b"] * 4), "test": test}, QUARTER, 0).card["warnings"]
    assert "train has fewer than 10 examples of class a (3), b (3)" in few


def test_parts_that_do_not_fit_are_refused():
    train = records(["a", "b"] * 4)
    assert "part test has examples of class 'c', which is not in train ('a', 'b')" in complaint(
        {"train": train, "test": records(["a", "c"])}
    )
    assert "part train has 1, part test 2" in complaint({"train": train, "test": records(["a", "b"], channels=2)})
    images = Images(np.zeros((2, 1, 1, 1), dtype=np.uint8), np.array(["a", "b"]), 255, None)
    assert "part train holds Images; choose a data.format that reads labelled series" in complaint(
        {"train": images, "test": train}
    )
    assert "found one class only, 'a'" in complaint({"train": records(["a"] * 8), "test": records(["a"])})
    assert "class 'b' has 1 different examples, too few" in complaint(
        {"train": records(["a"] * 8 + ["b"]), "test": train}
    )


def test_numbers_that_only_float64_holds_are_refused():
    train = records(["a", "b"] * 4)
    train.values[3][0, 1] = 1e39
    assert "part train, series 4, c0: found 1e+39; allowed: numbers up to 3.4e+38" in complaint(
        {"train": train, "test": records(["a", "b"])}
    )
