"""Compares runs in MLflow with the files, value by value and file by file. It reads only; `sync` mends by it."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipeline.files.digests import file_digest
from pipeline.tracking.liveness import is_living, owner_of
from pipeline.tracking.runs import PARENT, rank, search
from pipeline.tracking.source import SOURCE, fetched
from pipeline.tracking.specification import COMPLETE, KEY, KIND, Planned, RunSpec

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

REGISTER = "`python -m pipeline register`"
INFINITE = 1.7e308  # MLflow stores infinity as the largest number


@dataclass(frozen=True)
class Difference:
    """One line of an audit. What does not matter is told and not counted."""

    about: str
    found: str
    mend: str = ""
    matters: bool = True

    def __str__(self) -> str:
        return f"{self.about}: {self.found}" + (f"; mended by {self.mend}" if self.mend else "")


@dataclass(frozen=True)
class Fault:
    """Holds what is wrong with a run. `anew`: MLflow cannot change it, so that the run has to be written once more."""

    text: str
    remedy: Literal["complete", "upload", "anew"] = "complete"


def run_differences(
    client: MlflowClient, experiment_id: str, experiment: str, planned: Iterable[Planned]
) -> Iterator[Difference]:
    """Every difference between the planned runs, with their trials, and what MLflow holds of the experiment."""
    stored: dict[str, list[Run]] = {}
    for run in search(client, experiment_id, ""):
        stored.setdefault(run.data.tags[KEY], []).append(run)
    for plan in planned:
        spec = plan.build()
        runs = sorted(stored.pop(spec.key, []), key=rank)
        yield from _presence(f"{experiment}: run {spec.name}", runs)
        if not runs or _is_open(runs[0]):
            for child in spec.children:
                stored.pop(child.key, None)
            continue
        faults = list(run_faults(client, runs[0], spec))
        if runs[0].data.tags.get(COMPLETE) != plan.digest:
            faults.append(Fault("is not marked as complete from the present files"))
        for child in spec.children:
            of_this_key = sorted(stored.pop(child.key, []), key=rank)
            faults += child_faults(client, runs[0], child, of_this_key)
        yield from (Difference(f"{experiment}: run {spec.name}", fault.text, REGISTER) for fault in faults)
    yield from _others(experiment, [run for runs in stored.values() for run in runs])


def run_faults(client: MlflowClient, run: Run, spec: RunSpec) -> Iterator[Fault]:
    """Yields what is wrong with one run, without its trials."""
    tags = {name: value for name, value in spec.tags.items() if name != "pipeline.origin"}  # live stays live
    for name, value in tags.items():
        if run.data.tags.get(name) != value:
            yield Fault(f"tag {name} is {_short(run.data.tags.get(name))} instead of {_short(value)}")
    if run.info.status != spec.status:
        yield Fault(f"its status is {run.info.status} instead of {spec.status}")
    for name, value in spec.parameters.items():
        if name not in run.data.params:
            yield Fault(f"parameter {name} is missing")
        elif run.data.params[name] != value:
            yield Fault(f"parameter {name} is {_short(run.data.params[name])} instead of {_short(value)}", "anew")
    for name, number in spec.figures.items():
        if not _same(run.data.metrics.get(name), number):
            yield Fault(f"figure {name} is {run.data.metrics.get(name, 'missing')} instead of {number:.6g}")
    yield from _point_faults(client, run, spec)
    if spec.data is not None and not (run.inputs and run.inputs.dataset_inputs):
        yield Fault("names no data")
    if spec.kind in ("tune", "train") and SOURCE not in run.data.tags:
        yield Fault("does not say from which source it came")
    if spec.artifacts:
        yield from _artifact_faults(client, run, spec)


def child_faults(client: MlflowClient, parent: Run, spec: RunSpec, runs: list[Run]) -> list[Fault]:
    """Returns what is wrong with a trial of a search, of which MLflow has these runs, the one that counts first."""
    if not runs:
        return [Fault(f"{spec.name} is missing")]
    faults = list(run_faults(client, runs[0], spec))
    if len(runs) > 1:
        faults.append(Fault(f"stands {len(runs)} times"))
    if runs[0].data.tags.get(PARENT) != parent.info.run_id:
        faults.append(Fault("belongs to another search", "anew"))
    return [Fault(f"{spec.name}: {fault.text}", fault.remedy) for fault in faults]


def _presence(about: str, runs: list[Run]) -> Iterator[Difference]:
    if not runs:
        yield Difference(about, "MLflow does not have it", REGISTER)
    if len(runs) > 1:
        yield Difference(about, f"stands {len(runs)} times in MLflow", REGISTER)
    for run in runs:
        if _is_open(run):
            yield Difference(about, f"is being written by {owner_of(run.data.tags) or 'a process'}", matters=False)


def _point_faults(client: MlflowClient, run: Run, spec: RunSpec) -> Iterator[Fault]:
    """Points that are missing, doubled, different, or that no file knows, a fault for each curve."""
    curves: dict[str, dict[int, float]] = {}
    for point in spec.points:
        curves.setdefault(point.metric, {})[point.step] = point.value
    for name, curve in curves.items():
        history = client.get_metric_history(run.info.run_id, name) if name in run.data.metrics else []
        steps = Counter(point.step for point in history)
        missing = sum(step not in steps for step in curve)
        doubled = sum(count > 1 for count in steps.values())
        wrong = sum(point.step in curve and not _same(point.value, curve[point.step]) for point in history)
        foreign = sum(step not in curve for step in steps)
        if missing:
            yield Fault(f"{missing} of {len(curve)} points of {name} are missing")
        for count, word in ((doubled, "stand twice"), (wrong, "have another value"), (foreign, "no file knows")):
            if count:
                yield Fault(f"{count} points of {name} {word}", "anew")


def _artifact_faults(client: MlflowClient, run: Run, spec: RunSpec) -> Iterator[Fault]:
    """Files of the run that are missing or have other bytes; all are read."""
    with tempfile.TemporaryDirectory() as scratch:
        place = fetched(client, run.info.run_id, "", Path(scratch)) or Path(scratch)
        for name, file in spec.artifacts.items():
            if not (place / name).is_file():
                yield Fault(f"file {name} is missing", "upload")
            elif file_digest(place / name) != file_digest(file):
                yield Fault(f"file {name} has other bytes", "upload")


def _others(experiment: str, runs: list[Run]) -> Iterator[Difference]:
    """Runs that no file plans: earlier work, and work that is going on or broke off."""
    earlier = 0
    for run in runs:
        if run.info.status != "RUNNING":
            earlier += run.data.tags.get(KIND) != "trial"
        elif PARENT in run.data.tags:
            continue  # it goes with its search
        elif is_living(run.data.tags, run.info.start_time / 1000):
            yield Difference(f"{experiment}: run {run.info.run_name}", "is going on", matters=False)
        else:
            yield Difference(f"{experiment}: run {run.info.run_name}", "is open, but its process is gone", REGISTER)
    if earlier:
        yield Difference(experiment, f"MLflow has {earlier} runs of earlier work, which no file knows", matters=False)


def _is_open(run: Run) -> bool:
    """Whether a living process writes it just now: then it is not finished, and no fault."""
    return run.info.status == "RUNNING" and is_living(run.data.tags, run.info.start_time / 1000)


def _same(stored: float | None, wanted: float) -> bool:
    if stored is None:
        return False
    if math.isinf(wanted) or abs(stored) >= INFINITE:
        return abs(stored) >= INFINITE and (stored > 0) == (wanted > 0)
    return math.isclose(stored, wanted, rel_tol=1e-9, abs_tol=1e-300)


def _short(text: str | None) -> str:
    return "missing" if text is None else repr(text if len(text) <= 60 else text[:59] + "…")
