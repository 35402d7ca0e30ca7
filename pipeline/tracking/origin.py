"""Where a run comes from: commit, user, machine and data version. Facts about the world: looked up, never stored."""

from __future__ import annotations

import getpass
import os
from functools import cache
from pathlib import Path

from pipeline.tracking.address import repository
from pipeline.tracking.git import text
from pipeline.tracking.machine import machine_tags

COMMIT, BRANCH, DIRTY = "mlflow.source.git.commit", "mlflow.source.git.branch", "pipeline.dirty"
EXPERIMENT = "pipeline.dvc_experiment"  # the name that `dvc exp run` gave, by which `dvc exp apply` takes it over


@cache
def origin_tags(root: Path) -> dict[str, str]:
    """Tags for a new run: the commit, whether files differ from it (DVC runs before the commit), user and machine."""
    folder = code_folder(root)
    tags = {**user_tags(), **machine_tags()}
    if os.environ.get("DVC_EXP_NAME"):
        tags[EXPERIMENT] = os.environ["DVC_EXP_NAME"]
    commit = text(folder, "rev-parse", "HEAD")
    if commit:
        tags[COMMIT] = commit
        tags[BRANCH] = text(folder, "rev-parse", "--abbrev-ref", "HEAD") or ""
        tags[DIRTY] = str(bool(text(folder, "status", "--porcelain", "--untracked-files=no"))).lower()
    return tags


def user_tags() -> dict[str, str]:
    """Tags for a run of which only is known who has written it."""
    return {"mlflow.user": user(), "mlflow.source.type": "LOCAL"}


def code_folder(root: Path) -> Path:
    """Where the code lies that runs now: in the repository, or in the copy in which `dvc exp run --temp` works."""
    here = Path.cwd().resolve()
    return here if repository(here) == root else root


def user() -> str:
    """Who runs this process."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # a container's user without a name
        return "unknown"
