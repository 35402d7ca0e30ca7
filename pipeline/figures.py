"""Figures without a display and without dates in the files, so that the same data give the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, BLUE, ORANGE, GREY = "#1f2933", "#2563a8", "#c8641e", "#9aa5b1"


def figure(width: float, height: float) -> Figure:
    """Returns an empty figure of so many inches, independent of pyplot and of the user's matplotlibrc."""
    import matplotlib
    from matplotlib.figure import Figure as NewFigure

    matplotlib.rcdefaults()
    matplotlib.rcParams.update({
        "font.size": 9, "axes.edgecolor": GREY, "axes.labelcolor": INK, "text.color": INK, "axes.spines.top": False,
        "axes.spines.right": False, "xtick.color": INK, "ytick.color": INK, "axes.titlesize": 10, "svg.hashsalt": "0",
    })  # fmt: skip
    return NewFigure(figsize=(width, height), layout="constrained")


def save(drawn: Figure, path: Path) -> Path:
    """Writes a PNG without metadata that would change from version to version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.savefig(path, dpi=110, metadata={"Software": None})
    return path
