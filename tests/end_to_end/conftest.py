"""Fresh clones of this repository, with commits and a small params.yaml."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from clones import Clone, fresh_clone


@pytest.fixture(scope="session")
def clone_into() -> Callable[[Path], Clone]:
    """Makes a clone with one experiment."""
    return fresh_clone
