"""Where a run comes from: commit, user and data version. Facts about the world, so they are looked up, never stored."""

from __future__ import annotations

import getpass
import subprocess
from functools import cache
from pathlib import Path
from typing import Any


@cache
def origin_tags(root: Path) -> dict[str, str]:
    """Tags for a new run: the commit, whether files differ from it (DVC runs before the commit), and the user."""
    tags = {"mlflow.user": _user(), "mlflow.source.type": "LOCAL"}
    commit = _git(root, "rev-parse", "HEAD")
    if commit:
        tags["mlflow.source.git.commit"] = commit.strip()
        tags["mlflow.source.git.branch"] = (_git(root, "rev-parse", "--abbrev-ref", "HEAD") or "").strip()
        tags["pipeline.dirty"] = str(bool(_git(root, "status", "--porcelain", "--untracked-files=no"))).lower()
    return tags


@cache
def dvc_versions(lock: Path) -> dict[str, str]:
    """Path → md5 of everything that dvc.lock knows; empty where there is no readable dvc.lock."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        document = YAML(typ="safe").load(lock.read_text(encoding="utf-8"))
    except (OSError, YAMLError):
        return {}
    stages: dict[str, Any] = (document or {}).get("stages") or {}
    entries = [entry for stage in stages.values() for entry in stage.get("outs", [])]
    return {entry["path"]: entry["md5"] for entry in entries if "md5" in entry}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout if answer.returncode == 0 else None


def _user() -> str:
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # a container's user without a name
        return "unknown"
