"""A run of a search or training in MLflow, with its children, as a process sees it that writes it while it works."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline.tracking.address import Address
from pipeline.tracking.batches import as_metric, send, stored_steps
from pipeline.tracking.client import experiment_id
from pipeline.tracking.journals import Piece
from pipeline.tracking.liveness import BEAT, CLOSED, marks, owner_of, this_process
from pipeline.tracking.origin import origin_tags
from pipeline.tracking.runs import PARENT, children_by_key, is_written, runs_with_key
from pipeline.tracking.source import keep_source
from pipeline.tracking.specification import COMPLETE, KEY, KIND, parameter_texts

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

BEATING = 30.0  # seconds between two signs of life
GLANCE = 10.0  # seconds between two looks at whether the process that leads a shared search is still there
Standing = Literal["ours", "shared", "complete", "another's"]


class Displaced(Exception):
    """The run was removed, or another process has taken it over."""


@dataclass(frozen=True)
class Identity:
    """Which run it is."""

    experiment: str
    kind: str
    candidate: str
    key: str
    description: str

    @property
    def name(self) -> str:
        return f"{self.kind} {self.candidate}"


class Stream:
    """Holds what is on its way into a run. It outlives connections: `attach` is called with each new one."""

    def __init__(self, address: Address, identity: Identity, work: Path, parameters: Mapping[str, Any]) -> None:
        self.address, self.identity, self.work, self.parameters = address, identity, work, parameters
        self.pieces: dict[str, Piece] = {}  # by the name of their journal
        self.children: dict[str, Run] = {}  # by their key, as they were found or created
        self.ended: set[str] = set()  # keys of children that are under way no longer
        self.run_id = ""
        self.leads = True  # else another process writes the run, and only trials of ours come into it
        self.looked = 0.0

    def attach(self, client: MlflowClient) -> Standing:
        """Finds the run and makes it ours, or creates it. What was sent and not confirmed will be asked for.

        Machines that share a search share its run: one leads, and each brings the trials that it computes.
        """
        self.experiment_id = experiment_id(client, self.address, self.identity.experiment, "")
        run = self._found(client) or self._created(client)
        if COMPLETE in run.data.tags:
            return "complete"  # the same work once more: MLflow has it from the files
        self.leads = not is_written(run)
        if not self.leads and self.identity.kind != "tune":
            return "another's"
        self.run_id = run.info.run_id
        self.children = children_by_key(client, self.experiment_id, self.run_id)
        self.ended = {key for key, child in self.children.items() if child.info.status != "RUNNING"}
        present = {self.run_id, *(child.info.run_id for child in self.children.values())}
        self.pieces = {name: piece for name, piece in self.pieces.items() if piece.run_id in present}
        self.looked = time.monotonic()
        if not self.leads:
            return "shared"
        _reopen(client, run)
        _send_parameters(client, run, self.parameters)
        keep_source(client, self.run_id, self.address.root)
        return "ours"

    def poll(self, client: MlflowClient) -> None:
        """Sends what the journals have got since the last time. Raises Displaced where the run is no longer ours."""
        if time.monotonic() - self.looked > (BEATING if self.leads else GLANCE):
            self._look_after(client)
        for journal in sorted(self.work.glob("*.jsonl")):
            if journal.stem not in self.pieces and (piece := self._opened(client, journal)):
                self.pieces[journal.stem] = piece
        waiting: dict[str, list[Piece]] = {}
        for piece in self.pieces.values():
            piece.read()
            if piece.unsent:
                waiting.setdefault(piece.run_id, []).append(piece)
        for run_id, pieces in waiting.items():
            _send_points(client, run_id, pieces)
        self._finish_children(client)

    def close(self, client: MlflowClient, status: str) -> None:
        """Ends the run, and those of our trials that have not come to an end by themselves."""
        self._give_way(client)
        for run_id in self._open_trials():
            client.set_terminated(run_id, status)
        if self.leads:
            client.set_terminated(self.run_id, status)

    def _found(self, client: MlflowClient) -> Run | None:
        return next(iter(runs_with_key(client, self.experiment_id, self.identity.key)), None)

    def _created(self, client: MlflowClient) -> Run:
        """A new run, or that of another process which was a moment earlier."""
        identity = self.identity
        description = {"mlflow.note.content": identity.description, "mlflow.source.name": identity.name}
        created = self._create(client, identity.key, identity.kind, identity.name, {**description, **marks()})
        first = self._found(client) or created
        if first.info.run_id != created.info.run_id:
            client.delete_run(created.info.run_id)
        return first

    def _create(self, client: MlflowClient, key: str, kind: str, name: str, tags: Mapping[str, str]) -> Run:
        own = {KEY: key, KIND: kind, "pipeline.candidate": self.identity.candidate, "pipeline.origin": "live"}
        return client.create_run(self.experiment_id, None, {**origin_tags(self.address.root), **own, **tags}, name)

    def _look_after(self, client: MlflowClient) -> None:
        """A sign of life, where all is as it was."""
        run = client.get_run(self.run_id)
        changed = owner_of(run.data.tags) != this_process() if self.leads else not is_written(run)
        if changed or run.info.lifecycle_stage == "deleted":
            raise Displaced("its run was taken over or removed, or waits for somebody to lead it")
        self._give_way(client)
        for run_id in [*([self.run_id] if self.leads else []), *self._open_trials()]:
            client.set_tag(run_id, BEAT, str(int(time.time())))
        self.looked = time.monotonic()

    def _give_way(self, client: MlflowClient) -> None:
        """Removes our run where another process began an earlier one, which came into the store after we had looked."""
        same = runs_with_key(client, self.experiment_id, self.identity.key) if self.leads else []
        first = min(same, key=lambda run: (run.info.start_time, run.info.run_id), default=None)
        if first is None or first.info.run_id == self.run_id or self.run_id not in {run.info.run_id for run in same}:
            return
        for run_id in [*(child.info.run_id for child in self.children.values()), self.run_id]:
            client.delete_run(run_id)
        raise Displaced("another process shows the same work")

    def _open_trials(self) -> dict[str, str]:
        """Run id → key of the trials under way that this process brings."""
        ours = {piece.run_id for piece in self.pieces.values()}
        runs = {child.info.run_id: key for key, child in self.children.items() if key not in self.ended}
        return {run_id: key for run_id, key in runs.items() if run_id in ours}

    def _opened(self, client: MlflowClient, journal: Path) -> Piece | None:
        """Journals `trial-…` become child runs, others curves of the run itself; None where another process sends."""
        name, _, number = journal.stem.rpartition("-")
        if name == "trial":
            return self._opened_trial(client, journal, int(number))
        suffix = f"/seed_{int(number)}" if number.isdigit() else f"/{journal.stem}"
        return Piece(journal, self.run_id, suffix) if self.leads else None

    def _opened_trial(self, client: MlflowClient, journal: Path, number: int) -> Piece | None:
        key = f"{self.identity.key}/trial-{number}"
        known = self.children.get(key)
        if known is not None and key not in self.ended and is_written(client.get_run(known.info.run_id)):
            return None
        child = known or self._create(client, key, "trial", f"trial {number}", {PARENT: self.run_id, **marks()})
        self.children[key] = child
        described = journal.with_name(f"{journal.stem}.params.json")
        if described.is_file():
            _send_parameters(client, child, json.loads(described.read_text(encoding="utf-8")))
        if known is not None and not _outcome(journal).is_file():
            _reopen(client, child)  # a killed trial that goes on
            self.ended.discard(key)
        return Piece(journal, child.info.run_id, stored={} if known is None else None)

    def _finish_children(self, client: MlflowClient) -> None:
        """Ends the trials that have left an outcome, so that the table of runs shows what is still under way."""
        trials = self._open_trials()
        for piece in self.pieces.values():
            if piece.run_id in trials and _outcome(piece.journal).is_file():
                piece.read()  # the last line may have come after the last look
                if not piece.unsent:
                    client.set_terminated(piece.run_id, "FINISHED")
                    self.ended.add(trials[piece.run_id])


def _send_points(client: MlflowClient, run_id: str, pieces: Sequence[Piece]) -> None:
    """All that is unsent of the journals of one run, but for what the run has.

    That is asked for once, since an earlier process may have come further than the journals now say, and again after
    a failure, since a batch can be stored although its answer was lost.
    """
    unasked = [piece for piece in pieces if piece.stored is None]
    present = client.get_run(run_id).data.metrics if unasked else {}
    for piece in unasked:
        piece.stored = stored_steps(client, run_id, [name for name in present if name.endswith(piece.suffix)])
    points = [
        point
        for piece in pieces
        for point in piece.unsent
        if point.step not in (piece.stored or {}).get(point.metric, ())
    ]
    try:
        send(client, run_id, [as_metric(point) for point in points])
    except BaseException:
        for piece in pieces:
            piece.stored = None
        raise
    for piece in pieces:
        piece.unsent.clear()


def _send_parameters(client: MlflowClient, run: Run, parameters: Mapping[str, Any]) -> None:
    from mlflow.entities import Param

    missing = {name: text for name, text in parameter_texts(parameters).items() if name not in run.data.params}
    send(client, run.info.run_id, [], [Param(name, text) for name, text in missing.items()])


def _reopen(client: MlflowClient, run: Run) -> None:
    """A run goes on that was ended, or left or closed because its process had died. This process writes it now."""
    send(client, run.info.run_id, [], tags=_tags(marks()))
    if CLOSED in run.data.tags:
        client.delete_tag(run.info.run_id, CLOSED)
    if run.info.status != "RUNNING":
        client.update_run(run.info.run_id, status="RUNNING")


def _outcome(journal: Path) -> Path:
    return journal.with_suffix(".json")  # written when a fit is complete


def _tags(values: Mapping[str, str]) -> list[Any]:
    from mlflow.entities import RunTag

    return [RunTag(name, value) for name, value in values.items()]
