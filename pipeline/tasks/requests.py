"""Requests of a user to a served model: what is read out of them, and the dates of a forecast."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import IO, Any, TypeVar

import numpy as np
import pandas as pd

Read = TypeVar("Read")
LONGEST_TEXT = 100_000  # characters of one sentence; the other ones of its batch are padded to its length
FILES = {"image": ("image files (PNG, JPEG)", "an image file"), "audio": ("recordings (WAV, FLAC, OGG)", "a recording")}


def dates_after(last: pd.Timestamp, card: Mapping[str, Any]) -> pd.DatetimeIndex:
    """Returns the dates of the forecast, in steps of the calendar where the series has them."""
    step: Any
    if card["month_ends"]:
        step = pd.offsets.MonthEnd(card["step_months"])
    elif card["step_months"]:
        step = pd.DateOffset(months=card["step_months"])
    else:
        step = pd.Timedelta(seconds=card["step_seconds"])
    return pd.date_range(last, periods=card["horizon"] + 1, freq=step)[1:]


def history_of(request: pd.DataFrame, card: Mapping[str, Any]) -> tuple[np.ndarray, pd.Timestamp]:
    """Returns the (T, C) values and the last date of a request. Raises ValueError with what is missing."""
    expected = ["date", *card["columns"]]
    absent = [name for name in expected if name not in request]
    if absent:
        raise ValueError(f"found the columns {list(request.columns)}; missing: {', '.join(absent)}")
    if len(request) < card["lookback"]:
        raise ValueError(
            f"found {len(request)} rows; the model looks back {card['lookback']} steps and needs at least as many"
        )
    dates = _dates(request["date"])
    _check_steps(dates.to_numpy().astype("datetime64[s]"), card)
    columns = [_numbers(request[name], name) for name in card["columns"]]
    return np.stack(columns, axis=1), dates.iloc[-1]


def _check_steps(times: np.ndarray, card: Mapping[str, Any]) -> None:
    """Raises ValueError where no step of a history is the one that the model has learned, such as days for weeks."""
    from pipeline.data.steps import counted, in_words, month_steps

    seconds, months = np.diff(times.astype(np.int64)), card["step_months"]
    known = month_steps(times) == months if months else seconds == card["step_seconds"]
    if len(seconds) and not known.any():
        learned = counted(months, "month") if months else in_words(card["step_seconds"])
        raise ValueError(f"date: no two rows are {learned} apart, as those are that the model has learned from")


def _dates(column: pd.Series) -> pd.Series:
    """Parses dates in ISO form, also where they came as whole numbers such as 20210301. Raises ValueError."""
    dates = pd.to_datetime(column.astype(str), format="ISO8601", errors="coerce")
    if dates.isna().any():
        raise ValueError(f"date: found {_first(column, dates.isna())}; expected dates such as 2021-03-01")
    if not dates.is_monotonic_increasing or dates.duplicated().any():
        raise ValueError("date: the rows must be in order of time and no date may repeat")
    return dates


def _numbers(column: pd.Series, name: str) -> np.ndarray:
    """Returns (T,) float64 with NaN where a value is missing. Raises ValueError."""
    values = _finite(column, name)
    if np.isnan(values).all():
        raise ValueError(f"{name}: has no value at all; send a history with some")
    return values


def _finite(column: pd.Series, name: str) -> np.ndarray:
    """Returns (rows,) float64 with NaN where a value is missing. Raises ValueError for what is not a number."""
    values = pd.to_numeric(column, errors="coerce").astype(np.float64)
    wrong = (values.isna() & column.notna()) | np.isinf(values)
    if wrong.any():
        raise ValueError(f"{name}: found {_first(column, wrong)}; expected numbers, and null where one is missing")
    return values.to_numpy()


def _first(column: pd.Series, wrong: pd.Series) -> str:
    """Returns the first value that is wrong, as the sender wrote it."""
    value = column[wrong].tolist()[0]
    return "null" if pd.isna(value) else repr(value)


def series_of(request: pd.DataFrame, card: Mapping[str, Any]) -> tuple[list[str], list[np.ndarray]]:
    """Returns names and (C, T) values of the series of a request, in the order in which they first appear.

    The column `series` names the one that a row belongs to; rows of a series are in the order of time. Raises
    ValueError with what is wrong.
    """
    expected = ["series", *card["columns"]]
    absent = [name for name in expected if name not in request]
    if absent:
        raise ValueError(
            f"found the columns {list(request.columns)}; missing: {', '.join(absent)}; send a row for every step of "
            "every series, with the name of the series and a value for every channel"
        )
    if request["series"].isna().any():
        row = int(request["series"].isna().to_numpy().argmax())
        raise ValueError(f"series: found null in row {row}; expected the name of the series to which the row belongs")
    names = request["series"].astype(str).to_numpy()
    values = np.stack([_finite(request[name], name) for name in card["columns"]])  # (C, rows)
    rows_by_name: dict[str, list[int]] = {}
    for row, name in enumerate(names.tolist()):
        rows_by_name.setdefault(name, []).append(row)
    series = [values[:, rows] for rows in rows_by_name.values()]
    for name, steps in zip(rows_by_name, series, strict=True):
        for channel in np.flatnonzero(np.isnan(steps).all(axis=1)):
            raise ValueError(f"series {name!r}: {card['columns'][channel]} has no value at all; send some")
    return list(rows_by_name), series


def request_of_series(series: list[np.ndarray], card: Mapping[str, Any]) -> pd.DataFrame:
    """Builds the request that asks for these series (C, T); they are named 1, 2, …"""
    names = [str(number) for number, values in enumerate(series, start=1) for _ in range(values.shape[1])]
    values = np.concatenate([np.zeros((len(card["columns"]), 0)), *series], axis=1)  # (C, rows) float64
    return pd.DataFrame({"series": pd.Series(names, dtype=object), **dict(zip(card["columns"], values, strict=True))})


def texts_of(request: pd.DataFrame) -> list[str]:
    """Reads the sentences of a request from its column `text`. Raises ValueError with the row of anything else."""
    if "text" not in request:
        raise ValueError(f"found the columns {list(request.columns)}; expected one column `text` with sentences")
    for row, text in enumerate(request["text"]):
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"row {row}: found {text!r}; expected a sentence")
        if len(text) > LONGEST_TEXT:
            raise ValueError(f"row {row}: found {len(text):,} characters; expected up to {LONGEST_TEXT:,}")
    return list(request["text"])


def files_of(request: pd.DataFrame, column: str, read: Callable[[IO[bytes]], Read]) -> list[Read]:
    """Reads the files in a column of FILES with `read`. Raises ValueError naming the row of what it cannot read."""
    many, one = FILES[column]
    if column not in request:
        raise ValueError(f"found the columns {list(request.columns)}; expected one column `{column}` with {many}")
    decoded = []
    for row, data in enumerate(request[column]):
        if not isinstance(data, bytes):
            raise ValueError(f"row {row}: found {type(data).__name__}; expected the bytes of {one} (base64 in JSON)")
        try:
            decoded.append(read(io.BytesIO(data)))
        except ValueError as error:
            raise ValueError(f"row {row}: {error}") from None
    return decoded
