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
    dates = pd.to_datetime(request["date"])
    if not dates.is_monotonic_increasing or dates.duplicated().any():
        raise ValueError("date: the rows must be in order of time and no date may repeat")
    return request[card["columns"]].to_numpy(np.float64), dates.iloc[-1]
