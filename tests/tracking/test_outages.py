"""MLflow dies, hangs, loses answers, stays away: training does not notice, and in the end every point stands once."""

from __future__ import annotations

import itertools
import json
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from relay import Relay, relaying

from pipeline.params import Tracking
from pipeline.tracking import follower
from pipeline.tracking.live import live_run

if TYPE_CHECKING:
    from servers import MlflowServer, Postgres

METRICS = ("train_loss", "validation_loss", "learning_rate")


@pytest.fixture
def relay(mlflow_server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """The way to a server, with everything quicker than in life."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(follower, "INTERVAL", 0.1)
    monkeypatch.setattr(follower, "FIRST_PAUSE", 0.1)
    with relaying(mlflow_server.port) as found:
        yield found


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


def watched(relay: Relay, key: str, kind: str = "train") -> AbstractContextManager[None]:
    return live_run(
        Tracking(uri=relay.address, artifacts=None), experiment="outages", kind=kind, candidate="digits-cnn", key=key,
        work=Path("work"), parameters={"width": 16}, description="A training",
    )  # fmt: skip


def write(piece: str, epochs: range, pause: float = 0.0) -> None:
    """What a training writes."""
    Path("work").mkdir(exist_ok=True)
    with Path("work", f"{piece}.jsonl").open("a", encoding="utf-8") as stream:
        for epoch in epochs:
            line = {"epoch": epoch, "time": time.time(), "metrics": dict.fromkeys(METRICS, 1 / (epoch + 1))}
            stream.write(json.dumps(line) + "\n")
            stream.flush()
            time.sleep(pause)


def stored(server: MlflowServer, key: str) -> tuple[list[str], Counter[tuple[str, int]]]:
    """(statuses of the runs of a piece of work, how often each point stands in them)."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(server.address)
    place = client.get_experiment_by_name("outages")
    runs = client.search_runs([place.experiment_id], f"tags.`pipeline.key` LIKE '{key}%'") if place else []
    points: Counter[tuple[str, int]] = Counter()
    for run in runs:
        name = run.data.tags["pipeline.key"].removeprefix(key)
        for metric in run.data.metrics:
            history = client.get_metric_history(run.info.run_id, metric)
            points.update((f"{name}{metric}", point.step) for point in history)
    return [run.info.status for run in runs], points


def expected(piece: str, epochs: int) -> Counter[tuple[str, int]]:
    return Counter({(f"{metric}/{piece}", epoch): 1 for metric in METRICS for epoch in range(epochs)})


def until(true: Callable[[], Any], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def has_points(server: MlflowServer, key: str, count: int) -> Callable[[], bool]:
    return lambda: stored(server, key)[1].total() >= count


def test_ten_outages_leave_no_gap_and_no_double(
    relay: Relay, mlflow_server: MlflowServer, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    chance, over, epochs = random.Random(7), threading.Event(), itertools.count()

    def train() -> None:
        while not over.is_set():
            epoch = next(epochs)
            write("repeat-0", range(epoch, epoch + 1), pause=0.1)

    training = threading.Thread(target=train)
    with caplog.at_level(logging.INFO), watched(relay, key):
        training.start()
        until(has_points(mlflow_server, key, 1))
        for outage in range(10):
            said = len(caplog.records)
            time.sleep(chance.uniform(0.0, 0.4))
            (relay.cut, relay.lose_answers)[outage % 2]()
            until(lambda said=said: len(caplog.records) > said)
            relay.restore()
            until(lambda said=said: "is back after" in " ".join(r.getMessage() for r in caplog.records[said:]))
        over.set()
        training.join()
    assert stored(mlflow_server, key) == (["FINISHED"], expected("seed_0", next(epochs)))
    said = [record.getMessage() for record in caplog.records if record.name == "pipeline.tracking.follower"]
    kinds = [kind for line in said for kind in ("is interrupted", "is back after") if kind in line]
    assert len(kinds) >= 20
    assert kinds == ["is interrupted", "is back after"] * (len(kinds) // 2), "one warning an outage, one line after it"


def test_batch_that_was_stored_although_its_answer_was_lost_is_not_sent_again(
    relay: Relay, mlflow_server: MlflowServer, key: str
) -> None:
    with pytest.raises(RuntimeError, match="crash"), watched(relay, key):
        write("repeat-0", range(3))
        until(has_points(mlflow_server, key, 9))
        relay.lose_answers()
        write("repeat-0", range(3, 6))
        assert relay.lost.wait(60)
        relay.cut()
        raise RuntimeError("crash")
    until(has_points(mlflow_server, key, 18))
    relay.restore()
    Path("work/repeat-0.jsonl").unlink()
    with watched(relay, key):
        write("repeat-0", range(8))  # a resumed training ends the same epochs at other times
    assert stored(mlflow_server, key) == (["FINISHED"], expected("seed_0", 8))


def test_trial_whose_creation_was_not_confirmed_exists_once(
    relay: Relay, mlflow_server: MlflowServer, key: str
) -> None:
    with watched(relay, key, kind="tune"):
        write("trial-000", range(2))
        until(has_points(mlflow_server, key, 6))
        relay.lose_answers()
        write("trial-001", range(2))
        assert relay.lost.wait(60)
    statuses, points = stored(mlflow_server, key)
    assert statuses == ["FINISHED"] * 3
    assert set(points.values()) == {1} and points.total() == 12


def test_server_that_comes_late_gets_everything(relay: Relay, mlflow_server: MlflowServer, key: str) -> None:
    relay.cut()
    with watched(relay, key):
        write("repeat-0", range(5))
        time.sleep(1)
        relay.restore()
        until(has_points(mlflow_server, key, 15))
        write("repeat-0", range(5, 7))
    assert stored(mlflow_server, key) == (["FINISHED"], expected("seed_0", 7))


def test_server_that_hangs_holds_the_end_for_the_patience_and_no_longer(
    relay: Relay, mlflow_server: MlflowServer, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    monkeypatch.setattr(follower, "PATIENCE", 1.0)
    with watched(relay, key):
        write("repeat-0", range(2))
        until(has_points(mlflow_server, key, 6))
        relay.silence()
        begin = time.monotonic()
        write("repeat-0", range(2, 40))
        assert time.monotonic() - begin < 3, "training is not slowed down"
        time.sleep(0.3)
        begin = time.monotonic()
    assert time.monotonic() - begin < 10
    assert stored(mlflow_server, key)[1] == expected("seed_0", 2)


def test_server_that_hung_for_a_while_is_followed_on(relay: Relay, mlflow_server: MlflowServer, key: str) -> None:
    with watched(relay, key):
        write("repeat-0", range(2))
        until(has_points(mlflow_server, key, 6))
        relay.silence()
        write("repeat-0", range(2, 4))
        time.sleep(3)
        relay.restore()
        until(has_points(mlflow_server, key, 12))
    assert stored(mlflow_server, key) == (["FINISHED"], expected("seed_0", 4))


def test_postgresql_that_breaks_off_is_followed_on_without_a_word_about_the_account(
    relay: Relay, postgres: Postgres, key: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    from mlflow.tracking import MlflowClient

    uri = postgres.create("outages")
    MlflowClient(uri).search_experiments()  # sets the tables up
    rows = "select step, count(*) from metrics where key = 'train_loss/seed_0' group by step order by step"
    with relaying(postgres.port) as way, caplog.at_level(logging.INFO):
        tracking = Tracking(uri=uri.replace(str(postgres.port), str(way.port)), artifacts=Path("files").as_posix())
        with live_run(tracking, experiment="outages", kind="train", candidate="digits-cnn", key=key, work=Path("work"),
                      parameters={}, description=""):  # fmt: skip
            write("repeat-0", range(2))
            until(lambda: len(postgres.execute("outages", rows)) == 2)
            way.cut()
            write("repeat-0", range(2, 4))
            until(lambda: "training goes on" in caplog.text)  # the first look may not have ended yet
            way.restore()
            until(lambda: "is back after" in caplog.text)
    assert postgres.execute("outages", rows) == [(step, 1) for step in range(4)]
    assert postgres.execute("outages", "select status from runs") == [("FINISHED",)]
    said = caplog.text + "".join(capfd.readouterr())
    assert postgres.user not in said and "geheim" not in said and "Traceback" not in said


def test_pauses_grow_while_a_server_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    outage = follower.Outage("somewhere")
    pauses = [outage.begin("no server answers there") for _ in range(9)]
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    outage.over()
    assert outage.begin("again") == 0.5
