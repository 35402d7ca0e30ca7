"""Streams a running search or training to MLflow. It only watches: nothing in here can stop or change a training."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.params import Tracking
from pipeline.tracking.address import Address, address_of
from pipeline.tracking.client import Unreachable, connect, experiment_id, reported
from pipeline.tracking.origin import origin_tags
from pipeline.tracking.specification import COMPLETE, KEY, KIND, Point, metric_name, number, parameter_texts

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

logger = logging.getLogger(__name__)

INTERVAL = 2.0  # seconds between two looks at the journals
PATIENCE = 5.0  # seconds that a finished training waits for the last points to be sent


@contextmanager
def live_run(
    tracking: Tracking,
    *,
    experiment: str,
    kind: str,
    candidate: str,
    key: str,
    work: Path,
    parameters: dict[str, Any],
    description: str,
) -> Iterator[None]:
    """Shows in MLflow what the journals in `work` (*.jsonl, one line an epoch) say while the block runs.

    The journals must stay until the block is left. Journals `trial-…` become child runs, `repeat-…` curves named
    `<metric>/seed_<n>`. Where MLflow is away, one warning is all: `register` sends everything from the files.
    """
    if any(os.environ.get(name, "0") != "0" for name in ("LOCAL_RANK", "RANK")):
        yield  # another process of a distributed training watches already
        return
    address = address_of(tracking)
    follower = Follower(address, Identity(experiment, kind, candidate, key, description), Path(work), parameters)
    follower.start()
    status = "FAILED"
    try:
        yield
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        follower.finish(status)


@dataclass(frozen=True)
class Identity:
    """Which run it is."""

    experiment: str
    kind: str
    candidate: str
    key: str
    description: str


@dataclass
class Piece:
    """One journal: where its points go and how much of it was read. `sent` holds (metric, step)."""

    run_id: str
    suffix: str
    offset: int = 0
    sent: set[tuple[str, int]] = field(default_factory=set)


class Follower(threading.Thread):
    """Reads journals and sends what is new, in a thread of its own."""

    def __init__(self, address: Address, identity: Identity, work: Path, parameters: dict[str, Any]) -> None:
        super().__init__(name=f"mlflow {identity.kind} {identity.candidate}", daemon=True)
        self.address, self.identity, self.work, self.parameters = address, identity, work, parameters
        self.pieces: dict[str, Piece] = {}
        self.children: dict[str, str] = {}  # piece → run id
        self.ended = threading.Event()
        self.status = "FINISHED"

    def finish(self, status: str) -> None:
        """Sends the rest, for at most PATIENCE seconds."""
        self.status = status
        self.ended.set()
        self.join(PATIENCE)
        if self.is_alive():
            logger.warning("MLflow at %s is slow; `register` sends what is missing", self.address.shown)

    def run(self) -> None:
        try:
            with reported(self.address):
                self._follow(connect(self.address))
        except Unreachable as error:
            logger.warning("no live view in MLflow (%s); `register` sends everything from the files", error)
        except Exception:  # a mistake in this view of a training is no reason to end the training
            logger.warning(
                "the live view in MLflow broke off; `register` sends everything from the files", exc_info=True
            )

    def _follow(self, client: MlflowClient) -> None:
        identity = self.identity
        self.experiment_id = experiment_id(client, self.address, identity.experiment, "")
        tags = {
            "mlflow.note.content": identity.description,
            "mlflow.source.name": f"{identity.kind} {identity.candidate}",
        }
        run_id, complete = self._attach(
            client, identity.key, identity.kind, f"{identity.kind} {identity.candidate}", tags
        )
        if complete:
            return  # the same work once more: MLflow has it from the files
        self.run_id = run_id
        self._send_parameters(client, run_id, self.parameters)
        while not self.ended.wait(INTERVAL):
            self._poll(client)
        self._poll(client)
        for finished in (*self.children.values(), run_id):
            client.set_terminated(finished, self.status)

    def _attach(self, client: MlflowClient, key: str, kind: str, name: str, tags: dict[str, str]) -> tuple[str, bool]:
        """(run id, whether the run is complete) of the run with this key: found and reopened, or created."""
        found = client.search_runs([self.experiment_id], f"tags.`{KEY}` = '{key}'", order_by=["start_time ASC"])
        if not found:
            marks = {KEY: key, KIND: kind, "pipeline.candidate": self.identity.candidate, "pipeline.origin": "live"}
            run = client.create_run(self.experiment_id, None, {**origin_tags(self.address.root), **marks, **tags}, name)
            return run.info.run_id, False
        run = found[0]
        if COMPLETE in run.data.tags:
            return run.info.run_id, True
        client.update_run(run.info.run_id, status="RUNNING")
        return run.info.run_id, False

    def _send_parameters(self, client: MlflowClient, run_id: str, parameters: dict[str, Any]) -> None:
        from mlflow.entities import Param

        known = client.get_run(run_id).data.params
        missing = [Param(name, text) for name, text in parameter_texts(parameters).items() if name not in known]
        for start in range(0, len(missing), 100):
            client.log_batch(run_id, params=missing[start : start + 100])

    def _poll(self, client: MlflowClient) -> None:
        for journal in sorted(self.work.glob("*.jsonl")):
            if journal.stem not in self.pieces:
                self.pieces[journal.stem] = self._open(client, journal)
            piece = self.pieces[journal.stem]
            self._send(client, piece, read_new(journal, piece))

    def _open(self, client: MlflowClient, journal: Path) -> Piece:
        name, _, number_text = journal.stem.rpartition("-")
        if name != "trial":
            run_id, suffix = self.run_id, f"/seed_{int(number_text)}" if number_text.isdigit() else f"/{journal.stem}"
        else:
            trial = f"trial-{int(number_text)}"
            tags = {"mlflow.parentRunId": self.run_id}
            run_id, _ = self._attach(client, f"{self.identity.key}/{trial}", "trial", trial.replace("-", " "), tags)
            suffix = ""
            self.children[journal.stem] = run_id
            described = journal.with_name(f"{journal.stem}.params.json")
            if described.is_file():
                self._send_parameters(client, run_id, json.loads(described.read_text(encoding="utf-8")))
        return Piece(run_id, suffix, sent=known_points(client, run_id))

    def _send(self, client: MlflowClient, piece: Piece, points: list[Point]) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(point.metric, point.value, int(point.time * 1000), point.step) for point in points]
        for start in range(0, len(metrics), 1000):
            client.log_batch(piece.run_id, metrics=metrics[start : start + 1000])


def known_points(client: MlflowClient, run_id: str) -> set[tuple[str, int]]:
    """(metric, step) of all that a run has."""
    metrics = client.get_run(run_id).data.metrics
    return {(metric, point.step) for metric in metrics for point in client.get_metric_history(run_id, metric)}


def read_new(journal: Path, piece: Piece) -> list[Point]:
    """Points of a journal that were not sent yet; a line that is still being written waits for the next time."""
    try:
        if journal.stat().st_size < piece.offset:
            piece.offset = 0  # a resumed training wrote it anew
        with journal.open("rb") as stream:
            stream.seek(piece.offset)
            lines = stream.read().split(b"\n")[:-1]
    except OSError:
        return []  # removed in this moment
    piece.offset += sum(len(line) + 1 for line in lines)
    points = [point for line in lines for point in _points_of(line, piece.suffix)]
    fresh = [point for point in points if (point.metric, point.step) not in piece.sent]
    piece.sent.update((point.metric, point.step) for point in fresh)
    return fresh


def _points_of(line: bytes, suffix: str) -> list[Point]:
    try:
        entry = json.loads(line)
        epoch, time, metrics = int(entry["epoch"]), float(entry["time"]), dict(entry["metrics"])
    except (ValueError, KeyError, TypeError):
        return []
    values = {metric_name(name + suffix): number(value) for name, value in metrics.items()}
    return [Point(name, epoch, value, time) for name, value in values.items() if value is not None]
