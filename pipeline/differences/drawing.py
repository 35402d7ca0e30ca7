"""Figures of the ten differences: colours for colour-blind readers, intervals, and files of equal bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.figures import BLUE, GREY, INK, ORANGE, figure
from pipeline.files.atomic import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FAMILY = {"cnn": BLUE, "rnn": ORANGE}
# Okabe and Ito (2008): blue shades for convolutions, warm ones for recurrence; markers and dashes differ as well.
SHADES = {
    "cnn": ("#0072b2", "#56b4e9", "#2f4b7c", "#8fb8de"),
    "rnn": ("#d55e00", "#e69f00", "#8c3b00", "#cc79a7"),
}
MARKERS, DASHES = ("o", "s", "^", "D"), ("-", "--", "-.", ":")
INTERVAL_NOTE = "thick: 95 %, thin: 99.5 % (decides)"


def styles(arms: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Maps each arm to a line style; `arms` names its family. Colours differ by family, shades and markers by arm."""
    counts = {"cnn": 0, "rnn": 0}
    chosen: dict[str, dict[str, Any]] = {}
    for name, family in arms.items():
        place = counts[family]
        counts[family] += 1
        chosen[name] = {
            "color": SHADES[family][place % 4], "marker": MARKERS[place % 4], "linestyle": DASHES[place // 4 % 4],
            "markersize": 4, "linewidth": 1.6,
        }  # fmt: skip
    return chosen


def effects(axes: Axes, described: Mapping[str, Mapping[str, Any]]) -> None:
    """Draws a row for each effect of a result: mean, both intervals, single seeds, and the margin as a dashed line."""
    names = list(described)
    for row, name in enumerate(names):
        effect = described[name]
        colour = BLUE if effect["value"] < 0 else ORANGE
        axes.plot(effect["interval_995"], [row, row], color=colour, linewidth=1, zorder=2)
        axes.plot(effect["interval_95"], [row, row], color=colour, linewidth=4, solid_capstyle="butt", zorder=3)
        axes.plot(effect["per_seed"], np.full(len(effect["per_seed"]), row + 0.22), ".", color=GREY, markersize=4)
        axes.plot([effect["value"]], [row], "o", color="white", markeredgecolor=INK, markersize=5, zorder=4)
        axes.plot([effect["margin"]] * 2, [row - 0.35, row + 0.35], color=INK, linewidth=1, linestyle="--")
    axes.axvline(0, color=GREY, linewidth=0.8, zorder=1)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)


def band(axes: Axes, x: Sequence[float], rows: Sequence[Sequence[float]], label: str, style: Mapping[str, Any]) -> None:
    """Draws the mean over the seeds (rows, one for each seed) as a line, and its 95 % interval as a band."""
    from pipeline.differences.verdicts import SHOWN, interval

    values = np.asarray(rows, dtype=np.float64)
    ends = np.array([interval(column, SHOWN) for column in values.T])
    axes.plot(x, values.mean(0), label=label, **style)
    axes.fill_between(x, ends[:, 0], ends[:, 1], color=style["color"], alpha=0.15, linewidth=0)


def legend(drawn: Figure, axes: Axes, columns: int = 3) -> None:
    """Places the legend below the axes, where it hides nothing."""
    drawn.legend(
        *axes.get_legend_handles_labels(), loc="outside lower center", ncols=columns, frameon=False, fontsize=8
    )


def save_svg(drawn: Figure, path: Path) -> Path:
    """Writes an SVG whose bytes follow from what is drawn."""
    content = io.BytesIO()
    drawn.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
    write_whole(path, content.getvalue())
    return path


__all__ = ["FAMILY", "band", "effects", "figure", "legend", "save_svg", "styles"]
