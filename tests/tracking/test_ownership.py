"""One run for one piece of work, whoever is killed: continued, taken over, merged or closed, and never doubled."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.params import Tracking
from pipeline.tracking import follower
from pipeline.tracking.address import address_of
from pipeline.tracking.client import connect, experiment_id
from pipeline.tracking.live import live_run
from pipeline.tracking.liveness import BEAT, CLOSED, OWNER, Owner, marks, this_machine, this_process
from pipeline.tracking.specification import Planned, Point, RunSpec
from pipeline.tracking.stream import Stream
from pipeline.tracking.sync import Sent, sync

ROOT = Path(__file__).parents[2]
WORKER = """
import sys, time
from pathlib import Path
from pipeline.params import Tracking
from pipeline.tracking import follower
from pipeline.tracking.live import live_run
follower.INTERVAL = 0.1
with live_run(Tracking(uri=None, artifacts=None), experiment="digits", kind="tune", candidate="digits-cnn",
              key=sys.argv[1], work=Path("work"), parameters={"width": 16}, description="A search"):
    time.sleep(600)
"""


class View:
    """MLflow, as it is seen from a repository."""

    def __init__(self, root: Path) -> None:
        self.address = address_of(Tracking(uri=None, artifacts=None), root)
        self.client = connect(self.address)
        self.place = experiment_id(self.client, self.address, "digits", "")

    def sync(self, *planned: Planned) -> Sent:
        return sync(self.client, self.place, planned, self.address.root)

    def runs(self) -> dict[str, Any]:
        """The run of each key; a key must not stand twice."""
        found = self.client.search_runs([self.place])
        keys = [run.data.tags["pipeline.key"] for run in found]
        assert len(keys) == len(set(keys)), keys
        return dict(zip(keys, found, strict=True))

    def steps(self, key: str, metric: str = "loss") -> list[int]:
        run = self.runs().get(key)
        return [] if run is None else sorted(p.step for p in self.client.get_metric_history(run.info.run_id, metric))

    def begin(self, key: str, steps: range, at: int = 1_700_000_000_000, **tags: str) -> str:
        """A run with points, as a process leaves it that was killed. Returns its id."""
        from mlflow.entities import Metric

        own = {"pipeline.key": key, "pipeline.kind": "train", **tags}
        run_id = str(self.client.create_run(self.place, at, own, f"train {key}").info.run_id)
        self.client.log_batch(run_id, [Metric("loss", 1.0, at + step, step) for step in steps])
        return run_id


@pytest.fixture
def view(repository: Path, monkeypatch: pytest.MonkeyPatch) -> View:
    monkeypatch.setattr(follower, "INTERVAL", 0.1)
    monkeypatch.setattr(follower, "STANDBY", 0.2)
    monkeypatch.setattr("pipeline.tracking.stream.GLANCE", 0.2)
    (repository / "work").mkdir()
    return View(repository)


def watched(key: str, work: str = "work") -> AbstractContextManager[None]:
    return live_run(
        Tracking(uri=None, artifacts=None), experiment="digits", kind="tune", candidate="digits-cnn", key=key,
        work=Path(work), parameters={"width": 16}, description="A search",
    )  # fmt: skip


def write(journal: str, epochs: range, mode: str = "a", work: str = "work") -> None:
    lines = [{"epoch": epoch, "time": time.time(), "metrics": {"loss": 1.0}} for epoch in epochs]
    with Path(work, f"{journal}.jsonl").open(mode, encoding="utf-8") as stream:
        stream.writelines(json.dumps(line) + "\n" for line in lines)


def until(true: Callable[[], Any], seconds: float = 200) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


@contextmanager
def another_process(key: str) -> Iterator[subprocess.Popen[bytes]]:
    """A stage that works on a key until it is killed."""
    process = subprocess.Popen([sys.executable, "-c", WORKER, key], env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def planned(key: str, steps: range) -> Planned:
    points = tuple(Point("loss", step, 1.0, 5.0 + step) for step in steps)
    return Planned(key, "train", key, "digest", lambda: RunSpec(key, "train", key, 1.0, 2.0, points=points))


def test_killed_search_and_its_trial_go_on_in_the_same_runs(view: View) -> None:
    write("trial-000", range(3))
    with another_process("k"):
        until(lambda: view.steps("k/trial-0") == [0, 1, 2])
    killed = view.runs()
    assert {run.info.status for run in killed.values()} == {"RUNNING"}
    write("trial-000", range(2), mode="w")  # a resume goes back to its checkpoint
    with watched("k"):
        until(lambda: view.runs()["k"].data.tags[OWNER] == this_process().tag)
        write("trial-000", range(2, 5))
    runs = view.runs()
    assert {key: run.info.run_id for key, run in runs.items()} == {key: run.info.run_id for key, run in killed.items()}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert view.steps("k/trial-0") == [0, 1, 2, 3, 4]


def test_killed_search_that_nobody_continues_is_closed_by_register(view: View) -> None:
    write("trial-000", range(3))
    with another_process("k") as process:
        until(lambda: view.steps("k/trial-0") == [0, 1, 2])
        assert view.sync().lines == [], "its process lives"
        assert {run.info.status for run in view.runs().values()} == {"RUNNING"}
    assert len(view.sync().lines) == 2
    for run in view.runs().values():
        assert run.info.status == "KILLED" and run.info.end_time >= run.info.start_time
        assert run.data.tags[CLOSED].endswith("is gone")
    assert view.runs()["k"].data.tags[CLOSED].startswith(f"process {process.pid} on ")
    assert view.sync().lines == []


def test_closed_run_goes_on_when_its_work_does(view: View) -> None:
    run_id = view.begin("k", range(2), **dead())
    view.sync()
    assert view.runs()["k"].info.status == "KILLED"
    with watched("k"):
        until(lambda: view.runs()["k"].info.status == "RUNNING")
    run = view.runs()["k"]
    assert (run.info.run_id, run.info.status) == (run_id, "FINISHED") and CLOSED not in run.data.tags


def test_second_process_with_the_same_work_waits_until_the_first_is_gone(
    view: View, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    write("repeat-0", range(3))
    with another_process("k") as process:
        until(lambda: view.steps("k", "loss/seed_0") == [0, 1, 2])
        with watched("k"):
            time.sleep(2)
            owner = json.loads(view.runs()["k"].data.tags[OWNER])
            assert owner["pid"] == process.pid
            assert view.sync(planned("k", range(9))).lines == [], "register leaves it alone, too"
            assert f"k: left to process {process.pid} on " in caplog.text
            process.kill()
            process.wait()
            until(lambda: view.runs()["k"].data.tags[OWNER] == this_process().tag)
    assert view.steps("k", "loss/seed_0") == [0, 1, 2]
    assert view.runs()["k"].info.status == "FINISHED"


def test_machines_that_share_a_search_bring_a_trial_each_into_one_run(view: View) -> None:
    Path("other").mkdir()
    write("trial-000", range(3))
    with another_process("k") as first:
        until(lambda: view.steps("k/trial-0") == [0, 1, 2])
        write("trial-000", range(9), work="other")  # what the other one computes is not for us to send
        write("trial-001", range(2), work="other")
        with watched("k", work="other"):
            until(lambda: view.steps("k/trial-1") == [0, 1])
            runs = view.runs()
            assert json.loads(runs["k"].data.tags[OWNER])["pid"] == first.pid
            assert runs["k/trial-1"].data.tags["mlflow.parentRunId"] == runs["k"].info.run_id
            assert runs["k/trial-1"].data.tags[OWNER] == this_process().tag
            assert view.steps("k/trial-0") == [0, 1, 2]
            first.kill()
            first.wait()
            until(lambda: view.runs()["k"].data.tags[OWNER] == this_process().tag)
            until(lambda: view.steps("k/trial-0") == list(range(9)))  # taken over from the dead
    assert {run.info.status for run in view.runs().values()} == {"FINISHED"}
    assert view.steps("k/trial-1") == [0, 1]


def dead() -> dict[str, str]:
    """Tags of a process that had the number of this one, before."""
    return marks(Owner(this_machine(), os.getpid(), this_process().started - 3600))


@pytest.mark.parametrize(("silence", "status"), [(30, "RUNNING"), (3000, "RUNNING"), (7200, "KILLED")])
def test_other_machines_are_judged_by_their_signs_of_life(view: View, silence: float, status: str) -> None:
    tags = marks(Owner("another/pid:[1]", os.getpid(), 0.0)) | {BEAT: str(time.time() - silence)}
    view.begin("k", range(1), **tags)
    view.sync()
    assert view.runs()["k"].info.status == status


def test_run_without_an_owner_is_completed_from_files(view: View) -> None:
    run_id = view.begin("k", range(2))
    view.sync(planned("k", range(4)))
    assert view.runs()["k"].info.run_id == run_id and view.runs()["k"].info.status == "FINISHED"
    assert view.steps("k") == [0, 1, 2, 3]


def test_of_two_runs_with_one_key_register_keeps_the_older(view: View) -> None:
    younger = view.begin("k", range(3), at=1_700_000_060_000, **dead())
    older = view.begin("k", range(2), at=1_700_000_000_000, **dead())
    child = view.begin("k/trial-0", range(1), **{"mlflow.parentRunId": younger})
    view.sync(planned("k", range(4)))
    assert view.runs()["k"].info.run_id == older
    assert view.steps("k") == [0, 1, 2, 3]
    assert {view.client.get_run(run_id).info.lifecycle_stage for run_id in (younger, child)} == {"deleted"}


def test_two_processes_that_begin_at_the_same_moment_leave_one_run(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2, timeout=30)
    found, asked = Stream._found, threading.local()

    def together(stream: Stream, client: Any) -> Any:
        answer = found(stream, client)
        if not getattr(asked, "before", False):
            asked.before = True
            assert answer is None
            both.wait()  # nobody creates a run before both have seen that there is none
        return answer

    monkeypatch.setattr(Stream, "_found", together)
    write("repeat-0", range(2))
    with watched("k"), watched("k"):
        until(lambda: both.n_waiting == 0 and view.client.search_runs([view.place]))
        time.sleep(1)
    assert view.steps("k", "loss/seed_0") == [0, 1]


def test_run_gives_way_to_an_earlier_one_that_came_into_the_store_after_it(view: View) -> None:
    """Two processes wait for the same database: the one that took its time first may be the second to write."""
    write("repeat-0", range(2))
    with watched("k"):
        until(lambda: view.steps("k", "loss/seed_0") == [0, 1])
        ours = view.runs()["k"].info.run_id
        earlier = view.begin("k", range(2))
    assert view.runs()["k"].info.run_id == earlier
    assert view.client.get_run(ours).info.lifecycle_stage == "deleted"


def test_run_in_which_points_stand_twice_is_made_anew(view: View) -> None:
    """MLflow cannot take a point back."""
    doubled = view.begin("k", range(3), **dead())
    view.client.log_metric(doubled, "loss", 1.0, 1_800_000_000_000, 1)
    assert view.sync(planned("k", range(4))).lines == ["k: run anew, because points stood twice, 4 points"]
    assert view.runs()["k"].info.run_id != doubled
    assert view.steps("k") == [0, 1, 2, 3]
    assert view.sync(planned("k", range(4))).lines == []


def test_work_that_was_removed_while_it_ran_gets_a_new_run(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.tracking.stream.BEATING", 0.0)
    write("repeat-0", range(2))
    with watched("k"):
        until(lambda: view.steps("k", "loss/seed_0") == [0, 1])
        first = view.runs()["k"].info.run_id
        view.client.delete_run(first)
        until(lambda: view.steps("k", "loss/seed_0") == [0, 1])
    assert view.runs()["k"].info.run_id != first and view.runs()["k"].info.status == "FINISHED"
