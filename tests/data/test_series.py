import numpy as np
import pytest

from pipeline.data.images import prepare_images
from pipeline.formats.records import Images, Series
from pipeline.tasks.forecasting.preparation import RULES, fill, prepare_series

SHARES = {"validation": 0.2, "test": 0.2}
PUBLISHED = {"validation": None, "test": None}
SETTINGS = {"lookback": 6, "horizon": 3, "season": 4, "missing": "last"}
NAN = np.nan


def days(values, *, start="2020-01-01", columns=None, step="D") -> Series:
    array = np.array(values, dtype=np.float64)
    array = array[:, None] if array.ndim == 1 else array
    times = (np.datetime64(start, step) + np.arange(len(array))).astype("datetime64[s]")
    return Series(array, times, columns or [f"c{number}" for number in range(array.shape[1])])


def complaint(parts, split=SHARES, **settings) -> str:
    with pytest.raises(ValueError) as caught:
        prepare_series(parts, split, **SETTINGS | settings)
    return str(caught.value)


def test_rows_are_split_by_time_with_shares_rounded_down():
    prepared = prepare_series({"all": days(np.arange(103.0))}, {"validation": 0.2, "test": 0.29}, **SETTINGS)
    assert prepared.card["counts"] == {"train": 54, "validation": 20, "test": 29}  # 20.6 and 29.87
    assert prepared.card["start"] == {
        "train": "2020-01-01T00:00:00",
        "validation": "2020-02-24T00:00:00",
        "test": "2020-03-15T00:00:00",
    }
    assert prepared.card["end"]["test"] == "2020-04-12T00:00:00"


def test_validation_and_test_begin_with_the_lookback_rows_before_them():
    tables = prepare_series({"all": days(np.arange(100.0))}, SHARES, **SETTINGS).tables
    found = {name: (table["context"].tolist(), table["values"][[0, -1], 0].tolist()) for name, table in tables.items()}
    assert found == {"train": ([0], [0, 59]), "validation": ([6], [54, 79]), "test": ([6], [74, 99])}
    assert tables["test"]["values"].dtype == np.float32 and tables["test"]["observed"].dtype == bool
    assert tables["test"]["times"][0] == np.datetime64("2020-03-15").astype("datetime64[s]").astype(int)


def test_a_lookback_longer_than_validation_reaches_into_train():
    tables = prepare_series({"all": days(np.arange(100.0))}, SHARES, **SETTINGS | {"lookback": 30}).tables
    assert tables["test"]["context"].tolist() == [30] and tables["test"]["values"][0, 0] == 50


def test_published_parts_are_kept_and_validation_can_come_from_train():
    values = days(np.arange(60.0))
    cut = [Series(values.values[rows], values.times[rows], values.columns) for rows in (slice(40), slice(40, 60))]
    prepared = prepare_series(
        dict(zip(["train", "test"], cut, strict=True)), {"validation": 0.25, "test": None}, **SETTINGS
    )
    assert prepared.card["counts"] == {"train": 30, "validation": 10, "test": 20}
    assert prepared.tables["test"]["values"][:, 0].tolist() == list(range(34, 60))


def test_statistics_come_from_observed_rows_of_train_alone():
    values = np.arange(20.0)
    values[[3, 5]] = NAN
    values[12:] = 1e6
    card = prepare_series({"all": days(values)}, SHARES, **SETTINGS).card
    seen = values[:12][~np.isnan(values[:12])]
    assert card["mean"] == [seen.mean()] and card["deviation"] == pytest.approx([seen.std()], rel=1e-15)
    assert card["ranges"] == {"c0": [0.0, 11.0]}
    assert card["missing"] == {"train": {"c0": 2}, "validation": {"c0": 0}, "test": {"c0": 0}}


def test_last_repeats_the_last_observation():
    values = np.array([NAN, 1, NAN, NAN, 4, NAN])[:, None]
    filled, first = fill(values, RULES["last"], 2)
    assert first == 1 and filled[1:, 0].tolist() == [1, 1, 1, 4, 4]


def test_seasonal_takes_last_season_and_its_drift():
    # season of 4; from the second on, everything is 10 higher
    values = np.array([1, 2, 3, 4, 11, 12, NAN, NAN, NAN, NAN, NAN])[:, None]
    filled, _ = fill(values, RULES["seasonal"], 4)
    assert filled[:, 0].tolist() == [1, 2, 3, 4, 11, 12, 13, 14, 21, 22, 23]


def test_seasonal_repeats_the_last_value_before_a_season_has_passed():
    filled, _ = fill(np.array([1, 5, NAN, 7, NAN, 9])[:, None], RULES["seasonal"], 4)
    assert filled[:, 0].tolist() == [1, 5, 5, 7, 7, 9]


@pytest.mark.parametrize("rule", RULES)
def test_filled_gaps_do_not_see_the_future(rule):
    random = np.random.default_rng(0)
    values = random.normal(size=(200, 3))
    values[random.random(values.shape) < 0.3] = NAN
    values[0] = 1.0
    whole, _ = fill(values, RULES[rule], 7)
    assert not np.isnan(whole).any() and (whole[~np.isnan(values)] == values[~np.isnan(values)]).all()
    for end in (20, 57, 150):
        changed = values.copy()
        changed[end:] = random.normal(size=changed[end:].shape)
        assert (fill(changed, RULES[rule], 7)[0][:end] == whole[:end]).all()
        assert (fill(values[:end], RULES[rule], 7)[0] == whole[:end]).all()


def test_filled_targets_stay_marked_as_not_observed():
    values = np.arange(50.0)
    values[45] = NAN
    table = prepare_series({"all": days(values)}, SHARES, **SETTINGS).tables["test"]
    assert table["observed"][:, 0].tolist() == [True] * 11 + [False] + [True] * 4
    assert table["values"][11, 0] == 44


def test_rows_before_the_first_observation_are_dropped_with_a_warning():
    values = np.stack([np.arange(50.0), np.arange(50.0)], axis=1)
    values[:5, 1] = NAN
    prepared = prepare_series({"all": days(values)}, SHARES, **SETTINGS)
    assert prepared.card["counts"] == {"train": 25, "validation": 10, "test": 10}
    assert prepared.card["start"]["train"] == "2020-01-06T00:00:00"
    assert prepared.card["warnings"] == ["the first 5 rows of train were dropped: nothing observed yet in c1"]
    assert prepared.tables["train"]["values"][0].tolist() == [5, 5]


def test_constant_and_dead_columns_are_warned_of():
    values = np.stack([np.arange(50.0), np.full(50, 3.0), np.arange(50.0)], axis=1)
    values[40:, 2] = NAN
    card = prepare_series({"all": days(values, columns=["a", "b", "c"])}, SHARES, **SETTINGS).card
    assert card["deviation"][1] == 1.0 and card["mean"][1] == 3.0
    assert card["warnings"] == [
        "column b is constant in train (3)",
        "column c has no observation in test and is not scored there",
    ]


def test_irregular_steps_are_warned_of():
    series = days(np.arange(50.0))
    series.times[30:] += np.timedelta64(2, "D")
    (warning,) = prepare_series({"all": series}, SHARES, **SETTINGS).card["warnings"]
    assert warning.startswith("1 of 49 steps are not 1 day (first: 2020-01-30T00:00:00 to 2020-02-02T00:00:00)")


@pytest.mark.parametrize(
    ("values", "settings", "expected"),
    [
        (np.arange(14.0), {"lookback": 8}, "train has 10 rows, but needs 11 or more (lookback 8 + horizon 3"),
        (np.arange(14.0), {"season": 12}, "train has 10 rows, but needs 13 or more"),
        (np.arange(14.0), {"lookback": 2}, "validation has 2 rows, but needs 3 or more (horizon 3)"),
        (np.arange(3.0), {}, "train has 3 rows, but needs 9"),
        (np.full(50, NAN), {}, "column 'c0' has no observation in the 30 rows of train"),
        (np.r_[np.full(25, NAN), np.arange(25.0)], {}, "train has 5 rows after 25 rows without an observation"),
        (np.r_[np.arange(40.0), np.full(10, NAN)], {}, "column 'c0' has no observation in the 10 rows of test"),
    ],
)
def test_series_that_cannot_be_split_are_refused(values, settings, expected):
    message = complaint({"all": days(values)}, **settings)
    assert expected in message, message


def test_a_series_that_single_precision_would_flatten_is_refused():
    message = complaint({"all": days(1.6e9 + np.arange(100.0))})
    assert (
        "column 'c0' lies around 1.6e+09 and varies by 17 in train" in message and "steps of about 1.2e+02" in message
    )
    for whole in (1.6e9 + 1e5 * np.arange(100.0), 1024 + (np.arange(100.0) == 7), 12e6 + np.arange(100.0) % 10):
        prepare_series({"all": days(whole)}, SHARES, **SETTINGS)


def test_parts_that_overlap_or_differ_are_refused():
    train, test = days(np.arange(30.0)), days(np.arange(30.0), start="2020-01-30")
    share = {"validation": 0.2, "test": None}
    message = complaint({"train": train, "test": test}, share)
    assert "part test begins at 2020-01-30T00:00:00, but part train ends at 2020-01-30T00:00:00" in message
    other = days(np.arange(30.0), start="2021-01-01", columns=["x"])
    assert "part test has the columns ['x'], part train ['c0']" in complaint({"train": train, "test": other}, share)
    later = days(np.arange(30.0), start="2021-01-01")
    message = complaint({"train": train, "validation": later}, {"validation": None, "test": 0.2})
    assert "split.test: found a share, but test comes after the published validation part" in message


def test_images_are_no_series_and_the_other_way_round():
    images = Images(np.zeros((2, 1, 1, 1), dtype=np.uint8), np.array(["a", "b"]), 255, None)
    assert "part all holds Images; choose a data.format that reads series" in complaint({"all": images})
    with pytest.raises(ValueError, match="reads images"):
        prepare_images({"all": days([1, 2])}, SHARES, 0)
