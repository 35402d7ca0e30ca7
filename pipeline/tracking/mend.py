"""What a thorough synchronisation does about a run whose marks say more than it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.tracking.audit import run_faults
from pipeline.tracking.runs import PARENT, is_written, remove, search
from pipeline.tracking.specification import ARTIFACTS, RunSpec

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient


def mended(client: MlflowClient, experiment_id: str, run: Run, spec: RunSpec) -> tuple[Run | None, list[str]]:
    """(the run, ready to be completed, or None where it has to be written anew, what was found).

    MLflow takes back neither points nor parameters: a run with wrong ones goes into the bin. Where files differ, the
    mark is taken off that says that they are there.
    """
    faults = list(run_faults(client, run, spec))
    beyond = [fault.text for fault in faults if fault.remedy == "anew"]
    if beyond:
        remove(client, experiment_id, run)
        return None, [f"run anew, because {beyond[0]}"]
    if ARTIFACTS in run.data.tags and any(fault.remedy == "upload" for fault in faults):
        client.delete_tag(run.info.run_id, ARTIFACTS)
        return client.get_run(run.info.run_id), []
    return run, []


def remove_orphans(client: MlflowClient, experiment_id: str) -> list[str]:
    """Puts trials into the bin whose search is there already. Returns what was done, in words."""
    runs = search(client, experiment_id, "")
    present = {run.info.run_id for run in runs}
    orphans = [
        run for run in runs if PARENT in run.data.tags and run.data.tags[PARENT] not in present and not is_written(run)
    ]
    for run in orphans:
        client.delete_run(run.info.run_id)
    return [f"{len(orphans)} trials without a search: removed"] if orphans else []
