"""The guard around a stage of DVC: it runs alone, ends with the DVC that started it, and reads what dvc.lock names.

Before it, what killed stages have left half made is removed.

It runs next to the stages and cannot change an output, so no stage depends on it in dvc.yaml.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.command_line import COMMANDS
from pipeline.training.launch import is_first_process, is_launched
from pipeline.training.signals import end_with_dvc, end_with_parent

if TYPE_CHECKING:
    from pipeline.params import Params

STAGES = {name for name, command in COMMANDS.items() if command.room == "stages"}


def watch(stage: str) -> None:
    """Ends this process when nobody would keep what it makes: DVC, or the first process of a training, is gone."""
    if stage in STAGES and is_first_process() and not is_launched():
        end_with_dvc()
    elif stage in STAGES:
        end_with_parent()


def name_from_dvc(stage: str) -> str | None:
    """Returns the name behind the @ of DVC_STAGE, which no shell ever sees; None where DVC does not run this stage."""
    running, _, name = os.environ.get("DVC_STAGE", "").partition("@")
    return name if name and running.rpartition(":")[2] == stage else None


@contextmanager
def guarded(stage: str, name: str | None, params: Params) -> Iterator[None]:
    """Lets one process at a time run a stage with a name, on whole inputs.

    In a distributed training the first process, or the one that launched it, does this for all. Raises ValueError where
    an input is not the file that dvc.lock names.
    """
    if stage not in STAGES or not is_first_process() or is_launched():
        yield
        return
    from pipeline.files.leftovers import remove_leftovers
    from pipeline.files.lock import alone
    from pipeline.guard.integrity import check_inputs

    with alone(Path(".work"), f"{stage}-{name}" if name else stage):
        remove_leftovers(Path.cwd())
        if "DVC_STAGE" in os.environ:  # by hand, dvc.lock need not know what is there
            check_inputs(_inputs(stage, name, params))
        yield


def _inputs(stage: str, name: str | None, params: Params) -> list[Path]:
    if stage == "difference":
        from pipeline.differences.settings import read_by

        return read_by(name)
    from pipeline.guard.integrity import inputs_of

    return inputs_of(stage, name, params)
