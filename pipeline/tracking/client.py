"""A connection to MLflow that fails soon, and says in one sentence why."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.tracking.address import Address
from pipeline.tracking.new_store import set_up

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

# MLflow would wait for 120 s and try 7 times, which is minutes for a server that is switched off.
PROBING = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "4", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
# A request whose answer was lost may have been done: repeating it blindly would create a second run or version.
WORKING = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "30", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # with the password, where the address has one
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
    "PGCONNECT_TIMEOUT": "10",  # seconds; PostgreSQL's drivers would wait for minutes
}

FOREIGN = ("mlflow.", "requests.", "urllib3.", "sqlalchemy.", "alembic.", "sqlite3", "psycopg", "pymysql", "MySQLdb",
           "boto", "google.", "azure.")  # fmt: skip


# The last one is of a set-up that was broken off, perhaps by an MLflow that someone started by hand.
DAMAGED = ("file is not a database", "disk image is malformed", "table _alembic_tmp_")


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
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # errors, too: with account and traceback
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # every retry; the last one is reported
        _try_database(address)
        set_up(address.uri, lambda uri: MlflowClient(uri, uri).search_experiments(max_results=1))
        client = MlflowClient(address.uri, address.uri)
        client.search_experiments(max_results=1)
    _set_defaults(WORKING)
    return client


@contextmanager
def reported(address: Address) -> Iterator[None]:
    """Turns what MLflow and its connections raise into Unreachable with a message that shows no credentials."""
    try:
        yield
    except Exception as error:
        if not any(kind.__module__.startswith(FOREIGN) for kind in type(error).__mro__):
            raise
        raise Unreachable(
            f"{address.shown}: {_in_short(address.scrub(error))}"
        ) from None  # its cause names the account


@contextmanager
def as_default(address: Address) -> Iterator[None]:
    """Makes this address MLflow's own default for a while: inside the model registry, MLflow asks it and no client."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    os.environ["MLFLOW_TRACKING_URI"] = address.uri
    try:
        yield
    finally:
        if before is None:
            del os.environ["MLFLOW_TRACKING_URI"]
        else:
            os.environ["MLFLOW_TRACKING_URI"] = before


def experiment_id(client: MlflowClient, address: Address, name: str, description: str) -> str:
    """The id of an MLflow experiment, which is created, or restored from the bin, where necessary."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        place = None if address.artifacts is None else f"{address.artifacts}/{name}"
        return _created(client, name, place, description)
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return str(experiment.experiment_id)


def _created(client: MlflowClient, name: str, place: str | None, description: str) -> str:
    from mlflow.exceptions import MlflowException

    try:
        return str(client.create_experiment(name, place, {"mlflow.note.content": description}))
    except MlflowException:
        experiment = client.get_experiment_by_name(name)  # another machine was a moment earlier
        if experiment is None:
            raise
        return str(experiment.experiment_id)


def _try_database(address: Address) -> None:
    """One connection to a database server: MLflow would try again for an hour, and log the account each time."""
    if address.remote or address.uri.startswith("sqlite:"):
        return
    import sqlalchemy

    engine = sqlalchemy.create_engine(address.uri, poolclass=sqlalchemy.NullPool)
    try:
        engine.connect().close()
    finally:
        engine.dispose()


def _in_short(message: str) -> str:
    """The first line of a message; of a failed connection what went wrong, without the layers that report it."""
    if "Failed to establish a new connection" in message or "Connection refused" in message:
        return "no server answers there"
    if "timed out" in message or "timeout" in message.lower():
        return "no answer in time"
    if any(sign in message for sign in DAMAGED):
        return "the database is damaged; restore it or move it away: `dvc repro` then writes it anew from the files"
    first = (message.strip().splitlines() or ["unknown error"])[0]
    return first if len(first) <= 300 else first[:299] + "…"


def _set_defaults(values: Mapping[str, str]) -> None:
    for name, value in values.items():
        os.environ.setdefault(name, value)


@contextmanager
def _only_for_now(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for the length of a `with` block, except where the user has set them."""
    free = [name for name in values if os.environ.get(name) in (None, WORKING[name])]
    os.environ.update({name: values[name] for name in free})
    try:
        yield
    finally:
        for name in free:
            del os.environ[name]
