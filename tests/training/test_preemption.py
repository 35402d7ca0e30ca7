"""Stages whose processes are killed, or asked to end, while they train: nothing is lost and nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.params import Choices, Range, load

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def folder(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared data, and the best parameters of digits-rnn; a training of some seconds."""
    from ruamel.yaml import YAML

    made = tmp_path_factory.mktemp("preempted")
    document = YAML(typ="safe", pure=True).load(ROOT / "tests" / "tiny.yaml")
    document["experiments"]["digits"]["training"] |= {"epochs": 30, "patience": 30, "repeats": 2}
    YAML(pure=True).dump(document, made / "params.yaml")
    (made / "data").symlink_to(prepared / "data")
    space = load(made / "params.yaml").candidates["digits-rnn"].parameters
    best = {
        name: entry.choices[-1] if isinstance(entry, Choices) else entry.low if isinstance(entry, Range) else entry
        for name, entry in space.items()
    }
    (made / "search/digits/digits-rnn").mkdir(parents=True)
    (made / "search/digits/digits-rnn/best.json").write_text(json.dumps({"parameters": best}), encoding="utf-8")
    return made


class Stage:
    """A running `python -m pipeline train digits-rnn`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known = self.files("*.ckpt")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PYTEST"))}
        clean |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", "train", "digits-rnn"],
            cwd=folder,
            env=clean,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
        )

    def wait_for(self, pattern: str, count: int = 1) -> None:
        """Until so many new files are there."""
        deadline = time.monotonic() + 120
        while len(self.files(pattern) - self.known) < count:
            assert self.process.poll() is None, self.process.stderr and self.process.stderr.read()
            assert time.monotonic() < deadline, f"no {pattern}"
            time.sleep(0.01)

    def files(self, pattern: str) -> set[Path]:
        return set(self.folder.glob(f".work/*/{pattern}"))

    def workers(self) -> list[psutil.Process]:
        """The processes that train: they hold a lock file open."""
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if any(file.path.endswith(".lock") and ".work" in file.path for file in child.open_files()):
                    found.append(child)
            except psutil.Error:
                continue
        return found

    def end(self) -> tuple[int, str]:
        _, said = self.process.communicate(timeout=120)
        return self.process.returncode, said


@pytest.fixture(scope="module")
def straight(folder: Path) -> dict[str, bytes]:
    """What the stage writes when nobody disturbs it."""
    code, said = Stage(folder).end()
    assert code == 0, said
    return outputs(folder)


def outputs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "models/digits/digits-rnn").iterdir())}


@pytest.fixture
def start(folder: Path, straight: dict[str, bytes]) -> Iterator[Callable[[], Stage]]:
    """Starts the stage, again and again; in the end its outputs are those of an undisturbed run."""
    started: list[Stage] = []

    def run() -> Stage:
        started.append(Stage(folder))
        return started[-1]

    yield run
    for stage in started:
        if stage.process.poll() is None:
            stage.process.kill()
            stage.process.communicate()


def completes(stage: Stage, straight: dict[str, bytes]) -> None:
    code, said = stage.end()
    assert code == 0, said
    assert outputs(stage.folder) == straight
    assert [path for path in (stage.folder / ".work").iterdir() if path.is_dir()] == []


def test_a_killed_stage_goes_on_where_it_stood(start: Any, straight: dict[str, bytes]) -> None:
    for count in (1, 2):
        stage = start()
        stage.wait_for("*.ckpt", count)
        os.kill(stage.process.pid, signal.SIGKILL)
        stage.end()
    assert stage.files("*.ckpt") != set()
    completes(start(), straight)


def test_a_killed_worker_is_replaced(start: Any, straight: dict[str, bytes]) -> None:
    stage = start()
    stage.wait_for("*.ckpt", 2)
    stage.workers()[0].kill()
    code, said = stage.end()
    assert code == 0, said
    assert "a worker was killed; its fit goes on from its checkpoint" in said
    assert outputs(stage.folder) == straight


def test_sigterm_saves_and_ends_within_five_seconds(start: Any, straight: dict[str, bytes]) -> None:
    """In one of three tries at least: the tests beside this one take the cores for seconds at a time."""
    for _ in range(3):
        stage = start()
        stage.wait_for("*.ckpt", 1)
        workers, asked = stage.workers(), time.monotonic()
        stage.process.terminate()
        code, said = stage.end()
        took = time.monotonic() - asked
        assert code == 128 + signal.SIGTERM
        assert "the next `dvc repro` continues" in said and "Traceback" not in said, said
        assert workers != [] and not any(
            worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers
        )
        if took < 5:
            break
    assert took < 5
    completes(start(), straight)


def test_ctrl_c_saves_too(start: Any, straight: dict[str, bytes]) -> None:
    stage = start()
    stage.wait_for("*.ckpt", 1)
    stage.process.send_signal(signal.SIGINT)
    code, said = stage.end()
    assert code == 130 and "Traceback" not in said, said
    completes(start(), straight)


def test_workers_do_not_outlive_their_leader(start: Any, straight: dict[str, bytes]) -> None:
    stage = start()
    stage.wait_for("*.ckpt", 1)
    workers = stage.workers()
    assert workers != []
    stage.process.kill()
    stage.end()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert alive == []
    completes(start(), straight)


def test_a_stage_ends_with_the_dvc_that_started_it(folder: Path, straight: dict[str, bytes], tmp_path: Path) -> None:
    """DVC starts a shell, which starts the stage; SIGKILL of DVC reaches neither of them."""
    script = tmp_path / "dvc"
    script.write_text(
        "import subprocess, sys\nsubprocess.run(f'{sys.executable} -m pipeline train digits-rnn; true', shell=True)\n",
        encoding="utf-8",
    )
    clean = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    dvc = subprocess.Popen([sys.executable, str(script)], cwd=folder, env=clean, stderr=subprocess.DEVNULL)
    Stage.wait_for(stand_in(dvc, folder), "*.ckpt")
    below = psutil.Process(dvc.pid).children(recursive=True)
    dvc.kill()
    dvc.wait()
    _, alive = psutil.wait_procs(below, timeout=15)
    assert alive == []
    completes(Stage(folder), straight)


def stand_in(process: Any, folder: Path) -> Any:
    """Something to wait with."""
    stage = Stage.__new__(Stage)
    stage.process, stage.folder, stage.known = process, folder, set()
    return stage
