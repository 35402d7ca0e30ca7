"""Takes what was measured over into docs/results/, and writes the table of docs/results.md from there."""

from __future__ import annotations

import logging
from pathlib import Path

from pipeline.files.atomic import read_json, write_json, write_whole
from pipeline.params import Params, ParamsError, nearest
from pipeline.recipes import recipe_with
from pipeline.report.measured import facts_of, table, with_table
from pipeline.report.results import doubts, read_results
from pipeline.tracking.machine import machine_in_words

FOLDER, PAGE = Path("docs/results"), Path("docs/results.md")
logger = logging.getLogger(__name__)


def main(name: str | None, params: Params) -> None:
    """Takes over all experiments in params.yaml, or one; those that were measured before keep their rows."""
    if name is not None and name not in params.experiments:
        raise ParamsError(f"experiment: found {name}; {nearest(name, params.experiments)}")
    taken = [experiment for experiment in ([name] if name else params.experiments) if _take_over(params, experiment)]
    facts = [read_json(file) for file in sorted(FOLDER.glob("*.json"))]
    if not PAGE.is_file():
        raise ValueError(f"{PAGE.as_posix()} is missing here; run the command in the root of the repository")
    text = with_table(PAGE.read_text(encoding="utf-8"), table(facts))
    write_whole(PAGE, text.encode())
    print(f"results: {', '.join(taken) or 'nothing new'} → {FOLDER}, {PAGE.as_posix()}")


def _take_over(params: Params, name: str) -> bool:
    """Takes over the figures of an experiment if they are there and those of its present models; returns whether."""
    results = read_results(params, name, Path())
    wrong = (
        doubts(results.metrics, results.card, results.candidates) if results.metrics else ["There are no results yet."]
    )
    if wrong:
        logger.warning("%s is left as it was: %s", name, wrong[0])
        return False
    file = FOLDER / f"{name}.json"
    recipe = recipe_with(name)
    command = f"python -m pipeline add {recipe} && make repro" if recipe else "make repro"
    earlier = read_json(file) if file.is_file() else None
    write_json(file, facts_of(results, command, machine_in_words(), earlier))
    return True
