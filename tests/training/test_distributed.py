"""Training over two processes: one model, one writer, nearly the numbers of one process, and no process is missed."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from ruamel.yaml import YAML

from pipeline.params import Choices, Range, load

ROOT = Path(__file__).parents[2]
TWO = {"devices": 2, "strategy": "ddp"}
pytestmark = pytest.mark.timeout(400)


def repository_in(folder: Path, tiny: dict[str, Any], prepared: Path, save: Callable[..., Path]) -> Path:
    """Fills a folder with prepared data and the best parameters of two candidates."""
    tiny["experiments"]["co2"]["training"] |= {"epochs": 2, "repeats": 2, "batch_size": 30}
    tiny["experiments"]["digits"]["training"] |= {"epochs": 10, "repeats": 1}
    save(tiny, folder)
    (folder / "data").symlink_to(prepared / "data")
    for candidate in ("co2-rnn", "digits-cnn"):
        space = load(folder / "params.yaml").candidates[candidate].parameters
        best = {
            name: entry.choices[-1] if isinstance(entry, Choices) else entry.high if isinstance(entry, Range) else entry
            for name, entry in space.items()
        }
        place = folder / "search" / candidate.partition("-")[0] / candidate
        place.mkdir(parents=True)
        (place / "best.json").write_text(json.dumps({"parameters": best | {"dropout": 0.0}}), encoding="utf-8")
    return folder


@pytest.fixture
def repository(tiny: dict[str, Any], prepared: Path, tmp_path: Path, save: Callable[..., Path]) -> Path:
    return repository_in(tmp_path, tiny, prepared, save)


@pytest.fixture(scope="module")
def co2(
    _tiny: dict[str, Any],
    prepared: Path,
    tmp_path_factory: pytest.TempPathFactory,
    save: Callable[..., Path],
    call: Any,
) -> tuple[Path, pd.DataFrame, dict[str, Any], str]:
    """(folder, history, description of the model, output) of co2-rnn trained by two processes."""
    folder = repository_in(tmp_path_factory.mktemp("two"), copy.deepcopy(_tiny), prepared, save)
    return folder, *trained(folder, call, "co2-rnn", **TWO)


def edit(folder: Path, **trainer: Any) -> None:
    document = YAML(typ="safe", pure=True).load(folder / "params.yaml")
    document["launcher"] = trainer.pop("launcher", None)
    document["experiments"]["digits"]["training"]["epochs"] = trainer.pop("epochs", 10)
    document["trainer"] |= trainer
    YAML(pure=True).dump(document, folder / "params.yaml")


def trained(folder: Path, call: Any, candidate: str, **trainer: Any) -> tuple[pd.DataFrame, dict[str, Any], str]:
    edit(folder, **trainer)
    done = call(folder, "train", candidate)
    assert done.returncode == 0, done.stderr
    target = folder / "models" / candidate.partition("-")[0] / candidate
    history = pd.read_csv(target / "history.csv")
    return history, json.loads((target / "model.json").read_text(encoding="utf-8")), done.stdout


@pytest.mark.parametrize(
    ("candidate", "score", "closeness"),
    # The gradients of halves are averaged, which rounds in another order; co2 has no other difference. The digits have
    # one: each process shifts its pictures by random numbers of its own, and normalises batches of half the size.
    # Single epochs differ by more than the curve as a whole.
    [("co2-rnn", "mae", 0.02), ("digits-cnn", "accuracy", 0.25)],
)
def test_two_processes_train_nearly_what_one_does_and_one_of_them_writes(
    candidate: str, score: str, closeness: float, request: pytest.FixtureRequest, call: Any
) -> None:
    from mlflow.tracking import MlflowClient

    if candidate == "co2-rnn":
        repository, history, model, said = request.getfixturevalue("co2")
    else:
        repository = request.getfixturevalue("repository")
        history, model, said = trained(repository, call, candidate, **TWO)
    assert said.count(f"best validation {score}") == 1, said
    assert [path for path in (repository / ".work").iterdir() if path.is_dir()] == []
    client = MlflowClient(f"sqlite:///{repository / 'mlflow.db'}")
    (experiment,) = [found for found in client.search_experiments() if found.name == candidate.partition("-")[0]]
    assert len(client.search_runs([experiment.experiment_id])) == 1, "only the first process tracks"

    alone, single, _ = trained(repository, call, candidate, devices=1, strategy="auto")
    assert list(history) == list(alone)
    assert history["step"].tolist() == alone["step"].tolist()
    for column in ("train_loss", "validation_loss"):
        assert history[column].mean() == pytest.approx(alone[column].mean(), rel=closeness)
        if candidate == "co2-rnn":
            pd.testing.assert_series_equal(history[column], alone[column], rtol=closeness)
    assert model["key"] != single["key"]
    assert model["validation"][score] == pytest.approx(single["validation"][score], rel=closeness)


@pytest.fixture
def started(repository: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts a training of digits-cnn over two processes that takes some seconds."""
    processes: list[subprocess.Popen[str]] = []
    edit(repository, epochs=40, **TWO)

    def start() -> subprocess.Popen[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PYTEST"))}
        clean |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "pipeline", "train", "digits-cnn"]
        processes.append(subprocess.Popen(command, cwd=repository, env=clean, stderr=subprocess.PIPE, text=True))
        return processes[-1]

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.communicate()


def checkpointed(folder: Path, process: subprocess.Popen[str], known: set[Path]) -> None:
    """Waits for a new checkpoint."""
    deadline = time.monotonic() + 120
    while not set(folder.glob(".work/*/*.ckpt")) - known:
        assert process.poll() is None and time.monotonic() < deadline, process.stderr and process.stderr.read()
        time.sleep(0.01)


def second_of(process: subprocess.Popen[str]) -> psutil.Process:
    """The process of rank 1: the first one starts it with the command of its own."""
    below = psutil.Process(process.pid).children(recursive=True)
    return next(child for child in below if child.cmdline()[-2:] == ["train", "digits-cnn"])


def test_either_process_can_be_killed_and_the_training_goes_on_exactly(repository: Path, started: Any) -> None:
    process = started()
    assert process.communicate()[1] is not None and process.returncode == 0
    target = repository / "models/digits/digits-cnn"
    straight = {path.name: path.read_bytes() for path in target.iterdir()}
    for rank, number in ((0, signal.SIGKILL), (1, signal.SIGKILL), (0, signal.SIGTERM)):
        known = set(repository.glob(".work/*/*.ckpt"))
        process = started()
        checkpointed(repository, process, known)
        other = second_of(process)
        os.kill((process.pid, other.pid)[rank], number)
        said = process.communicate(timeout=60)[1]
        assert process.returncode != 0
        # The first process learns of a lost second one from the broken connection, or from Lightning's observer of
        # processes, which looks every five seconds and ends all of them. Which of the two is earlier is chance.
        words = {0: ("continues",), 1: ("goes on", f"PID {other.pid} terminated with code -9")}[rank]
        assert (rank, number) == (0, signal.SIGKILL) or any(word in said for word in words), said
        _, alive = psutil.wait_procs([other], timeout=20)
        assert alive == [], "no process of a broken training stays behind"
        assert list(repository.glob(".work/*/*.ckpt")) != []
    assert started().wait(120) == 0
    assert {path.name: path.read_bytes() for path in target.iterdir()} == straight


def test_a_launcher_starts_the_processes(
    co2: tuple[Path, pd.DataFrame, dict[str, Any], str], repository: Path, call: Any
) -> None:
    _, history, model, _ = co2
    words = f"{Path(sys.executable).with_name('torchrun')} --standalone --nproc-per-node 2"
    launched, again, repeated = trained(repository, call, "co2-rnn", launcher=words, **TWO)
    assert repeated.count("best validation mae") == 1
    assert model == again
    pd.testing.assert_frame_equal(history, launched)


def test_a_launcher_that_is_not_there_or_fails_is_named(repository: Path, call: Any) -> None:
    for words, message in (("torchrumn --x", "torchrumn cannot be started"), ("false", "ended with exit code 1")):
        edit(repository, launcher=words, **TWO)
        done = call(repository, "train", "co2-rnn")
        assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
        assert not (repository / "models").exists()
