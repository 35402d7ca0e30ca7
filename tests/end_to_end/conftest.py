"""Fresh clones of this repository, with commits and a small params.yaml."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clones import ROOT, Clone

GENERATED = ("dvc.lock", "metrics/", "reports/", "mlflow.db")


@pytest.fixture(scope="session")
def clone_into() -> Callable[[Path], Clone]:
    """Makes a clone: files of the last commit and what was changed since, nothing that runs have made."""

    def make(folder: Path) -> Clone:
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        for name in listed.stdout.split("\0"):
            if name and (ROOT / name).is_file() and not name.startswith((*GENERATED, "tests/")):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        shutil.copy(ROOT / "tests" / "tiny.yaml", folder / "params.yaml")
        clone = Clone(folder)
        clone.run("git", "init", "-q", "-b", "main")
        clone.edit(only_digits)
        clone.commit()
        return clone

    return make


def only_digits(document: dict[str, Any]) -> None:
    """One experiment with two candidates, and enough epochs for a champion."""
    for section in ("downloads", "experiments"):
        del document[section]["co2"]
    for candidate in ("co2-cnn", "co2-rnn"):
        del document["candidates"][candidate]
    document["experiments"]["digits"]["training"] |= {"epochs": 40, "patience": 40}
