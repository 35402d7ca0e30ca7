"""Fresh clones of this repository, with commits and a small params.yaml."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clones import Clone, fresh_clone


@pytest.fixture(scope="session")
def clone_into() -> Callable[[Path], Clone]:
    """Makes a clone with one experiment."""
    return fresh_clone


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone after its first `dvc repro`; one worker runs all files that share it, see TOGETHER in conftest.py."""
    made = fresh_clone(tmp_path_factory.mktemp("whole"))
    made.ran, made.said = made.repro()
    return made


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Callable[[dict[str, Any]], None]], Clone]:
    """Makes a clone with a changed params.yaml, runs it, and commits first the one and then the other."""

    def make(change: Callable[[dict[str, Any]], None]) -> Clone:
        made = fresh_clone(tmp_path_factory.mktemp("clone"))
        made.edit(change)
        made.commit()
        made.ran, made.said = made.repro()
        made.commit()
        return made

    return make
