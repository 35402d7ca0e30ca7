"""Forecasts as a table with one row per window, series and step, and the figures that are made of it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.data.tables import Batch, Card


def prediction_table(quantiles: np.ndarray, examples: Batch, card: Card, unit: np.ndarray) -> pd.DataFrame:
    """Turns (N, 3, C, H) quantiles into one row per example, series and step, in the units of the series.

    unit: (C,) by what the errors of each series are divided.
    """
    count, _, channels, horizon = quantiles.shape
    shape = (count, channels, horizon)
    columns = {
        "example": np.arange(count)[:, None, None],
        "column": np.arange(channels)[None, :, None],
        "step": np.arange(1, horizon + 1)[None, None],
        "time": examples["times"].numpy()[:, None],
        "observed": examples["observed"].numpy(),
        "truth": examples["future"].double().numpy(),
        "lower": quantiles[:, 0],
        "forecast": quantiles[:, 1],
        "upper": quantiles[:, 2],
        "scale": np.array(card["naive_error"])[None, :, None],
        "unit": unit[None, :, None],
    }
    table = pd.DataFrame({name: np.broadcast_to(values, shape).ravel() for name, values in columns.items()})
    table["column"] = np.array(card["columns"])[table["column"]]
    return table


def errors(predictions: pd.DataFrame) -> pd.Series:
    """Returns truth minus forecast in the units in which errors are counted; NaN where nothing was observed."""
    return ((predictions["truth"] - predictions["forecast"]) / predictions["unit"]).where(predictions["observed"])


def example_scores(predictions: pd.DataFrame, *, squared: bool) -> np.ndarray:
    """Returns (N,) mean absolute or squared errors of examples over their observed steps; NaN where there are none."""
    error = errors(predictions)
    losses = error**2 if squared else error.abs()
    return losses.groupby(predictions["example"]).mean().to_numpy(np.float64)


def figures(predictions: pd.DataFrame, weights: np.ndarray, *, squared: bool) -> dict[str, np.ndarray]:
    """Computes figures, (R,) values each, if every example counted `weights` (R, N) times; with `squared` the MSE, too.

    The error of MASE is counted by that of the seasonal naive forecast in train (Hyndman and Koehler 2006).
    """
    error = errors(predictions)
    inside = predictions["truth"].between(predictions["lower"], predictions["upper"])
    columns = pd.DataFrame(
        {
            "mae": error.abs(),
            "rmse": error**2,
            "mase": (predictions["truth"] - predictions["forecast"]).abs() / predictions["scale"],
            "coverage": inside.astype(np.float64),
            "interval_width": (predictions["upper"] - predictions["lower"]) / predictions["unit"],
        }
    ).where(predictions["observed"])
    per_example = columns.groupby(predictions["example"]).mean().dropna()  # means over the observed steps
    used = weights[:, per_example.index.to_numpy()]
    means = used @ per_example.to_numpy() / used.sum(1, keepdims=True)  # (R, figures)
    metrics = dict(zip(per_example.columns, means.T, strict=True))
    mse = {"mse": metrics["rmse"]} if squared else {}
    return {**mse, **metrics, "rmse": np.sqrt(metrics["rmse"])}
