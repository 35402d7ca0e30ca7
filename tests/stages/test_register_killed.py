"""`register` may be killed between any two things that it writes to MLflow: the next run ends with one history."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from registered import aliases, client_of, record, retrain

from pipeline.registry.ledger import MOVING, lines_of
from pipeline.registry.versions import Registrar
from pipeline.stages.register import main as register

WRITES = ("create_", "set_", "log_", "finalize_", "delete_", "update_")
EVERY = 2  # of the calls one in two is tried, to save time


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the pipeline may catch it."""


@contextmanager
def killed_at(call: int | None) -> Iterator[list[str]]:
    """Ends the registrar before its n-th call that writes to MLflow. Yields the names of the calls that were made."""
    from mlflow.tracking import MlflowClient

    made: list[str] = []

    def watched(name: str, real: Any) -> Any:
        def method(self: Any, *arguments: Any, **options: Any) -> Any:
            if len(made) == call:
                raise Killed
            made.append(name)
            return real(self, *arguments, **options)

        return method

    def settle(registrar: Registrar) -> Any:
        with pytest.MonkeyPatch.context() as inside:
            for name in [name for name in dir(MlflowClient) if name.startswith(WRITES)]:
                inside.setattr(MlflowClient, name, watched(name, getattr(MlflowClient, name)))
            return real_settle(registrar)

    real_settle = Registrar.settle
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Registrar, "settle", settle)
        yield made


def copy_database(source: Path, target: Path) -> None:
    """By SQLite itself, because this process holds the file open."""
    with sqlite3.connect(source) as here, sqlite3.connect(target) as there:
        here.backup(there)


def state(root: Path) -> dict[str, Any]:
    """What is left in MLflow and in the file, without times and random names."""
    client = client_of(root)
    model, place = client.get_registered_model("digits"), client.get_experiment_by_name("digits").experiment_id
    unstable = ("pipeline.decided", "pipeline.decision_digest")
    versions = {
        version.version: ({name: value for name, value in version.tags.items() if name not in unstable},
                          version.description)
        for version in client.search_model_versions("name = 'digits'")
    }  # fmt: skip
    history = record(root)["history"]
    assert lines_of(model.tags) == history
    return {
        "versions": versions,
        "aliases": aliases(client),
        "models": sorted(str(found.status) for found in client.search_logged_models([place])),
        "history": [(line["kind"], line["from"], line["to"], line["reason"]) for line in history],
        "moving": MOVING in model.tags,
    }


def test_register_killed_between_any_two_calls_ends_like_one_that_was_not(trained: Path, fake: ModuleType) -> None:
    params = fake.params_for("digits")
    register(None, params)
    retrain(fake, trained, "bbb", 0.95)
    copy_database(trained / "mlflow.db", trained / "before.db")
    file = (trained / "reports/registry.json").read_bytes()
    shutil.copytree(trained / "mlartifacts", trained / "artifacts-before")

    def rewind() -> None:
        copy_database(trained / "before.db", trained / "mlflow.db")
        (trained / "reports/registry.json").write_bytes(file)
        shutil.rmtree(trained / "mlartifacts")
        shutil.copytree(trained / "artifacts-before", trained / "mlartifacts")

    with killed_at(None) as calls:
        register(None, params)
    straight = state(trained)
    assert straight["aliases"] == {"champion": 2, "challenger": 2} and not straight["moving"]
    assert len(straight["models"]) == 2
    for call in range(0, len(calls), EVERY):
        rewind()
        with killed_at(call), pytest.raises(Killed):
            register(None, params)
        register(None, params)
        assert state(trained) == straight, f"killed before {calls[call]}, call {call} of {len(calls)}"
    assert json.loads(file)["experiments"]["digits"]["history"] == record(trained)["history"][:1]
