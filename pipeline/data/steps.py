"""The step between the rows of a time series, in seconds or in months of the calendar."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

DAY = 86400


def usual_step(times: np.ndarray) -> tuple[int, int | None]:
    """Finds the most frequent step in seconds, and in whole months where the calendar rules (months, quarters, years).

    times: (T,) datetime64[s], increasing.
    """
    if len(times) < 2:
        return 0, None
    steps, counts = np.unique(np.diff(times.astype(np.int64)), return_counts=True)
    seconds = int(steps[counts.argmax()])
    if seconds < 28 * DAY or not _same_day(times):
        return seconds, None
    months, counts = np.unique(month_steps(times), return_counts=True)
    return seconds, int(months[counts.argmax()])


def at_month_ends(times: np.ndarray) -> bool:
    """Whether all times (T,) are the last day of their month."""
    days = times.astype("datetime64[D]")
    return bool(((days + np.timedelta64(1, "D")).astype("datetime64[M]") != days.astype("datetime64[M]")).all())


def irregular_steps(times: np.ndarray) -> Iterator[str]:
    """Yields a sentence, if some steps are not the usual one."""
    seconds, months = usual_step(times)
    if months is None:
        wrong = np.flatnonzero(np.diff(times.astype(np.int64)) != seconds)
    else:
        wrong = np.flatnonzero(month_steps(times) != months)
    if len(wrong):
        usual = counted(months, "month") if months else in_words(seconds)
        first = f"{times[wrong[0]]} to {times[wrong[0] + 1]}"
        yield f"{len(wrong)} of {len(times) - 1} steps are not {usual} (first: {first}); rows are taken as even steps"


def in_words(seconds: int) -> str:
    """Converts 604800 to '7 days'."""
    for size, unit in ((DAY, "day"), (3600, "hour"), (60, "minute")):
        if seconds % size == 0:
            return counted(seconds // size, unit)
    return counted(seconds, "second")


def counted(number: int, unit: str) -> str:
    """Formats '1 day', '7 days'."""
    return f"{number} {unit}{'' if number == 1 else 's'}"


def _same_day(times: np.ndarray) -> bool:
    """Whether all times are the same day of their month, or all the last one."""
    days = times.astype("datetime64[D]")
    first = days.astype("datetime64[M]").astype("datetime64[D]")
    return at_month_ends(times) or len(np.unique(days - first)) == 1


def month_steps(times: np.ndarray) -> np.ndarray:
    """Returns the (T - 1,) months of the calendar from each time to the next."""
    return np.diff(times.astype("datetime64[M]").astype(np.int64))
