import numpy as np
import pandas as pd
import pytest

from pipeline.data.steps import at_month_ends, in_words, irregular_steps, usual_step
from pipeline.tasks.requests import dates_after, history_of


def times(*texts: str) -> np.ndarray:
    return np.array(texts, dtype="datetime64[s]")


def test_weeks_are_seconds():
    assert usual_step(times("2020-01-01", "2020-01-08", "2020-01-15")) == (604800, None)


def test_months_quarters_and_years_are_regular_though_their_seconds_differ():
    months = np.arange("2019-01", "2020-04", dtype="datetime64[M]")
    for step, found in ((1, 1), (3, 3), (12, 12)):
        regular = months[::step].astype("datetime64[s]")
        assert usual_step(regular)[1] == found and not list(irregular_steps(regular))


def test_ends_of_months_are_regular():
    ends = times("2020-01-31", "2020-02-29", "2020-03-31", "2020-04-30")
    assert usual_step(ends)[1] == 1
    assert not list(irregular_steps(ends))


def test_a_missing_month_and_a_missing_week_are_irregular():
    (month,) = irregular_steps(times("2020-01-01", "2020-02-01", "2020-04-01", "2020-05-01"))
    assert month.startswith("1 of 3 steps are not 1 month (first: 2020-02-01T00:00:00 to 2020-04-01T00:00:00)")
    (week,) = irregular_steps(times("2020-01-01", "2020-01-08", "2020-01-22", "2020-01-29"))
    assert week.startswith("1 of 3 steps are not 7 days")


def test_steps_in_words():
    assert [in_words(seconds) for seconds in (604800, 3600, 900, 61)] == [
        "7 days",
        "1 hour",
        "15 minutes",
        "61 seconds",
    ]


@pytest.mark.parametrize(
    ("last", "months", "ends", "expected"),
    [
        ("2021-01-31", 1, True, ["2021-02-28", "2021-03-31", "2021-04-30"]),
        ("2021-06-30", 3, True, ["2021-09-30", "2021-12-31", "2022-03-31"]),
        ("2021-01-15", 1, False, ["2021-02-15", "2021-03-15", "2021-04-15"]),
        ("2021-01-31", None, False, ["2021-02-07", "2021-02-14", "2021-02-21"]),
    ],
)
def test_forecasts_go_on_in_steps_of_the_calendar(
    last: str, months: int | None, ends: bool, expected: list[str]
) -> None:
    card = {"step_months": months, "month_ends": ends, "step_seconds": 7 * 86400, "horizon": 3}
    assert dates_after(pd.Timestamp(last), card).strftime("%Y-%m-%d").tolist() == expected
    times = np.array(expected, dtype="datetime64[s]")
    assert at_month_ends(times) == ends


def test_a_history_in_other_steps_than_those_of_train_is_refused() -> None:
    card = {"columns": ["a"], "lookback": 3, "step_months": None, "step_seconds": 7 * 86400}
    request = pd.DataFrame({"date": ["2021-01-01", "2021-01-02", "2021-01-03"], "a": [1.0, 2.0, 3.0]})
    with pytest.raises(ValueError, match="date: no two rows are 7 days apart, as those are that the model has learned"):
        history_of(request, card)
    assert history_of(request, card | {"step_seconds": 86400})[0].tolist() == [[1.0], [2.0], [3.0]]
    card |= {"step_months": 1, "step_seconds": 31 * 86400}
    with pytest.raises(ValueError, match="date: no two rows are 1 month apart,"):
        history_of(request, card)
