"""A damaged SQLite file is named, and the way to get a whole one; a new one is whole or not there."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.tracking.address import Address
from pipeline.tracking.client import Unreachable, connect


def half_a_database(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("create table alembic_version (version_num text)")
        connection.executemany("insert into alembic_version values (?)", [("x" * 500,)] * 200)
    connection.close()
    path.write_bytes(path.read_bytes()[:20_000])


@pytest.mark.parametrize("kind", ["text", "half"])
def test_a_damaged_database_is_named_with_the_way_to_mend_it(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    half_a_database(file)
    if kind == "text":
        file.write_bytes(b"no database")
    with pytest.raises(Unreachable) as caught:
        connect(Address(f"sqlite:///{file}", f"sqlite:///{file}", None, tmp_path))
    expected = f"sqlite:///{file}: the database is damaged; restore it or move it away: `dvc repro` then writes it anew"
    assert str(caught.value).startswith(expected)


CONNECT = """
import sys
from pathlib import Path
from pipeline.tracking.address import Address
from pipeline.tracking.client import connect
connect(Address(sys.argv[1], sys.argv[1], None, Path()))
"""


def tables(file: Path) -> int:
    with sqlite3.connect(file) as connection:
        found: int = connection.execute("select count(*) from sqlite_master where name = 'runs'").fetchone()[0]
    connection.close()
    return found


def size_of(path: Path) -> int:
    """Of a file that may be gone since it was listed, as SQLite's journal is."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def test_a_set_up_that_is_killed_leaves_no_half_database(tmp_path: Path) -> None:
    file, root = tmp_path / "mlflow.db", Path(__file__).parents[2]
    command = [sys.executable, "-c", CONNECT, f"sqlite:///{file}"]
    process = subprocess.Popen(command, cwd=root)
    while process.poll() is None and not any(size_of(path) > 100_000 for path in tmp_path.iterdir()):
        time.sleep(0.01)
    process.kill()
    assert process.wait() < 0 and not file.exists(), "killed among its steps"
    subprocess.run(command, cwd=root, check=True)
    assert tables(file) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"], "what was begun is gone"


def test_a_set_up_does_not_replace_what_another_process_has_made(tmp_path: Path) -> None:
    from pipeline.tracking.new_store import set_up

    file = tmp_path / "mlflow.db"

    def slow(uri: str) -> None:
        Path(uri.removeprefix("sqlite:///")).write_bytes(b"mine")
        file.write_bytes(b"theirs")

    (tmp_path / f"mlflow.db.new-{os.getppid()}").write_bytes(b"being made")
    set_up(f"sqlite:///{file}", slow)
    assert file.read_bytes() == b"theirs"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlflow.db", f"mlflow.db.new-{os.getppid()}"]
