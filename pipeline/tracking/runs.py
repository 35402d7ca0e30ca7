"""Runs in MLflow found by their content key; and what is done about those that stand twice or that nobody writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.tracking.liveness import CLOSED, OWNER, is_anothers, is_living, last_heard, owner_of
from pipeline.tracking.specification import COMPLETE, KEY

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

PARENT = "mlflow.parentRunId"


def search(client: MlflowClient, experiment_id: str, condition: str) -> list[Run]:
    """All runs of an experiment that have a content key and for which a condition holds, the older first."""
    runs: list[Run] = []
    token = None
    while True:
        page = client.search_runs([experiment_id], condition, page_token=token, order_by=["start_time ASC"])
        runs += [run for run in page if KEY in run.data.tags]
        token = page.token
        if not token:
            return runs


def rank(run: Run) -> tuple[bool, int, str]:
    """Which of two runs with one key stays: the complete one, else the older; the same for all who ask."""
    return COMPLETE not in run.data.tags, run.info.start_time, run.info.run_id


def runs_with_key(client: MlflowClient, experiment_id: str, key: str) -> list[Run]:
    """The runs of a piece of work, the one that stays first."""
    return sorted(search(client, experiment_id, f"tags.`{KEY}` = '{key}'"), key=rank)


def is_written(run: Run) -> bool:
    """Whether another process is writing the run just now."""
    return run.info.status == "RUNNING" and is_anothers(run.data.tags, run.info.start_time / 1000)


def children_by_key(client: MlflowClient, experiment_id: str, run_id: str) -> dict[str, Run]:
    return by_key(client, experiment_id, f"tags.`{PARENT}` = '{run_id}'")


def by_key(client: MlflowClient, experiment_id: str, condition: str) -> dict[str, Run]:
    """Runs by content key. Where a key stands twice, because two processes created it at the same moment, one of the
    runs stays and the others are removed, unless a living process writes them just now."""
    runs: dict[str, Run] = {}
    for run in sorted(search(client, experiment_id, condition), key=rank):
        first = runs.setdefault(run.data.tags[KEY], run)
        if first is not run and not is_written(run):
            remove(client, experiment_id, run)
    return runs


def remove(client: MlflowClient, experiment_id: str, run: Run) -> None:
    """Puts a run and its children into the bin of MLflow."""
    for child in search(client, experiment_id, f"tags.`{PARENT}` = '{run.info.run_id}'"):
        client.delete_run(child.info.run_id)
    client.delete_run(run.info.run_id)


def close_abandoned(client: MlflowClient, experiment_id: str) -> list[str]:
    """Ends the runs that a dead process has left open. Returns what was done, in words."""
    running = search(client, experiment_id, "attributes.status = 'RUNNING'")
    living = {run.info.run_id for run in running if is_living(run.data.tags, run.info.start_time / 1000)}
    closed = []
    for run in running:
        judged = run.info.run_id if OWNER in run.data.tags else run.data.tags.get(PARENT, run.info.run_id)
        if judged in living:
            continue
        owner = owner_of(run.data.tags)
        client.set_tag(run.info.run_id, CLOSED, f"{owner or 'the process that wrote it'} is gone")
        heard = int(last_heard(run.data.tags, 0.0) * 1000)
        client.set_terminated(run.info.run_id, "KILLED", max(heard, run.info.start_time))
        closed.append(f"{run.info.run_name}: closed, {owner or 'its process'} is gone")
    return closed
