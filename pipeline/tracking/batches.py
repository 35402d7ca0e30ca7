"""Points into a run in as few calls as MLflow allows, and which of them it has already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pipeline.tracking.specification import Point

if TYPE_CHECKING:
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.tracking import MlflowClient

LARGEST = 1000  # metrics a call; 100 parameters, 100 tags, and no more than 1,000 of all together


def stored_points(client: MlflowClient, run_id: str, metrics: Iterable[str]) -> Counter[tuple[str, int]]:
    """Returns how often each (metric, step) stands in a run, for the given metrics."""
    return Counter((name, point.step) for name in metrics for point in client.get_metric_history(run_id, name))


def stored_steps(client: MlflowClient, run_id: str, metrics: Iterable[str]) -> dict[str, set[int]]:
    """Metric → the steps of it that a run has."""
    return {name: {point.step for point in client.get_metric_history(run_id, name)} for name in metrics}


def as_metric(point: Point) -> Metric:
    from mlflow.entities import Metric

    return Metric(point.metric, point.value, int(point.time * 1000), point.step)


def send(
    client: MlflowClient,
    run_id: str,
    metrics: Sequence[Metric],
    parameters: Sequence[Param] = (),
    tags: Sequence[RunTag] = (),
) -> None:
    """Sends everything, whatever its length."""
    for start in range(0, max(len(metrics), 10 * len(parameters), 10 * len(tags)), LARGEST):
        few = slice(start // 10, start // 10 + 100)
        room = LARGEST - len(parameters[few]) - len(tags[few])
        batch = metrics[start : start + LARGEST]
        client.log_batch(run_id, metrics=batch[:room], params=parameters[few], tags=tags[few])
        if batch[room:]:
            client.log_batch(run_id, metrics=batch[room:])
