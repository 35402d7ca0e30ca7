"""Prints the verdicts on the ten differences, and writes docs/differences.md and the lines of the README from them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from pipeline.differences import DIFFERENCES
from pipeline.differences.texts import OVERVIEW, PAGE, document, readme_lines, terminal, with_lines
from pipeline.files.atomic import read_json, write_json, write_whole
from pipeline.params import Params, ParamsError
from pipeline.report.ten_results import MeasuredDifference, read_differences

SECONDS = Path(
    "differences", "seconds.json"
)  # setting → name → how long it took and what came out; Git keeps it, as the results
TIMINGS, README = Path("timings", "differences"), Path("README.md")
logger = logging.getLogger(__name__)


def main(name: str | None, params: Params) -> None:
    """Needs no result to be there. The page and the README are a function of the results and of SECONDS alone."""
    if name is not None:
        raise ParamsError(f"differences: found the name {name}; this command takes all of them: leave it out")
    differences = read_differences(DIFFERENCES)
    print(terminal(differences))
    seconds = _take_over_seconds(differences)
    from pipeline.differences.drawing import save_svg
    from pipeline.differences.overview import draw

    save_svg(draw(differences), Path(OVERVIEW))
    write_whole(Path(PAGE), document(differences, seconds).encode())
    if README.is_file():
        write_whole(README, with_lines(README.read_text(encoding="utf-8"), readme_lines(differences)).encode())
    else:
        logger.warning("README.md is missing here, and left out")
    print(f"differences: {sum(bool(one.facts) for one in differences)} of {len(differences)} are measured → {PAGE}")


def _take_over_seconds(differences: list[MeasuredDifference]) -> dict[str, Any]:
    """Keeps how long the present results took, where this machine did all of the work; else what was known before."""
    known = read_json(SECONDS) if SECONDS.is_file() else {}
    new = {setting: dict(entries) for setting, entries in known.items()}
    for difference in differences:
        file = TIMINGS / f"{difference.name}.json"
        timing = read_json(file) if file.is_file() else {}
        if timing.get("whole") and timing.get("key") == difference.facts.get("key"):
            outcome = {key: difference.facts[key] for key in ("verdict", "shown")}
            entry = {"seconds": timing["seconds"], "machine": timing["machine"], **outcome}
            new.setdefault(str(difference.facts["setting"]), {})[difference.name] = entry
    if new != known:
        write_json(SECONDS, new)
    return new
