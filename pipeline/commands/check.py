"""Lists all that is wrong with params.yaml at once; with a name also describes the data of that experiment.

Without a name differences/params.yaml is looked at, too, where there is one.
"""

from __future__ import annotations

import logging
from pathlib import Path

from pipeline.check import check, usable
from pipeline.ignored import hidden_data
from pipeline.params import Params, ParamsError, nearest

logger = logging.getLogger(__name__)


def main(name: str | None) -> None:
    """Raises ParamsError for a params.yaml with problems, and ValueError for data that `prepare` would refuse."""
    differences = "" if name else _check_all()
    params = usable("check", name)
    for warning in hidden_data(Path.cwd(), (experiment.data.path for experiment in params.experiments.values())):
        logger.warning(warning)
    if name is not None:
        _check_data(name, params)
        return
    print(f"check: params.yaml is sound: {len(params.experiments)} experiments, {len(params.candidates)} candidates")
    if differences:
        print(f"check: {differences}")


def _check_all() -> str:
    """Returns a sentence about differences/params.yaml. Raises ParamsError with all that is wrong with both files."""
    summary, faults = "", []
    try:
        check()
    except ParamsError as error:
        faults.append(str(error))
    if Path("differences", "params.yaml").is_file():
        from pipeline.differences.settings import check_all

        try:
            summary = check_all()
        except ParamsError as error:
            faults.append(str(error))
    if faults:
        raise ParamsError("\n".join(faults))
    return summary


def _check_data(name: str, params: Params) -> None:
    from pipeline.look import look

    if name not in params.experiments:
        raise ParamsError(f"experiment: found {name}; {nearest(name, params.experiments)}")
    warnings: list[str] = []
    for line in look(params.experiments[name], params.seed, warnings.append):
        print(line)
    for warning in dict.fromkeys(warnings):
        logger.warning("%s: %s", name, warning)
    warned = f"; warnings: {len(warnings)}" if warnings else ""
    print(f"check: the data of {name} can be read{warned}")
