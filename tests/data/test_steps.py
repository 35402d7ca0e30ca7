import numpy as np

from pipeline.data.steps import in_words, irregular_steps, usual_step


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
