"""Forecasts that need no model: the mean of train, and the last value of the window."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from pipeline.data.tables import Batch, Card, Table
from pipeline.tasks.forecasting.baselines import with_intervals


def forecast_guesses(
    train: Table, examples: Mapping[str, Batch], card: Card, quantiles: list[float], unit: np.ndarray
) -> dict[str, dict[str, pd.DataFrame]]:
    """Guesses `train_mean` and `last_value` of each series, with intervals from their errors on train.

    unit: (C,) by what the errors of each series are divided.
    """
    values, observed = train["values"].double().numpy(), train["observed"].numpy()  # (T, C)
    means = np.where(observed, values, 0).sum(0) / np.maximum(observed.sum(0), 1)
    points: dict[str, dict[str, np.ndarray]] = {"train_mean": {}, "last_value": {}}
    for split, batch in examples.items():
        shape = batch["future"].shape  # (N, C, H)
        points["train_mean"][split] = np.broadcast_to(means[:, None], shape)
        points["last_value"][split] = np.broadcast_to(batch["past"][..., -1:].double().numpy(), shape)
    return {name: with_intervals(point, examples, card, quantiles, unit, "train") for name, point in points.items()}
