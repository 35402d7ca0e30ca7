"""An empty MLflow store for every test, copied from one that is set up once, and a writer of output folders."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from pipeline.tracking import follower


@pytest.fixture(scope="session")
def fake_outputs() -> ModuleType:
    file = Path(__file__).parents[1] / "registry" / "fake_outputs.py"
    spec = importlib.util.spec_from_file_location("fake_outputs", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables: setting it up takes seconds, a copy takes none."""
    from pipeline.params import Tracking
    from pipeline.tracking.address import address_of
    from pipeline.tracking.client import connect

    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        connect(address_of(Tracking(uri=None, artifacts=None), folder))
    return folder / "mlflow.db"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked here is whether everything arrives: where other tests keep the machine busy, it arrives later."""
    monkeypatch.setattr(follower, "PATIENCE", 60.0)
    monkeypatch.setattr(follower, "HASTE", 60.0)


@pytest.fixture
def repository(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with an empty mlflow.db."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    yield tmp_path
