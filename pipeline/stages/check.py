"""Says what is wrong with params.yaml, all of it at once; with a name also what the data of that experiment hold."""

from __future__ import annotations

import logging
from pathlib import Path

from pipeline.check import check, usable
from pipeline.ignored import hidden_data
from pipeline.params import Params, ParamsError, nearest

logger = logging.getLogger(__name__)


def main(name: str | None) -> None:
    """Raises ParamsError for a params.yaml with problems, and ValueError for data that `prepare` would refuse."""
    if name is None:
        check()
    params = usable("check", name)
    for warning in hidden_data(Path.cwd(), (experiment.data.path for experiment in params.experiments.values())):
        logger.warning(warning)
    if name is not None:
        _check_data(name, params)
        return
    print(f"check: params.yaml is sound: {len(params.experiments)} experiments, {len(params.candidates)} candidates")


def _check_data(name: str, params: Params) -> None:
    from pipeline.look import look

    if name not in params.experiments:
        raise ParamsError(f"experiment: found {name}; {nearest(name, params.experiments)}")
    warnings: list[str] = []
    for line in look(params.experiments[name], params.seed, warnings.append):
        print(line)
    for warning in dict.fromkeys(warnings):
        logger.warning("%s: %s", name, warning)
    said = f"; warnings: {len(warnings)}" if warnings else ""
    print(f"check: the data of {name} can be read{said}")
