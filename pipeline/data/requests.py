"""What a user sends to a served forecast: the history that is read out of it, and the dates of the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd


def dates_after(last: pd.Timestamp, card: Mapping[str, Any]) -> pd.DatetimeIndex:
    """The dates of the forecast, in steps of the calendar where the series has them."""
    step = (
        pd.DateOffset(months=card["step_months"]) if card["step_months"] else pd.Timedelta(seconds=card["step_seconds"])
    )
    return pd.date_range(last, periods=card["horizon"] + 1, freq=step)[1:]


def history_of(request: pd.DataFrame, card: Mapping[str, Any]) -> tuple[np.ndarray, pd.Timestamp]:
    """The (T, C) values and the last date of a request. Raises ValueError with what is missing."""
    expected = ["date", *card["columns"]]
    absent = [name for name in expected if name not in request]
    if absent:
        raise ValueError(f"found the columns {list(request.columns)}; missing: {', '.join(absent)}")
    if len(request) < card["lookback"]:
        raise ValueError(
            f"found {len(request)} rows; the model looks back {card['lookback']} steps and needs at least as many"
        )
    dates = _dates(request["date"])
    columns = [_numbers(request[name], name) for name in card["columns"]]
    return np.stack(columns, axis=1), dates.iloc[-1]


def _dates(given: pd.Series) -> pd.Series:
    """Dates in ISO form, also where they came as whole numbers such as 20210301. Raises ValueError."""
    dates = pd.to_datetime(given.astype(str), format="ISO8601", errors="coerce")
    if dates.isna().any():
        raise ValueError(f"date: found {_first(given, dates.isna())}; expected dates such as 2021-03-01")
    if not dates.is_monotonic_increasing or dates.duplicated().any():
        raise ValueError("date: the rows must be in order of time and no date may repeat")
    return dates


def _numbers(given: pd.Series, name: str) -> np.ndarray:
    """(T,) float64 with NaN where a value is missing. Raises ValueError."""
    values = pd.to_numeric(given, errors="coerce").astype(np.float64)
    wrong = (values.isna() & given.notna()) | np.isinf(values)
    if wrong.any():
        raise ValueError(f"{name}: found {_first(given, wrong)}; expected numbers, and null where one is missing")
    if values.isna().all():
        raise ValueError(f"{name}: has no value at all; send a history with some")
    return values.to_numpy()


def _first(given: pd.Series, wrong: pd.Series) -> str:
    """The first value that is wrong, as the sender wrote it."""
    value = given[wrong].tolist()[0]
    return "null" if pd.isna(value) else repr(value)
