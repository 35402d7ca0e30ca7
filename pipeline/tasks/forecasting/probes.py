"""Requests that try a served forecaster before it is promoted, and what must come back."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.data.tables import Card, Table
from pipeline.tasks.probes import BATCHES, CLOSE, Probe


def forecast_probes(table: Table, predictions: pd.DataFrame, card: Card) -> list[Probe]:
    """Lists histories of test examples: as long as the model looks back, longer, shorter, with gaps and empty."""
    lookback, count = card["lookback"], int(predictions["example"].max()) + 1
    spread = float(predictions["scale"].min())
    probes = []
    for example in np.unique(np.linspace(0, count - 1, max(BATCHES)).astype(int)).tolist():
        for longer in {0, min(example, lookback // 2)}:
            request = _history(table, card, example - longer, example + lookback)
            name = f"the history of test example {example}" + (f" and {longer} steps more" if longer else "")
            answer = _forecast(predictions, example)
            probes.append(Probe(name, request, answer, absolute=CLOSE * spread, relative=CLOSE))
    gap = _history(table, card, 0, lookback)
    gap.loc[lookback // 2, card["columns"][-1]] = np.nan
    probes.append(Probe("a history with a value missing", gap))
    empty = gap.assign(**{card["columns"][-1]: np.nan})
    probes.append(Probe("a series without a value", empty, error="has no value at all"))
    short = _history(table, card, 0, lookback - 1)
    probes.append(Probe(f"a history of {lookback - 1} steps", short, error=f"looks back {lookback} steps"))
    probes.append(Probe("an empty history", short.iloc[:0], error=f"looks back {lookback} steps"))
    return probes


def _history(table: Table, card: Card, begin: int, end: int) -> pd.DataFrame:
    columns = {name: table["values"][begin:end, at].double().numpy() for at, name in enumerate(card["columns"])}
    return pd.DataFrame({"date": _dates(table["times"][begin:end].numpy()), **columns})


def _forecast(predictions: pd.DataFrame, example: int) -> pd.DataFrame:
    rows = predictions[predictions["example"] == example].reset_index(drop=True)
    # Not the dates: the answer counts on in steps of the calendar, and the rows of a real series may have gaps.
    return rows.rename(columns={"column": "series"})[["series", "forecast", "lower", "upper"]]


def _dates(seconds: np.ndarray) -> pd.Series:
    return pd.Series(pd.to_datetime(seconds, unit="s").strftime("%Y-%m-%d %H:%M:%S"))
