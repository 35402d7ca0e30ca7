"""A running search or training can be watched; nothing that MLflow does can disturb it."""

from __future__ import annotations

import json
import logging
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from pipeline.params import Tracking
from pipeline.tracking.live import live_run


def write_epochs(journal: Path, epochs: range) -> None:
    journal.parent.mkdir(parents=True, exist_ok=True)
    with journal.open("a", encoding="utf-8") as stream:
        for epoch in epochs:
            metrics = {"train_loss": 1 / (epoch + 1), "validation_loss": float("nan") if epoch == 1 else 0.5}
            stream.write(json.dumps({"epoch": epoch, "time": 1_700_000_000 + epoch, "metrics": metrics}) + "\n")


def watched(work: Path, kind: str = "tune", key: str = "k1", uri: str | None = None) -> AbstractContextManager[None]:
    tracking = Tracking(uri=uri, artifacts=None)
    parameters = {"seed": 0, "parameters": {"width": 16}, "settings": {"horizon": 4}}
    return live_run(tracking, experiment="digits", kind=kind, candidate="digits-cnn", key=key, work=work,
                    parameters=parameters, description="A search")  # fmt: skip


def runs_of(repository: Path) -> dict[str, Any]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{repository}/mlflow.db")
    experiment = client.get_experiment_by_name("digits")
    found = {}
    for run in client.search_runs([experiment.experiment_id]):
        histories = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
        run.points = {name: [(point.step, point.value) for point in history] for name, history in histories.items()}
        run.times = {name: [point.timestamp for point in history] for name, history in histories.items()}
        assert run.data.tags["pipeline.key"] not in found, "a key stands twice"
        found[run.data.tags["pipeline.key"]] = run
    return found


def test_trials_become_child_runs_with_the_times_of_their_journal(repository: Path) -> None:
    work = repository / ".work"
    with watched(work):
        write_epochs(work / "trial-003.jsonl", range(3))
        (work / "trial-003.params.json").write_text('{"width": 32}')
    runs = runs_of(repository)
    assert runs["k1"].info.status == "FINISHED"
    assert runs["k1"].data.params == {"seed": "0", "width": "16", "settings/horizon": "4"}
    trial = runs["k1/trial-3"]
    assert trial.data.tags["mlflow.parentRunId"] == runs["k1"].info.run_id
    assert trial.data.params == {"width": "32"}
    assert trial.points == {"train_loss": [(0, 1.0), (1, 0.5), (2, 1 / 3)], "validation_loss": [(0, 0.5), (2, 0.5)]}
    assert trial.times["train_loss"] == [1_700_000_000_000, 1_700_000_001_000, 1_700_000_002_000]


def test_repeats_become_curves_of_the_training(repository: Path) -> None:
    work = repository / ".work"
    with watched(work, kind="train"):
        write_epochs(work / "repeat-0.jsonl", range(2))
        write_epochs(work / "repeat-1.jsonl", range(1))
    assert set(runs_of(repository)["k1"].points) == {
        "train_loss/seed_0", "train_loss/seed_1", "validation_loss/seed_0", "validation_loss/seed_1"
    }  # fmt: skip


def test_resumed_training_goes_on_in_its_run_and_doubles_nothing(repository: Path) -> None:
    work = repository / ".work"
    with pytest.raises(RuntimeError, match="crash"), watched(work):
        write_epochs(work / "trial-000.jsonl", range(2))
        raise RuntimeError("crash")
    assert {run.info.status for run in runs_of(repository).values()} == {"FAILED"}
    with watched(work):
        write_epochs(work / "trial-000.jsonl", range(1, 4))  # epoch 1 once more, as after a resume
    runs = runs_of(repository)
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert [step for step, _ in runs["k1/trial-0"].points["train_loss"]] == [0, 1, 2, 3]


def test_absent_server_costs_one_warning_and_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with caplog.at_level(logging.WARNING), watched(tmp_path / ".work", uri="http://127.0.0.1:9"):
        start = time.monotonic()
        write_epochs(tmp_path / ".work" / "trial-000.jsonl", range(2))
        blocked = time.monotonic() - start
    warnings = [entry.getMessage() for entry in caplog.records if entry.name.startswith("pipeline.")]
    assert len(warnings) == 1
    assert "`register` sends everything from the files" in warnings[0]
    assert blocked < 0.5
