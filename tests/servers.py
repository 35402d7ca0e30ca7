"""Servers that tests start themselves, on loopback: PostgreSQL, and `mlflow server` on whatever store is asked for.

A plugin of tests/conftest.py: every test can ask for the fixtures `postgres` and `mlflow_server`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest
from clones import BIN, free_port

USER, PASSWORD = "keeper", "geheim/Wort@9"  # characters that an address has to write as %2F and %40
UNPRIVILEGED = ("postgres", "nobody")  # PostgreSQL refuses to run as root


@dataclass(frozen=True)
class Postgres:
    """A running PostgreSQL that asks for a password."""

    port: int
    user: str = USER
    password: str = PASSWORD

    def address(self, database: str, driver: str = "postgresql", options: str = "") -> str:
        """Its SQLAlchemy address, with the password."""
        account = f"{self.user}:{quote(self.password, safe='')}"
        return f"{driver}://{account}@127.0.0.1:{self.port}/{database}{options}"

    def create(self, database: str, *schemas: str) -> str:
        """The address of a new database, with more schemas than the usual one where they are named."""
        self.execute("postgres", f'create database "{database}"')
        for schema in schemas:
            self.execute(database, f'create schema "{schema}"')
        return self.address(database)

    def execute(self, database: str, statement: str) -> list[tuple[object, ...]]:
        """The rows that a statement answers with, if any."""
        import psycopg2

        connection = psycopg2.connect(
            host="127.0.0.1", port=self.port, user=self.user, password=self.password, dbname=database
        )
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """PostgreSQL for a whole run of tests, which make a database each; skips where it is not installed."""
    pytest.importorskip("psycopg2", reason="no driver: pip install psycopg2-binary")
    programs = postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: no initdb and postgres on PATH or in /usr/lib/postgresql")
    with running_postgres(programs) as found:
        yield found


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """An `mlflow server` on sqlite for a whole run of tests, which use experiments of their own and leave it alone."""
    folder = tmp_path_factory.mktemp("server")
    with running_mlflow(f"sqlite:///{folder}/server.db", folder) as found:
        yield found


def postgres_programs() -> Path | None:
    """The folder of initdb and postgres; Debian keeps them off the PATH."""
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "initdb").exists() and (place / "postgres").exists()), None)


@contextmanager
def running_postgres(programs: Path) -> Iterator[Postgres]:
    """A new PostgreSQL in a temporary folder, gone with all its data when the block ends."""
    account = _account()
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))  # pytest's folders are closed to other accounts
    secret = folder / "password"
    secret.write_text(PASSWORD + "\n", encoding="utf-8")
    if account is not None:
        for path in (folder, secret):
            shutil.chown(path, account)
    data, found = folder / "data", Postgres(free_port())
    setup = [programs / "initdb", "-D", data, "-U", USER, f"--pwfile={secret}", "--auth=scram-sha-256", "--no-sync"]
    command = [programs / "postgres", "-D", data, "-p", str(found.port), "-h", "127.0.0.1", "-k", folder, "-F"]
    with (folder / "server.log").open("w") as log:
        try:
            subprocess.run(setup, cwd=folder, user=account, stdout=log, stderr=log, check=True)
            process = subprocess.Popen(command, cwd=folder, user=account, stdout=log, stderr=log)
            try:
                _wait(lambda: _connects(found), process, folder / "server.log")
                yield found
            finally:
                process.send_signal(signal.SIGINT)  # a fast shutdown, which does not wait for connections
                process.wait(20)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _account() -> str | None:
    """The account for PostgreSQL, or None for one's own."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    found = next((name for name in UNPRIVILEGED if name in names), None)
    if found is None:
        pytest.skip(f"PostgreSQL does not run as root, and there is no account {' or '.join(UNPRIVILEGED)}")
    return found


def _connects(server: Postgres) -> bool:
    import psycopg2

    try:
        server.execute("postgres", "select 1")
    except psycopg2.OperationalError:
        return False
    return True


@dataclass
class MlflowServer:
    """A real `mlflow server` that can be killed, frozen and started again at the same address."""

    store: str  # its backend store
    folder: Path  # for its log and its artifacts
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    def start(self, wait: bool = True) -> None:
        """Starts it, and waits until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", self.store, "--workers", "1"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        own = {"PATH": f"{BIN}{os.pathsep}{kept['PATH']}", "MLFLOW_DISABLE_TELEMETRY": "true"}
        own |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env={**kept, **own}, stdout=log, stderr=log, start_new_session=True
            )
        if wait:
            _wait(self.answers, self.process, self.log)

    def answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.address}/health", timeout=2).close()
        except (urllib.error.URLError, OSError):
            return False
        return True

    def kill(self) -> None:
        """As `kill -9` of the server and all its workers."""
        self._signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait(20)
        self.process = None

    def freeze(self) -> None:
        """It still accepts connections, and never answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self.process is not None, "the server does not run"
        os.killpg(self.process.pid, number)


@contextmanager
def running_mlflow(store: str, folder: Path, start: bool = True) -> Iterator[MlflowServer]:
    """An `mlflow server` on this store, which is killed when the block ends; `start=False`: it is away at first."""
    server = MlflowServer(store, folder)
    try:
        if start:
            server.start()
        yield server
    finally:
        if server.process is not None:
            server.kill()


def _wait(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not ready():
        said = log.read_text(encoding="utf-8", errors="replace")[-3000:]
        assert process.poll() is None, f"the server ended:\n{said}"
        assert time.monotonic() < end, f"the server does not answer after {seconds} s:\n{said}"
        time.sleep(0.1)
