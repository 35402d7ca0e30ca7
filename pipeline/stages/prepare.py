"""Turns the raw data of an experiment into tables of tensors and a data card."""

from __future__ import annotations

import logging
from pathlib import Path

from pipeline.data.outlook import ERROR_LEVEL, outlook
from pipeline.data.tables import write
from pipeline.data.threads import use_threads
from pipeline.formats import FORMATS
from pipeline.params import Params, ParamsError, nearest
from pipeline.tasks import load_task

logger = logging.getLogger(__name__)


def main(name: str | None, params: Params) -> None:
    """Writes data/prepared/<name>. Raises ValueError for raw data that cannot be used."""
    if name not in params.experiments:
        raise ParamsError(f"experiment: found {name}; {nearest(str(name), params.experiments)}")
    experiment = params.experiments[name]
    use_threads(params.threads)
    data = experiment.data
    read = FORMATS[data.format]
    folder = Path(data.path)
    parts = {str(part): read(folder, **data.options | options) for part, options in data.parts.items()}
    task = load_task(experiment.task, experiment.settings)
    prepared = task.prepare(parts, experiment.split.model_dump(), params.seed)
    prepared.card.update(task=experiment.task, settings=task.search_settings)
    target = Path("data/prepared") / name
    card = write(prepared, target)
    for warning in card["warnings"]:
        logger.warning("%s: %s", name, warning)
    counts = ", ".join(f"{count} {split}" for split, count in card["counts"].items())
    warned = f"; warnings in card.json: {len(card['warnings'])}" if card["warnings"] else ""
    print(f"prepare: {counts} → {target} (data {card['data'][:12]}{warned})")
    if sentence := outlook(card["counts"]["test"], ERROR_LEVEL, task.score):
        print(f"prepare: {sentence}")
