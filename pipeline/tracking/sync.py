"""Brings runs in MLflow up to what the files say: adds what is missing, never doubles what is there."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.files.digests import file_digest
from pipeline.tracking.batches import as_metric, send, stored_points
from pipeline.tracking.liveness import CLOSED, marks, owner_of
from pipeline.tracking.mend import mended, remove_orphans
from pipeline.tracking.runs import PARENT, by_key, children_by_key, close_abandoned, is_written, remove
from pipeline.tracking.source import hand_over, keep_source_of_files, origin_of_files
from pipeline.tracking.specification import ARTIFACTS, COMPLETE, KEY, KIND, DataInput, Planned, RunSpec

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient


logger = logging.getLogger(__name__)


@dataclass
class Sent:
    """Holds what one synchronisation found and did."""

    run_ids: dict[str, str] = field(default_factory=dict)  # content key → run id
    lines: list[str] = field(default_factory=list)  # what was added, in words


def sync(
    client: MlflowClient, experiment_id: str, planned: Iterable[Planned], root: Path, thorough: bool = False
) -> Sent:
    """Ensures that every planned run exists once and completely, and that none stays open which nobody writes.

    Where all is there, two searches are all it takes. A run that a living process writes just now is left to it.
    `thorough` does not trust the marks: every value and every file is looked at, and what differs is written anew.
    """
    sent = Sent()
    runs = by_key(client, experiment_id, f"tags.`{KIND}` != 'trial'")
    for plan in planned:
        run = runs.get(plan.key)
        trusted = run is not None and run.data.tags.get(COMPLETE) == plan.digest and not thorough
        if run is not None and (trusted or is_written(run)):
            sent.run_ids[plan.key] = run.info.run_id
            if not trusted:
                logger.info("%s: left to %s, which is writing it", plan.name, owner_of(run.data.tags))
            continue
        spec = plan.build()
        run_id, added = complete(client, experiment_id, spec, run, plan.digest, root, thorough=thorough)
        sent.run_ids[plan.key] = run_id
        if added:
            sent.lines.append(f"{spec.name}: {', '.join(added)}")
    sent.lines += close_abandoned(client, experiment_id)
    if thorough:
        sent.lines += remove_orphans(client, experiment_id)
    return sent


def complete(
    client: MlflowClient,
    experiment_id: str,
    spec: RunSpec,
    run: Run | None,
    digest: str,
    root: Path,
    parent: str | None = None,
    thorough: bool = False,
) -> tuple[str, list[str]]:
    """(run id, what was added) for one run and its children. The mark of completeness is set last."""
    added, before = [] if run is not None else ["run"], run
    if run is not None and _has_doubled(client, run, spec):
        remove(client, experiment_id, run)
        run, added = None, ["run anew, because points stood twice"]
    if run is not None and thorough:
        run, change = mended(client, experiment_id, run, spec)
        added += change
    created = run is None
    run = run or _create(client, experiment_id, spec, root, parent)
    run_id = run.info.run_id
    if created and before is not None:
        hand_over(client, before, run_id)
    added += _complete_values(client, run, spec)
    added += _complete_artifacts(client, run, spec.artifacts)
    if spec.data is not None and not (run.inputs and run.inputs.dataset_inputs):
        _log_input(client, run_id, spec.data)
    keep_source_of_files(client, run_id, spec, root)
    children = children_by_key(client, experiment_id, run_id) if spec.children and not created else {}
    results = [
        complete(client, experiment_id, child, children.get(child.key), "", root, run_id, thorough)[1]
        for child in spec.children
    ]
    if any(results):
        added.append(f"{sum(map(bool, results))} trials")
    if run.info.status != spec.status:
        client.set_terminated(run_id, spec.status, int(spec.end * 1000) if created else None)
    if CLOSED in run.data.tags:
        client.delete_tag(run_id, CLOSED)
    if digest:
        client.set_tag(run_id, COMPLETE, digest)
    return run_id, added


def _create(client: MlflowClient, experiment_id: str, spec: RunSpec, root: Path, parent: str | None) -> Run:
    tags = {**origin_of_files(spec, root), **spec.tags, KEY: spec.key, KIND: spec.kind, "mlflow.source.name": spec.name}
    tags |= marks() if parent is None else {PARENT: parent}
    return client.create_run(experiment_id, int(spec.begin * 1000), tags, spec.name)


def _complete_values(client: MlflowClient, run: Run, spec: RunSpec) -> list[str]:
    """Tags that differ, parameters and points that are missing, figures that are missing or have changed."""
    from mlflow.entities import Metric, Param, RunTag

    tags = {name: value for name, value in spec.tags.items() if name != "pipeline.origin"}  # live stays live
    wrong_tags = [RunTag(name, value) for name, value in tags.items() if run.data.tags.get(name) != value]
    parameters = [Param(name, value) for name, value in spec.parameters.items() if name not in run.data.params]
    stored = _stored(client, run, spec)
    points = [as_metric(point) for point in spec.points if (point.metric, point.step) not in stored]
    changed = {name: value for name, value in spec.figures.items() if run.data.metrics.get(name) != value}
    figures = [Metric(name, value, int(spec.end * 1000), 0) for name, value in changed.items()]
    if any(name in run.data.metrics for name in changed):  # of values of one step, MLflow shows the latest
        figures = [Metric(metric.key, metric.value, int(time.time() * 1000), 0) for metric in figures]
    send(client, run.info.run_id, points + figures, parameters, wrong_tags)
    counts = {"parameters": len(parameters), "points": len(points), "figures": len(figures)}
    return [f"{count} {what}" for what, count in counts.items() if count]


def _stored(client: MlflowClient, run: Run, spec: RunSpec) -> Counter[tuple[str, int]]:
    """Returns how often a run has the points that it shall have. A run that was just created is not asked."""
    return stored_points(client, run.info.run_id, {point.metric for point in spec.points} & set(run.data.metrics))


def _has_doubled(client: MlflowClient, run: Run, spec: RunSpec) -> bool:
    """Whether two processes have written one curve: MLflow cannot take a point back, so the run is made anew.

    A complete run stays: versions of the model name it.
    """
    return COMPLETE not in run.data.tags and max(_stored(client, run, spec).values(), default=0) > 1


def _complete_artifacts(client: MlflowClient, run: Run, artifacts: Mapping[str, Path]) -> list[str]:
    """Uploads the files, all of them, unless a tag says that the run has exactly these."""
    digests = {path: file_digest(file) for path, file in artifacts.items()}
    digest = hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()
    if not artifacts or run.data.tags.get(ARTIFACTS) == digest:
        return []
    for path, file in artifacts.items():
        client.log_artifact(run.info.run_id, str(file), path.rpartition("/")[0] or None)
    client.set_tag(run.info.run_id, ARTIFACTS, digest)
    return [f"{len(artifacts)} files"]


def _log_input(client: MlflowClient, run_id: str, data: DataInput) -> None:
    """MLflow has no class for tables of tensors; the entity is all that the store needs."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        data.name, data.digest, "local", json.dumps({"uri": data.uri}), profile=json.dumps(dict(data.profile))
    )
    tags = [InputTag(name, value) for name, value in data.tags.items()]
    client.log_inputs(run_id, datasets=[DatasetInput(dataset, tags)])
