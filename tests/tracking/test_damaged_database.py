"""A damaged SQLite file is named, and the way to get a whole one."""

from __future__ import annotations

import sqlite3
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
