"""Classical forecasts: the same time a season ago, and ridge regression on the window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pipeline.data.tables import Batch, Card
from pipeline.tasks.forecasting.tables import prediction_table

if TYPE_CHECKING:
    from sklearn.linear_model import Ridge

PENALTIES = np.geomspace(0.01, 1000, 11)


def classical_forecasts(
    examples: Mapping[str, Batch], card: Card, quantiles: list[float], unit: np.ndarray
) -> dict[str, dict[str, pd.DataFrame]]:
    """Forecasts with the seasonal naive method and ridge regression: {name: {"validation": table, "test": table}}.

    unit: (C,) by what the errors of each series are divided.
    """
    points = {"seasonal_naive": better_naive(examples, card, unit), "ridge": ridge(examples, unit)}
    return {name: with_intervals(point, examples, card, quantiles, unit) for name, point in points.items()}


def better_naive(examples: Mapping[str, Batch], card: Card, unit: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the seasonal naive forecast of validation and test, with drift or without as is better on validation."""

    def naive(drift: bool) -> dict[str, np.ndarray]:
        past = {split: examples[split]["past"].double().numpy() for split in ("validation", "test")}
        return {split: seasonal_naive(values, card, drift=drift) for split, values in past.items()}

    return min((naive(True), naive(False)), key=lambda point: _error(point["validation"], examples, unit))


def _error(point: np.ndarray, examples: Mapping[str, Batch], unit: np.ndarray) -> float:
    """Computes the mean absolute error on what was observed of validation."""
    gap = np.abs(point - examples["validation"]["future"].double().numpy()) / unit[:, None]
    return float(gap[examples["validation"]["observed"].numpy()].mean())


def seasonal_naive(past: np.ndarray, card: Card, *, drift: bool) -> np.ndarray:
    """Maps (N, C, L) to (N, C, H): the same time a season ago, with `drift` plus the change over the last season."""
    season, horizon = card["season"], card["horizon"]
    steps = np.arange(horizon)
    if not drift:
        repeated: np.ndarray = past[..., -season:][..., steps % season]
        return repeated
    change = past[..., -1:] - past[..., -season - 1 : -season]
    result: np.ndarray = past[..., -season:][..., steps % season] + change * (1 + steps // season)
    return result


def ridge(examples: Mapping[str, Batch], unit: np.ndarray) -> dict[str, np.ndarray]:
    """Fits ridge autoregressions on the window relative to its last value: {split: (N, C, H)} for validation and test.

    Of several series all are forecast from the windows of all, or each from its own with the same weights. That and
    the penalty are picked on validation. unit: (C,) by what each series is divided.
    """
    from sklearn.linear_model import Ridge

    best, lowest = {}, np.inf
    for alone in (False, True)[: len(unit)]:
        inputs, targets = _design(examples["train"], unit, alone)
        observed = examples["train"]["observed"].numpy().reshape(targets.shape)
        complete = observed.all(1)
        usable = complete if complete.sum() > 1 else np.ones_like(complete)
        for penalty in PENALTIES:
            model = Ridge(alpha=penalty).fit(inputs[usable], targets[usable])
            forecast = _forecast(model, examples["validation"], unit, alone)
            error = _error(forecast, examples, unit)
            if error < lowest:
                best, lowest = {"validation": forecast, "test": _forecast(model, examples["test"], unit, alone)}, error
    return best


def _design(examples: Batch, unit: np.ndarray, alone: bool) -> tuple[np.ndarray, np.ndarray]:
    """Returns windows and what follows, relative to their last value, a row each; `alone`, a row for each series."""
    past, future = (examples[name].double().numpy() for name in ("past", "future"))
    count = past.shape[0] * (past.shape[1] if alone else 1)
    last = past[..., -1:]
    relative = [(values - last) / unit[:, None] for values in (past, future)]
    return relative[0].reshape(count, -1), relative[1].reshape(count, -1)


def _forecast(model: Ridge, examples: Batch, unit: np.ndarray, alone: bool) -> np.ndarray:
    """Forecasts (N, C, H) in the units of the series."""
    inputs, _ = _design(examples, unit, alone)
    last = examples["past"].double().numpy()[..., -1:]
    forecast: np.ndarray = model.predict(inputs).reshape(examples["future"].shape) * unit[:, None] + last
    return forecast


def with_intervals(
    points: Mapping[str, np.ndarray],
    examples: Mapping[str, Batch],
    card: Card,
    quantiles: list[float],
    unit: np.ndarray,
    seen: str = "validation",
) -> dict[str, pd.DataFrame]:
    """Adds intervals to point forecasts from the quantiles of the residuals on the split `seen`, step by step."""
    residuals = examples[seen]["future"].double().numpy() - points[seen]
    observed = examples[seen]["observed"].numpy()
    residuals[~observed & observed.any(0)] = np.nan
    residuals[:, ~observed.any(0)] = 0.0  # nothing is known of them, so that their interval has no width
    lower, _, upper = np.nanquantile(residuals, quantiles, axis=0)  # (C, H) each
    tables = {}
    for split in ("validation", "test"):
        point = points[split]
        stacked = np.stack([point + np.minimum(lower, 0), point, point + np.maximum(upper, 0)], axis=1)
        tables[split] = prediction_table(stacked, examples[split], card, unit)
    return tables
