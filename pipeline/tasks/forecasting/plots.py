"""Pictures of forecasts: fans with what came before and after, and the errors along the horizon and by series."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pipeline.data.tables import Card
from pipeline.figures import BLUE, GREY, ORANGE, figure, save
from pipeline.tasks.forecasting.tables import errors

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_SERIES = 8  # that are drawn


def draw_forecasts(
    predictions: pd.DataFrame, past: np.ndarray, card: Card, folder: Path, title: str, interval: float
) -> list[Path]:
    """Draws all pictures of a prediction table; past: (N, C, L), what was known before each forecast."""
    drawn = [
        forecast_fans(predictions, past, card, folder / "forecasts.png", title, interval),
        error_by_step(predictions, folder / "error_by_step.png", title),
    ]
    if len(card["columns"]) > 1:
        drawn.append(error_by_series(predictions, card, folder / "error_by_series.png", title))
    return drawn


def forecast_fans(
    predictions: pd.DataFrame, past: np.ndarray, card: Card, path: Path, title: str, interval: float
) -> Path:
    """Draws forecasts with what came before and after, from evenly spread origins, the last of them the worst one.

    Six of one series; of several series three each, a row for every series.
    """
    names = card["columns"][:MOST_SERIES]
    single = len(names) == 1
    rows, columns = (2 if single else len(names)), 3
    drawn = figure(10, 0.4 + (2.4 if single else 1.7) * rows)
    left_out = f", {len(names)} of {len(card['columns'])} series" if len(names) < len(card["columns"]) else ""
    drawn.suptitle(f"{title}: {names[0]}" if single else f"{title}{left_out}", fontsize=10)
    spread = np.linspace(0, len(past) - 1, 5 if single else 2).astype(int).tolist()
    for place, name in enumerate(names):
        table = predictions[predictions["column"] == name]
        mean_errors = errors(table).abs().groupby(table["example"]).mean()
        worst = [int(np.nanargmax(mean_errors))] if mean_errors.notna().any() else []
        for number, origin in enumerate([*spread, *worst]):
            axes = drawn.add_subplot(rows, columns, place * columns + number + 1)
            fan = table[table["example"] == origin]
            _draw_fan(axes, fan, past[origin, place], interval)
            date = np.datetime64(int(fan["time"].iloc[0]), "s").astype("datetime64[D]")
            prefix = ("" if single else f"{name}, ") + ("worst, " if number == len(spread) else "")
            axes.set_title(f"{prefix}from {date}: error {mean_errors[origin]:.3g}", fontsize=8, parse_math=False)
    drawn.axes[0].legend(fontsize=7, frameon=False)
    return save(drawn, path)


def _draw_fan(axes: Axes, rows: pd.DataFrame, past: np.ndarray, interval: float) -> None:
    """Draws one forecast with its interval, the truth, and twice as many steps before it."""
    before = past[-2 * len(rows) :]
    axes.plot(np.arange(-len(before) + 1, 1), before, color=GREY, linewidth=1)
    label = f"{interval:.0%} interval"
    axes.fill_between(rows["step"], rows["lower"], rows["upper"], color=BLUE, alpha=0.18, linewidth=0, label=label)
    axes.plot(rows["step"], rows["forecast"], color=BLUE, label="forecast")
    axes.plot(rows["step"], rows["truth"].where(rows["observed"]), color=ORANGE, linewidth=1, label="truth")


def error_by_step(predictions: pd.DataFrame, path: Path, title: str) -> Path:
    """Draws how the error and the coverage of the interval change along the horizon."""
    error, inside = _means_by(predictions, "step")
    drawn = figure(8, 2.8)
    left, right = drawn.subplots(1, 2)
    left.plot(error.index, error, color=BLUE)
    left.set(xlabel="step", ylabel=_label(predictions), ylim=(0, None), title=title)
    right.plot(inside.index, inside, color=BLUE)
    right.set(xlabel="step", ylabel="coverage of the interval", ylim=(0, 1.02))
    return save(drawn, path)


def error_by_series(predictions: pd.DataFrame, card: Card, path: Path, title: str) -> Path:
    """Shows which series are hard, and for which the interval is too narrow or too wide."""
    names = card["columns"][::-1]  # the first one is on top
    error, inside = (means.reindex(names) for means in _means_by(predictions, "column"))
    drawn = figure(8, 1.0 + 0.25 * len(names))
    left, right = drawn.subplots(1, 2, sharey=True)
    left.barh(names, error, color=BLUE)
    left.set(xlabel=_label(predictions), title=title)
    right.barh(names, inside, color=BLUE)
    right.set(xlabel="coverage of the interval", xlim=(0, 1.02))
    return save(drawn, path)


def _means_by(predictions: pd.DataFrame, column: str) -> tuple[pd.Series, pd.Series]:
    """Returns mean absolute error and coverage of the observed steps, by the values of a column."""
    seen = predictions[predictions["observed"]]
    inside = seen["truth"].between(seen["lower"], seen["upper"])
    return errors(seen).abs().groupby(seen[column]).mean(), inside.groupby(seen[column]).mean()


def _label(predictions: pd.DataFrame) -> str:
    own = (predictions["unit"] == 1).all()
    return "mean absolute error" if own else "mean absolute error in standard deviations"
