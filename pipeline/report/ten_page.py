"""The ten differences on the page; ten.html.j2 decides how they look."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.report import ten_results
from pipeline.report.ten_results import MeasuredDifference

POINT = 4 / 3  # pixels of a point
TAGS = {"holds": "good", "fails": "bad", "depends": "warn"}  # verdict → colour; the words show it as well


def view(differences: Sequence[MeasuredDifference]) -> dict[str, Any] | None:
    """Collects everything the template shows; None where nothing has been measured."""
    if not ten_results.are_measured(differences):
        return None
    return {
        "rows": [_row(difference) for difference in differences],
        "in_short": ten_results.in_short(differences),
        "settings": sorted({str(entry.facts["setting"]) for entry in differences if entry.facts.get("setting")}),
        "command": ten_results.COMMAND,
    }


def figure(path: Path) -> dict[str, Any]:
    """Returns an SVG as a data address, with its size in pixels.

    As an image it is a document of its own: its ids and styles meet neither those of the page nor those of the other
    figures, and nothing in it can run.
    """
    content = path.read_bytes()
    head = content[:2000].decode("utf-8", "replace")
    width, height = (_pixels(head, name) for name in ("width", "height"))
    return {
        "source": f"data:image/svg+xml;base64,{base64.b64encode(content).decode('ascii')}",
        "width": width,
        "height": height,
    }


def _pixels(head: str, name: str) -> int:
    """Reads a length of the root element; matplotlib writes points."""
    match = re.search(rf'<svg\b[^>]*\b{name}="([\d.]+)(pt)?"', head)
    return round(float(match[1]) * (POINT if match[2] else 1)) if match else 640


def _row(difference: MeasuredDifference) -> dict[str, Any]:
    facts = difference.facts
    return {
        "number": difference.number,
        "name": difference.name,
        "title": difference.title,
        "verdict": difference.verdict,
        "tag": TAGS.get(difference.kind, ""),
        "note": difference.note,
        "measured": bool(facts),
        "effects": difference.effects,
        "figure": figure(difference.figure) if difference.figure else None,
        "arms": ten_results.arms(facts),
        "controls": ten_results.controls(facts),
        "failed": ten_results.failed_controls(facts),
        "budget": ten_results.budget(facts),
        "machine": ten_results.machine(facts),
        **{key: str(facts.get(key) or "") for key in ("claim", "shown", "advice", "needed", "scope", "setting")},
    }
