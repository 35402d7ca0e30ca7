"""What all tests share: a small params.yaml, and a way to call the pipeline as a user does."""

from __future__ import annotations

import copy
import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from generated import write_raw
from ruamel.yaml import YAML

pytest_plugins = ["registered", "servers"]
gc.set_threshold(100_000)  # imports and collection make millions of objects that stay

ROOT = Path(__file__).parents[1]
Call = Callable[..., subprocess.CompletedProcess[str]]


LONGEST = ("end_to_end", "training", "tracking", "stages", "workflows", "test_layout", "registry", "benchmarks")


# Files that share what takes longest to make: one worker runs them, one after another.
TOGETHER = {f"tests/end_to_end/{name}.py": "whole" for name in ("test_pipeline", "test_faults", "test_second_training")}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Gives a whole file to a worker, as `--dist loadfile`, and those of TOGETHER as if they were one."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return TOGETHER.get(file, file)

    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts those files first that take longest, so that no worker begins with one of them when all others are done."""

    def rank(item: pytest.Item) -> int:
        file = item.path.relative_to(ROOT).as_posix()
        if file in TOGETHER:
            return list(TOGETHER).index(file) - len(TOGETHER)
        place = item.path.relative_to(ROOT / "tests").parts[0].removesuffix(".py")
        return LONGEST.index(place) if place in LONGEST else len(LONGEST)

    items.sort(key=rank)  # stable: within a file and a folder the order stays


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def _tiny() -> dict[str, Any]:
    document: dict[str, Any] = YAML(typ="safe", pure=True).load(ROOT / "tests" / "tiny.yaml")
    return document


@pytest.fixture
def tiny(_tiny: dict[str, Any]) -> dict[str, Any]:
    """tests/tiny.yaml as dictionaries, which a test may change."""
    return copy.deepcopy(_tiny)


@pytest.fixture(scope="session")
def save() -> Callable[[dict[str, Any], Path], Path]:
    """Writes a params.yaml."""

    def write(document: dict[str, Any], folder: Path) -> Path:
        path = folder / "params.yaml"
        YAML(pure=True).dump(document, path)
        return path

    return write


@pytest.fixture(scope="session")
def call() -> Call:
    """`python -m pipeline …` in a folder, with the code of this repository."""

    def run(folder: Path, *arguments: str, code: Path = ROOT, **others: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PYTEST"))}
        environment |= {"PYTHONPATH": str(code), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", **others}
        return subprocess.run(
            [sys.executable, "-m", "pipeline", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    return run


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with params.yaml and the prepared data of tests/tiny.yaml."""
    from pipeline.params import load
    from pipeline.stages import fetch, prepare

    folder = tmp_path_factory.mktemp("prepared")
    (folder / "params.yaml").write_bytes((ROOT / "tests" / "tiny.yaml").read_bytes())
    params = load(folder / "params.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for download in params.downloads:
            fetch.main(download, params)
        for experiment, entry in params.experiments.items():
            if not Path(entry.data.path).exists():
                write_raw(Path(entry.data.path))
            prepare.main(experiment, params)
    return folder
