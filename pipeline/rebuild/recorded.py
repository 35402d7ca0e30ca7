"""What MLflow holds of a version for rebuilding it: files, run and commit; and which versions there are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.params import ParamsError, nearest
from pipeline.rebuild.reproduce import Recorded
from pipeline.rebuild.worktree import Failed
from pipeline.tracking.address import Address
from pipeline.tracking.client import as_default
from pipeline.tracking.origin import COMMIT, DIRTY
from pipeline.tracking.source import COMMITTED, PATCH, PATCHED, SOURCE
from pipeline.tracking.specification import KEY

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient


def versions_of(client: MlflowClient) -> list[str]:
    """A line for every version of every registered model: its commit, and what the last rebuilding said."""
    lines = []
    for model in client.search_registered_models():
        aliases = {str(number): alias for alias, number in model.aliases.items()}
        for version in _versions(client, model.name):
            run = _run_of(client, model.name, version)
            origin = _reason_against(run) or f"commit {run.data.tags[COMMIT][:12]}" if run else "its run is gone"
            last = version.tags.get("pipeline.reproduced", "not tried yet")
            named = f"{model.name}@{version.version}"
            named += f" ({aliases[str(version.version)]})" if str(version.version) in aliases else ""
            lines.append(f"{named:24} {version.tags.get('pipeline.candidate', '?'):16} {origin}; {last}")
    return lines


def wanted_version(client: MlflowClient, model: str, version: str) -> str:
    """The number of a version that is named by number or alias. Raises ParamsError for one that does not exist."""
    known = {entry.name: entry for entry in client.search_registered_models()}
    if model not in known:
        hint = nearest(model, known) if known else "none is registered yet; `dvc repro` makes some"
        raise ParamsError(f"registered model: found {model}; {hint}")
    aliases = {alias: str(number) for alias, number in known[model].aliases.items()}
    number = aliases.get(version, version)
    numbers = [str(entry.version) for entry in _versions(client, model)]
    if number not in numbers:
        raise ParamsError(
            f"version of {model}: found {version}; allowed: {', '.join([*numbers, *aliases]) or 'none yet'}"
        )
    return number


def recorded_of(client: MlflowClient, address: Address, model: str, number: str, target: Path) -> Recorded:
    """Copies what is stored of a version into `target`. Raises Failed where something that is needed was not kept."""
    version = client.get_model_version(model, number)
    if KEY not in version.tags:
        raise Failed("it was not made by this pipeline (it has no content key)")
    run = _run_of(client, model, version)
    if run is None:
        raise Failed("MLflow has no run of its training any more, and with it no commit")
    reason = _reason_against(run)
    if reason:
        raise Failed(reason)
    _download(f"models:/{model}/{number}/artifacts/model.safetensors", address, target)
    file = _download(f"models:/{model}/{number}/artifacts/model.json", address, target)
    if SOURCE in run.data.tags:
        _download(f"runs:/{run.info.run_id}/source", address, target)
    if run.data.tags.get(SOURCE) == PATCHED and not (target / PATCH).is_file():
        raise Failed(f"its run has lost {PATCH}")
    description = json.loads(file.read_text(encoding="utf-8"))
    score = version.tags.get("pipeline.score", "loss")
    score = score if score in description["validation"] else "loss"
    return Recorded(f"{model}@{number}", run.data.tags[COMMIT], description, score, file.parent, target, run.data.tags)


def _versions(client: MlflowClient, model: str) -> list[ModelVersion]:
    versions = client.search_model_versions(f"name = '{model}'")
    return sorted(versions, key=lambda entry: int(entry.version))


def _run_of(client: MlflowClient, model: str, version: ModelVersion) -> Run | None:
    """The run of its training: of those with its content key the one that can be rebuilt."""
    experiment, key = client.get_experiment_by_name(model), version.tags.get(KEY)
    if experiment is None or key is None:
        return None
    runs = client.search_runs([experiment.experiment_id], f"tags.`{KEY}` = '{key}'", order_by=["start_time ASC"])
    return min(runs, key=lambda run: bool(_reason_against(run)), default=None)


def _reason_against(run: Run) -> str:
    """Why a run cannot be rebuilt; empty where nothing speaks against it."""
    tags = run.data.tags
    source = tags.get(SOURCE)
    if source not in (None, COMMITTED, PATCHED):
        return f"its source is {source}"
    if COMMIT not in tags:
        return "its run names no commit"
    if source is None and tags.get(DIRTY) != "false":
        return f"commit {tags[COMMIT][:12]} had changes that were not stored"
    return ""


def _download(uri: str, address: Address, target: Path) -> Path:
    """A copy in `target` of a file or folder of a version or run. Raises Failed where MLflow has lost it."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        with as_default(address):
            place = download_artifacts(uri, dst_path=str(target), tracking_uri=address.uri, registry_uri=address.uri)
    except (MlflowException, OSError) as error:
        raise Failed(f"MLflow does not hand over {uri}: {address.scrub(error)}".split("\n")[0]) from None
    return Path(place)
