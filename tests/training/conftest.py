"""Fits of seconds on real data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.params import Choices, Range, load
from pipeline.training.facts import on_all_devices
from pipeline.training.fit import Job


@pytest.fixture
def job(prepared: Path, tmp_path: Path) -> Callable[..., Job]:
    """Makes the fit of a candidate of tests/tiny.yaml; `parameters` and other fields can be changed."""
    params = load(prepared / "params.yaml")

    def make(candidate: str = "digits-cnn", work: str = "work", **changes: Any) -> Job:
        entry = params.candidates[candidate]
        experiment = params.experiments[entry.experiment]
        fixed = {
            name: space.choices[-1] if isinstance(space, Choices) else space.high if isinstance(space, Range) else space
            for name, space in entry.parameters.items()
        }
        (tmp_path / work).mkdir(exist_ok=True)
        fields: dict[str, Any] = {
            "name": "repeat-0", "work": str(tmp_path / work), "task": entry.task, "settings": experiment.settings,
            "prepared": str(prepared / "data/prepared" / entry.experiment), "family": entry.family, "seed": 0,
            "batch_size": 32, "epochs": 2, "patience": None, "trainer": on_all_devices(params.trainer), "threads": 1,
            "limits": {}, "checkpoint_steps": 200,
        }  # fmt: skip
        return Job(**fields | changes | {"parameters": fixed | changes.get("parameters", {})})

    return make
