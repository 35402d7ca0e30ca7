"""Forecasts after many origins of one series: the response to the test examples as a user has them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import nn

from pipeline.data.tables import Card
from pipeline.tasks.forecasting.preparation import ORIGIN, RULES, fill

AT_ONCE = 512  # windows
QUANTILES = ("lower", "forecast", "upper")


@torch.inference_mode()
def forecasts(network: nn.Module, requests: pd.DataFrame, card: Card) -> pd.DataFrame:
    """Forecasts one row per origin, series and step, in the units of the series.

    Gaps are filled from earlier rows alone, so that each forecast is the one that a user would get who sends the rows
    up to its origin. Raises ValueError where the series does not reach back far enough before the first of them.
    """
    columns, lookback = card["columns"], card["lookback"]
    values = requests[columns].to_numpy(np.float64)
    origins = np.flatnonzero(requests[ORIGIN].to_numpy(bool))
    filled, first = fill(values, RULES[card["missing_rule"]], card["season"])
    if origins[0] - lookback + 1 < first:
        raise ValueError(
            f"found {origins[0] + 1 - first} rows before the first forecast; the model looks back {lookback} steps"
        )
    windows = torch.from_numpy(filled[first:].astype(np.float32)).unfold(0, lookback, 1)  # (T - L + 1, C, L)
    past = windows[torch.from_numpy(origins - lookback + 1 - first)]
    quantiles = torch.cat([network(part).sort(dim=1).values for part in torch.split(past, AT_ONCE)])  # (N, 3, C, H)
    return _table(quantiles.double().numpy(), columns)


def quantiles_of(responses: pd.DataFrame, card: Card) -> np.ndarray:
    """Returns (N, 3, C, H) of the forecasts, series in the order of this card."""
    series, horizon = card["columns"], card["horizon"]
    order = responses["series"].iloc[: len(series) * horizon : horizon].tolist()
    values = responses[list(QUANTILES)].to_numpy(np.float64).reshape(-1, len(series), horizon, len(QUANTILES))
    quantiles: np.ndarray = values[:, [order.index(name) for name in series]].transpose(0, 3, 1, 2)
    return quantiles


def _table(quantiles: np.ndarray, columns: list[str]) -> pd.DataFrame:
    count, _, channels, horizon = quantiles.shape
    keys = {
        "example": np.repeat(np.arange(count), channels * horizon),
        "series": np.tile(np.repeat(np.array(columns, dtype=object), horizon), count),
        "step": np.tile(np.arange(1, horizon + 1), count * channels),
    }
    return pd.DataFrame(keys | {name: quantiles[:, place].ravel() for place, name in enumerate(QUANTILES)})
