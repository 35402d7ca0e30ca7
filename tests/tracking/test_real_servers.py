"""The stages, a real PostgreSQL and a real `mlflow server`, which is killed again and again; and where passwords go."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median
from subprocess import CompletedProcess
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from ruamel.yaml import YAML
from servers import MlflowServer, running_mlflow

from pipeline.params import Tracking
from pipeline.tracking.address import address_of
from pipeline.tracking.client import Unreachable, connect

if TYPE_CHECKING:
    from servers import Postgres

pytestmark = pytest.mark.timeout(600)
ROOT = Path(__file__).parents[2]
NOBODY = "http://127.0.0.1:9"
KILLS = 3  # `make chaos ARGS=--server` makes as many as one likes
SECONDS = 25  # that the training would take alone, so that it outlasts the kills
SLOWER = 1.25  # how many times as long an epoch may take as in the same training beside it, which nobody watches


class Work:
    """A folder in which stages run that track into one database."""

    def __init__(self, folder: Path, call: Callable[..., CompletedProcess[str]], postgres: Postgres) -> None:
        self.folder, self.call, self.postgres = folder, call, postgres
        self.said = ""  # all that the stages have written

    def stage(self, *arguments: str, uri: str) -> None:
        done = self.call(self.folder, *arguments, MLFLOW_TRACKING_URI=uri)
        self.said += done.stdout + done.stderr
        assert done.returncode == 0, done.stderr

    def edit(self, **training: Any) -> None:
        path = self.folder / "params.yaml"
        document = YAML(typ="safe", pure=True).load(path)
        document["experiments"]["digits"]["training"] |= training
        YAML(pure=True).dump(document, path)

    def copy(self) -> Work:
        folder = self.folder.with_name("beside")
        shutil.copytree(self.folder, folder)
        return Work(folder, self.call, self.postgres)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        return self.postgres.execute("mlflow", statement)


@pytest.fixture(scope="module")
def work(
    prepared: Path, call: Callable[..., CompletedProcess[str]], postgres: Postgres,
    tmp_path_factory: pytest.TempPathFactory,
) -> Work:  # fmt: skip
    from mlflow.tracking import MlflowClient

    folder = tmp_path_factory.mktemp("work") / "repository"
    shutil.copytree(prepared, folder)
    MlflowClient(postgres.create("mlflow")).search_experiments()  # sets the tables up
    return Work(folder, call, postgres)


@pytest.fixture
def server(work: Work, tmp_path: Path) -> Iterator[MlflowServer]:
    with running_mlflow(work.postgres.address("mlflow"), tmp_path) as found:
        yield found


def test_a_search_goes_straight_into_postgresql(work: Work) -> None:
    work.stage("tune", "digits-rnn", uri=work.postgres.address("mlflow"))
    statuses = work.rows("select name, status from runs where lifecycle_stage = 'active' order by name")
    assert statuses == [("trial 0", "FINISHED"), ("trial 1", "FINISHED"), ("tune digits-rnn", "FINISHED")]
    assert work.rows("select count(*) from metrics") == [(16,)], "two trials of two epochs with four metrics"
    assert "live view" not in work.said


def test_kills_of_the_server_cost_no_point_and_no_time(work: Work, server: MlflowServer) -> None:
    work.edit(epochs=40, patience=40, repeats=1)
    work.stage("train", "digits-rnn", uri=NOBODY)
    epochs = min(max(int(SECONDS / seconds_of_an_epoch(work)), 60), 4000)
    work.edit(epochs=epochs, patience=epochs)
    beside = work.copy()
    ended, kills = threading.Event(), list[float]()
    others = [
        threading.Thread(target=kill_again_and_again, args=(server, ended, kills)),
        threading.Thread(target=beside.stage, args=("train", "digits-rnn"), kwargs={"uri": NOBODY}),
    ]
    for other in others:
        other.start()
    try:
        work.stage("train", "digits-rnn", uri=server.address)
    finally:
        ended.set()
        for other in others:
            other.join()
    server.kill()
    server.start()
    work.stage("register", "digits", uri=server.address)
    run = "run_uuid = (select run_uuid from runs where name = 'train digits-rnn' and lifecycle_stage = 'active')"
    points = work.rows(f"select key, step, count(*) from metrics where {run} and key like '%/seed_0' group by 1, 2")
    slower = seconds_of_an_epoch(work) / seconds_of_an_epoch(beside)
    print(f"{len(kills)} kills, {len(points)} points; an epoch takes {slower:.2f} times as long as one beside it")
    assert len(kills) == KILLS
    assert len((work.folder / "models/digits/digits-rnn/history.csv").read_text().splitlines()) == 1 + epochs
    assert len(points) == 4 * epochs, "no point is missing"
    assert max(count for _, _, count in points) == 1, "no point stands twice"
    assert work.rows(f"select status from runs where {run}") == [("FINISHED",)]
    assert slower < SLOWER


def kill_again_and_again(server: MlflowServer, ended: threading.Event, kills: list[float]) -> None:
    """At random moments, also while the server is still starting."""
    chance = random.Random(11)
    while len(kills) < KILLS and not ended.wait(chance.uniform(2.0, 8.0)):
        server.kill()
        kills.append(time.monotonic())
        ended.wait(chance.uniform(0.0, 1.0))
        server.start(wait=False)


def seconds_of_an_epoch(work: Work) -> float:
    found = json.loads((work.folder / "timings/digits/digits-rnn/train.times.json").read_text())
    times = list(found["times"]["repeat-0"].values())
    return median(after - before for before, after in pairwise(times))


def test_a_search_that_was_killed_and_then_edited_leaves_no_run_open(work: Work) -> None:
    uri = work.postgres.address("mlflow")
    work.edit(trial_epochs=3000, pruning=None)
    variables = {"MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "tune", "digits-rnn"], cwd=work.folder, env={**os.environ, **variables},
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    running = "select name from runs where status = 'RUNNING' order by name"
    try:
        until(lambda: work.rows(running) == [("trial 0",), ("trial 1",), ("tune digits-rnn",)])
    finally:
        process.kill()
        process.wait()
    work.edit(trial_epochs=1)
    work.stage("tune", "digits-rnn", uri=uri)
    work.stage("register", "digits", uri=uri)
    assert work.rows(running) == [], work.said[-2000:]
    said = "select value from tags where key = 'pipeline.closed'"
    assert {text.split(" on ")[0] for (text,) in work.rows(said)} == {f"process {process.pid}"}
    killed = "select name from runs where status = 'KILLED' and lifecycle_stage = 'active' order by name"
    assert work.rows(killed) == [("trial 0",), ("trial 1",), ("tune digits-rnn",)]


def until(true: Callable[[], bool], seconds: float = 200) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.2)


def test_account_and_password_are_written_nowhere(work: Work) -> None:
    secrets = [work.postgres.password, quote(work.postgres.password, safe=""), work.postgres.user]
    files = [path for path in work.folder.rglob("*") if path.is_file()]
    texts = {str(path): path.read_bytes().decode("utf-8", "replace") for path in files}
    texts["said"] = work.said
    for table, column in (("tags", "value"), ("params", "value"), ("experiment_tags", "value"), ("runs", "name")):
        texts[table] = "\n".join(str(row[0]) for row in work.rows(f"select {column} from {table}"))
    assert len(texts["tags"]) > 1000 and "tune: " in work.said
    assert [(name, secret) for name, text in texts.items() for secret in secrets if secret in text] == []


def test_refused_account_is_reported_without_its_name(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    uri = postgres.address("mlflow").replace("geheim", "falsches")
    begin = time.monotonic()
    with pytest.raises(Unreachable) as found:
        connect(address_of(Tracking(uri=uri, artifacts=None), tmp_path))
    assert time.monotonic() - begin < 30, "MLflow by itself would try for an hour"
    message = str(found.value)
    assert message.startswith(f"postgresql://127.0.0.1:{postgres.port}/mlflow: ")
    assert "password authentication failed" in message
    for text in (message, caplog.text):
        assert "falsches" not in text and postgres.user not in text


def test_absent_postgresql_costs_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    begin = time.monotonic()
    with pytest.raises(Unreachable, match=r"postgresql://127\.0\.0\.1:9/mlflow: no server answers there"):
        connect(address_of(Tracking(uri="postgresql://me:geheim@127.0.0.1:9/mlflow", artifacts=None), tmp_path))
    assert time.monotonic() - begin < 30
