"""A connection to MLflow that fails soon, and says in one sentence why."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.tracking.address import Address

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

# MLflow would wait for 120 s and try 7 times, which is minutes for a server that is switched off.
PROBING = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "4", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
WORKING = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "30", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


class Unreachable(Exception):
    """MLflow did not answer or refused; the message has no credentials."""


def connect(address: Address) -> MlflowClient:
    """A client for an MLflow that has just answered. Raises Unreachable after a few seconds otherwise.

    Imports mlflow, which takes more than a second; a new sqlite store takes another 2.5.
    """
    _set_defaults(QUIET)
    with _only_for_now(PROBING), reported(address):
        from mlflow.tracking import MlflowClient

        # Setting up a database logs every migration.
        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
        client = MlflowClient(address.uri, address.uri)
        client.search_experiments(max_results=1)
    _set_defaults(WORKING)
    return client


@contextmanager
def reported(address: Address) -> Iterator[None]:
    """Turns whatever MLflow raises into Unreachable with a message that shows no credentials."""
    try:
        yield
    except Unreachable:
        raise
    except Exception as error:
        lines = address.scrub(error).strip().splitlines() or [""]
        raise Unreachable(f"{address.shown}: {type(error).__name__}: {_shortened(lines[0])}") from error


def experiment_id(client: MlflowClient, address: Address, name: str, description: str) -> str:
    """The id of an MLflow experiment, which is created, or restored from the bin, where necessary."""
    found = client.get_experiment_by_name(name)
    if found is None:
        place = None if address.artifacts is None else f"{address.artifacts}/{name}"
        return str(client.create_experiment(name, place, {"mlflow.note.content": description}))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _shortened(text: str) -> str:
    return text if len(text) <= 300 else text[:299] + "…"


def _set_defaults(values: Mapping[str, str]) -> None:
    for name, value in values.items():
        os.environ.setdefault(name, value)


@contextmanager
def _only_for_now(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables that the user has not set, for the length of a `with` block."""
    added = [name for name in values if name not in os.environ]
    _set_defaults({name: values[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
