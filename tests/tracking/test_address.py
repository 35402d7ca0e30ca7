"""Which MLflow is meant, and that nobody reads its password."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from pipeline.params import ParamsError, Tracking
from pipeline.tracking.address import address_of, repository, without_credentials
from pipeline.tracking.client import Unreachable, connect


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def tracking(uri: str | None = None, artifacts: str | None = None) -> Tracking:
    return Tracking(uri=uri, artifacts=artifacts)


def test_without_an_address_runs_stay_in_the_repository(tmp_path: Path) -> None:
    address = address_of(tracking(), tmp_path)
    assert address.uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert address.artifacts == (tmp_path / "mlartifacts").as_uri()


def test_environment_wins_over_params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    address = address_of(tracking("sqlite:///other.db"), tmp_path)
    assert address.uri == "http://127.0.0.1:5000"
    assert address.artifacts is None  # the server decides


def test_relative_files_are_meant_from_the_repository(tmp_path: Path) -> None:
    address = address_of(tracking("sqlite:///runs/mine.db", "store"), tmp_path)
    assert address.uri == f"sqlite:///{tmp_path}/runs/mine.db"
    assert address.artifacts == (tmp_path / "store").as_uri()


@pytest.mark.parametrize("inside", [".dvc/tmp/exps/standalone/tmpabc", ".dvc/tmp/exps/tmpabc/sub"])
def test_temporary_experiments_of_dvc_track_into_the_outer_repository(tmp_path: Path, inside: str) -> None:
    copy = tmp_path / inside
    copy.mkdir(parents=True)
    assert repository(copy) == tmp_path
    assert address_of(tracking(), copy).uri == f"sqlite:///{tmp_path}/mlflow.db"


@pytest.mark.parametrize("uri", ["./mlruns", "file:///tmp/mlruns"])
def test_plain_files_are_refused_with_what_is_allowed(tmp_path: Path, uri: str) -> None:
    with pytest.raises(ParamsError, match=r"tracking\.uri: found .*; allowed: sqlite"):
        address_of(tracking(uri), tmp_path)


def test_credentials_are_never_shown(tmp_path: Path) -> None:
    address = address_of(tracking("postgresql://me:geheim@db.example:5432/mlflow?sslpassword=geheim2"), tmp_path)
    assert address.shown == "postgresql://db.example:5432/mlflow"
    message = address.scrub(f"cannot open {address.uri}: user me, password geheim, option geheim2")
    assert "geheim" not in message
    assert without_credentials("http://me:geheim@host:5000/path") == "http://host:5000/path"


def test_accounts_that_databases_name_are_not_shown(tmp_path: Path) -> None:
    """Also not that of a tracking server with its own database, which passes on what it was told."""
    address = address_of(tracking("http://host:5000"), tmp_path)
    assert address.scrub('authentication failed for user "keeper"') == "authentication failed for user ***"
    assert address.scrub("Access denied for user 'me'@'host'") == "Access denied for user ***@'host'"


def test_message_about_an_absent_server_is_short_and_has_no_password(tmp_path: Path) -> None:
    address = address_of(tracking("http://me:geheim@127.0.0.1:9"), tmp_path)
    with pytest.raises(Unreachable) as found:
        connect(address)
    assert str(found.value) == "http://127.0.0.1:9: no server answers there"


def test_server_that_never_answers_costs_seconds_not_minutes(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = address_of(tracking(f"http://127.0.0.1:{silent.getsockname()[1]}"), tmp_path)
        start = time.monotonic()
        with pytest.raises(Unreachable, match="no answer in time"):
            connect(address)
    assert time.monotonic() - start < 10
