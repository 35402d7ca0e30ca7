"""One picture of all ten: verdicts, and main effects with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.differences.drawing import INTERVAL_NOTE, figure
from pipeline.figures import GREY, INK
from pipeline.report import formatting as readable
from pipeline.report.ten_results import MeasuredDifference, ShownEffect

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito (2008); signs and words carry the same information.
SIGNS = {"holds": "●", "fails": "○", "depends": "◐", "open": "?", "absent": "–"}
COLOURS = {"holds": "#0072b2", "fails": "#d55e00", "depends": "#009e73", "open": GREY, "absent": GREY}
LEFT = -2.6  # where the words begin; the effects have -1 to 1
REACH = 0.92  # of half the width, to which the far end of a row goes


def draw(differences: Sequence[MeasuredDifference]) -> Figure:
    """Draws a row for each difference, in a scale of its own: effects of different units have none in common."""
    drawn = figure(5.6, 0.58 * len(differences) + 0.7)
    axes = drawn.add_subplot()
    for place, difference in enumerate(differences):
        _words(axes, place, difference)
        if difference.effects:
            _effect(axes, place, difference.effects[0], COLOURS[difference.kind])
    axes.axvline(0, color=GREY, linewidth=0.8, zorder=1)
    axes.set(xlim=(LEFT, 1.05), ylim=(len(differences) - 0.45, -0.75), xticks=[], yticks=[])
    axes.text(-0.05, -0.72, "← against", ha="right", va="center", fontsize=9, color=INK)
    axes.text(0.05, -0.72, "for the claim →", ha="left", va="center", fontsize=9, color=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel(f"{INTERVAL_NOTE}; dashed: margin; each row in its own unit", fontsize=9)
    return drawn


def _words(axes: Axes, place: int, difference: MeasuredDifference) -> None:
    style: dict[str, Any] = {"va": "center", "parse_math": False}
    axes.text(LEFT, place - 0.17, f"{difference.number}. {difference.title}", fontsize=11, color=INK, **style)
    sign, verdict = SIGNS[difference.kind], readable.shortened(difference.verdict, 44)
    axes.text(LEFT, place + 0.2, f"{sign} {verdict}", fontsize=9.5, color=INK, **style)


def _effect(axes: Axes, place: int, effect: ShownEffect, colour: str) -> None:
    ends = effect.facts["interval_95"], effect.facts["interval_995"]
    value, margin = effect.facts["value"], effect.facts.get("margin") or 0.0
    far = max(map(abs, (*ends[0], *ends[1], value, margin))) or 1.0

    def scaled(values: Sequence[float]) -> list[float]:
        return [REACH * number / far for number in values]

    bar, text = place - 0.12, f"{effect.value} {effect.unit}"
    axes.plot(scaled(ends[1]), [bar] * 2, color=colour, linewidth=1.2, zorder=2)
    axes.plot(scaled(ends[0]), [bar] * 2, color=colour, linewidth=5, solid_capstyle="butt", zorder=3)
    axes.plot(scaled([value]), [bar], "o", color="white", markeredgecolor=INK, markersize=5, zorder=4)
    axes.plot(scaled([margin] * 2), [bar - 0.2, bar + 0.2], color=INK, linewidth=1, linestyle="--", zorder=1)
    axes.text(
        0, place + 0.27, text, ha="center", va="center", fontsize=9, color=INK, parse_math=False,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )  # fmt: skip
