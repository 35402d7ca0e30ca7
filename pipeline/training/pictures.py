"""Pictures of training and of the search."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from pipeline.figures import BLUE, GREY, ORANGE, figure, save

COLOURS = (BLUE, ORANGE, "#3b8a57", "#8a4fa3", "#b08900", "#607d8b")


def learning_curves(history: pd.DataFrame, score: str, path: Path, title: str) -> Path:
    """Losses and the score of every repeat over the epochs."""
    drawn = figure(9, 3)
    losses, scores = drawn.subplots(1, 2)
    for place, (repeat, rows) in enumerate(history.groupby("repeat")):
        colour = COLOURS[place % len(COLOURS)]
        losses.plot(rows["epoch"], rows["train_loss"], color=colour, linewidth=0.8, linestyle=":")
        losses.plot(rows["epoch"], rows["validation_loss"], color=colour, label=f"repeat {repeat}")
        scores.plot(rows["epoch"], rows[f"validation_{score}"], color=colour)
    losses.set(xlabel="epoch", ylabel="loss (dotted: train)", title=title)
    scores.set(xlabel="epoch", ylabel=f"validation {score}")
    if (history[["train_loss", "validation_loss"]] > 0).all(axis=None):
        losses.set_yscale("log")
    losses.legend(fontsize=7, frameon=False)
    return save(drawn, path)


def search_history(trials: pd.DataFrame, path: Path, title: str) -> Path:
    """Every trial in its order and the lowest loss so far."""
    drawn = figure(6, 3)
    axes = drawn.add_subplot()
    complete, pruned = trials[trials["state"] == "COMPLETE"], trials[trials["state"] == "PRUNED"]
    axes.scatter(complete["number"], complete["value"], color=BLUE, s=18, label="complete", zorder=3)
    axes.scatter(pruned["number"], pruned["value"], facecolors="none", edgecolors=GREY, s=18, label="pruned", zorder=3)
    axes.step(complete["number"], complete["value"].cummin(), where="post", color=ORANGE, label="best so far")
    axes.set(xlabel="trial", ylabel="lowest validation loss", title=title)
    axes.legend(fontsize=7, frameon=False)
    return save(drawn, path)


def parallel_coordinates(trials: pd.DataFrame, searched: Mapping[str, bool], path: Path, title: str) -> Path:
    """Each trial as a line through its parameters to its loss, the better the darker.

    `searched` says of each parameter whether its axis is logarithmic.
    """
    drawn = figure(max(6, 1.5 * (len(searched) + 1)), 3.6)
    axes = drawn.add_subplot()
    places = {name: _places(trials[name], logarithmic) for name, logarithmic in searched.items()}
    ranks = trials["value"].rank(method="first")
    places["loss"] = ((ranks - 1) / max(len(trials) - 1, 1), [])
    for row in ranks.sort_values(ascending=False).index:
        good = 1 - (ranks[row] - 1) / max(len(trials) - 1, 1)
        heights = [place[0][row] for place in places.values()]
        axes.plot(range(len(places)), heights, color=BLUE, alpha=0.12 + 0.8 * good**2, linewidth=0.8 + 1.4 * good**3)
    for position, (_, labels) in enumerate(places.values()):
        axes.axvline(position, color=GREY, linewidth=0.6)
        for height, text in labels or [(0.0, "best"), (1.0, "worst")]:
            axes.annotate(text, (position, height), xytext=(3, 2), textcoords="offset points", fontsize=7)
    axes.set_xticks(range(len(places)), [name.replace("_", "\n") for name in places], fontsize=8)
    axes.set(yticks=[], title=title, ylim=(-0.06, 1.1))
    axes.spines[["left", "bottom"]].set_visible(False)
    return save(drawn, path)


def _places(values: pd.Series, logarithmic: bool) -> tuple[pd.Series, list[tuple[float, str]]]:
    """Heights between 0 and 1, and (height, text) labels of an axis."""
    if not pd.api.types.is_numeric_dtype(values) or values.dtype == bool or values.nunique() <= 1:
        names = sorted(values.unique(), key=str)
        heights = {name: (index + 0.5) / len(names) for index, name in enumerate(names)}
        return values.map(heights).astype(float), [(height, str(name)) for name, height in heights.items()]
    scaled = values.astype(float)
    if logarithmic:
        scaled = scaled.map(math.log)
    low, high = scaled.min(), scaled.max()
    return (scaled - low) / (high - low), [(0.0, f"{values.min():.3g}"), (1.0, f"{values.max():.3g}")]


def importance_bars(importances: Mapping[str, float], path: Path, title: str) -> Path:
    """Returns how much each parameter explains of the spread of the losses."""
    shown = {name: value for name, value in importances.items() if value == value}
    drawn = figure(6, 0.9 + 0.28 * max(len(shown), 1))
    axes = drawn.add_subplot()
    axes.barh(list(shown)[::-1], list(shown.values())[::-1], color=BLUE)
    axes.set(xlabel="importance", title=title if shown else f"{title}: too few completed trials to tell", xlim=(0, 1))
    return save(drawn, path)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """CSV with the shortest digits that give the same numbers back."""
    table.to_csv(path, index=False, lineterminator="\n")
