"""Clones of this repository in which commands run as on another machine, and servers that they talk to."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
# What runs have made; without results of the differences no clone sends them to its MLflow, which takes 9 seconds.
GENERATED = ("dvc.lock", "metrics/", "reports/", "mlflow.db", "differences/dvc.lock", "differences/results/")


@dataclass
class Clone:
    """A clone with its own MLflow store, cache and working files."""

    folder: Path
    ran: list[str] = field(default_factory=list)  # the stages of its first run
    said: str = ""

    def environment(self, **variables: str) -> dict[str, str]:
        """The variables of a command in the clone: the programs of this environment in front, and a git of its own."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PYTEST", "DVC_"))}
        own = {
            "PATH": f"{BIN}{os.pathsep}{kept['PATH']}", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1",
            "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org", "DVC_NO_ANALYTICS": "1",
        }  # fmt: skip
        return {**kept, **own, **variables}

    def run(self, *command: str, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        """A command in the clone."""
        environment = self.environment(**variables)
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    def repro(self, *targets: str, **variables: str) -> tuple[list[str], str]:
        """(the stages that ran, all that was said) of `dvc repro`."""
        done = self.run("dvc", "repro", *targets, **variables)
        said = done.stdout + done.stderr
        assert "Traceback" not in said, said
        return re.findall(r"Running stage '([^']+)'", said), said

    def read(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")

    def edit(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Changes params.yaml."""
        path = self.folder / "params.yaml"
        document = YAML(typ="safe", pure=True).load(path)
        change(document)
        YAML(pure=True).dump(document, path)

    def commit(self) -> None:
        self.run("git", "add", "-A")
        self.run("git", "commit", "-q", "--allow-empty", "-m", "State")

    def status(self) -> str:
        return self.run("git", "status", "--porcelain").stdout


def fresh_clone(folder: Path) -> Clone:
    """The files of the last commit and what was changed since, nothing that runs have made, and a small params.yaml."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).is_file() and not name.startswith((*GENERATED, "tests/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    shutil.copy(ROOT / "tests" / "tiny.yaml", folder / "params.yaml")
    clone = Clone(folder)
    clone.run("git", "init", "-q", "-b", "main")
    clone.edit(only_digits)
    clone.commit()
    return clone


def only_digits(document: dict[str, Any]) -> None:
    """One experiment with two candidates, and enough epochs for a champion."""
    for section in ("downloads", "experiments"):
        document[section] = {"digits": document[section]["digits"]}
    kept = document["experiments"]["digits"]["candidates"]
    document["candidates"] = {name: document["candidates"][name] for name in kept}
    document["experiments"]["digits"]["training"] |= {"epochs": 40, "patience": 40}


def store(database: Path) -> dict[str, Any]:
    """What an MLflow database holds: runs by their key, versions and aliases."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        rows = connection.execute(
            "select t.value, r.status from runs r join tags t on t.run_uuid = r.run_uuid and t.key = 'pipeline.key' "
            "where r.lifecycle_stage = 'active' order by 1"
        ).fetchall()
        versions = connection.execute("select name, version from model_versions order by 1, 2").fetchall()
        aliases = connection.execute(
            "select name, alias, version from registered_model_aliases order by 1, 2"
        ).fetchall()
    return {"runs": rows, "versions": versions, "aliases": aliases}


@contextmanager
def serving(command: list[str], url: str, folder: Path, **variables: str) -> Iterator[None]:
    """A server that answers at `url` while the block runs."""
    own = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "MLFLOW_DISABLE_TELEMETRY": "true", **variables}
    own |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **own}, stdout=log, stderr=log, start_new_session=True
        )
    try:
        for _ in range(300):
            assert process.poll() is None, (folder / "server.log").read_text(encoding="utf-8")
            try:
                urllib.request.urlopen(url, timeout=2).close()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.3)
        else:
            raise AssertionError((folder / "server.log").read_text(encoding="utf-8"))
        yield
    finally:
        os.killpg(process.pid, 15)
        process.wait(20)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
