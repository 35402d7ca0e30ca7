"""Says what is wrong with params.yaml, all of it at once; with a name also what the data of an experiment hold."""

from __future__ import annotations

import logging
from pathlib import Path

from pipeline.check import check
from pipeline.ignored import hidden_data
from pipeline.params import load

logger = logging.getLogger(__name__)


def main(name: str | None) -> None:
    """Raises ParamsError for a params.yaml with problems."""
    check()
    params = load()
    for warning in hidden_data(Path.cwd(), (experiment.data.path for experiment in params.experiments.values())):
        logger.warning(warning)
    print(f"check: params.yaml is sound: {len(params.experiments)} experiments, {len(params.candidates)} candidates")
