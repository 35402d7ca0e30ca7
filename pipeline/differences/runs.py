"""Runs of the ten differences in MLflow, one each, built from the files of their results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.files.atomic import read_json
from pipeline.files.digests import content_key, file_digest
from pipeline.report import ten_results
from pipeline.report.ten_results import MeasuredDifference
from pipeline.tracking.machine import MACHINE
from pipeline.tracking.specification import Planned, RunSpec, metric_name, number, parameter_text, parameter_texts

EXPERIMENT = "differences"  # of MLflow; no experiment of params.yaml may have this name
DESCRIPTION = "The ten differences that textbooks name between convolutional and recurrent networks, measured"
KIND = "difference"
FORMAT = 1  # raise it when the runs made below change, so that runs in MLflow are completed once more
TIMINGS = Path("timings", "differences")


def planned_differences(names: Mapping[str, str]) -> list[Planned]:
    """Plans the runs of all differences for which there are results under the working directory."""
    return [_plan(difference) for difference in ten_results.read_differences(names) if difference.facts]


def _plan(difference: MeasuredDifference) -> Planned:
    files = _artifacts(difference)
    content = [FORMAT, {name: file_digest(file) for name, file in files.items()}, _seconds(difference)]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return Planned(_key(difference), KIND, _title(difference), digest, partial(difference_run, difference))


def difference_run(difference: MeasuredDifference) -> RunSpec:
    """Builds a run: budget and learning rates as parameters, effects with intervals as metrics, the verdict as tags."""
    facts, seconds = difference.facts, _seconds(difference)
    end = (ten_results.FOLDER / f"{difference.name}.json").stat().st_mtime
    parameters = {"setting": facts.get("setting"), "scope": facts.get("scope"), **(facts.get("budget") or {})}
    return RunSpec(
        key=_key(difference), kind=KIND, name=_title(difference), begin=end - (seconds or 0.0), end=end,
        tags=_tags(difference),
        parameters=parameter_texts(parameters) | parameter_texts(facts.get("picked") or {}, "learning_rate/"),
        figures=_figures(facts) | ({} if seconds is None else {"seconds": seconds}),
        artifacts=_artifacts(difference),
    )  # fmt: skip


def _title(difference: MeasuredDifference) -> str:
    return f"{KIND} {difference.name}"


def _key(difference: MeasuredDifference) -> str:
    facts = difference.facts
    return str(facts.get("key") or content_key(difference=difference.name, budget=facts.get("budget")))


def _tags(difference: MeasuredDifference) -> dict[str, str]:
    facts = difference.facts
    note = (
        f"**{difference.verdict}**: {facts.get('claim', '')}\n\n{facts.get('shown', '')}\n\n{facts.get('advice', '')}"
    )
    tags = {
        "mlflow.note.content": note.strip(),
        "pipeline.origin": "files",
        "pipeline.difference": difference.name,
        "pipeline.verdict": difference.verdict,
        "pipeline.claim": str(facts.get("claim", "")),
        "pipeline.controls": _controls(facts),
        MACHINE: str(facts.get("machine", "")),
    }
    return {name: parameter_text(value) for name, value in tags.items() if value}


def _controls(facts: Mapping[str, Any]) -> str:
    failed = ten_results.failed_controls(facts)
    return f"failed: {'; '.join(failed)}" if failed else "passed"


def _figures(facts: Mapping[str, Any]) -> dict[str, float]:
    """Lists value, both intervals and margin of every effect."""
    figures: dict[str, Any] = {}
    for name, effect in (facts.get("effects") or {}).items():
        figures |= {name: effect.get("value"), f"{name}/margin": effect.get("margin")}
        for interval in ("95", "995"):
            low, high = effect.get(f"interval_{interval}") or (None, None)
            figures |= {f"{name}/low_{interval}": low, f"{name}/high_{interval}": high}
    metrics = {metric_name(name): number(value) for name, value in figures.items()}
    return {name: value for name, value in metrics.items() if value is not None}


def _artifacts(difference: MeasuredDifference) -> dict[str, Path]:
    files = [ten_results.FOLDER / f"{difference.name}.json", *([difference.figure] if difference.figure else [])]
    return {file.name: file for file in files}


def _seconds(difference: MeasuredDifference) -> float | None:
    """Reads how long it took, where this machine has measured this very result from beginning to end."""
    file = TIMINGS / f"{difference.name}.json"
    timing = read_json(file) if file.is_file() else {}
    known = timing.get("whole") and timing.get("key") == difference.facts.get("key")
    return number(timing.get("seconds")) if known else None
