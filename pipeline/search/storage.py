"""Where several machines search together: the address of a database, how it is opened, and what it raises when away.

An address can hold a password. It appears in no message: those name `Address.shown`.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipeline.params import Study
from pipeline.tracking.address import Address, repository, without_credentials

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from sqlalchemy import Engine

VARIABLE = "PIPELINE_STUDY_STORAGE"
ALLOWED = "sqlite:///file (processes on one machine), postgresql://user@host/database or mysql://user@host/database"
DATABASES = ("sqlite", "postgresql", "mysql")
PACKAGES = {"psycopg": "'psycopg[binary]'", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}  # of a module
TRIES = 12  # to open a database in which another machine makes the tables at the same moment


def address_of(study: Study, here: Path | None = None) -> Address | None:
    """Where the search is shared, or None where it is not; PIPELINE_STUDY_STORAGE wins over params.yaml."""
    root = repository(here or Path.cwd())
    if os.environ.get(VARIABLE):
        return parse(os.environ[VARIABLE], VARIABLE, root)
    return None if study.storage is None else parse(study.storage, "study.storage", root)


def parse(uri: str, origin: str, root: Path) -> Address:
    """Raises ValueError for an address that is none, without repeating it: nobody knows where its password stands."""
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme.partition("+")[0] not in DATABASES or not rest:
        shown = f"an address that begins with {scheme}://" if separator else "text that is no address"
        raise ValueError(f"{origin}: found {shown}; allowed: {ALLOWED}")
    if scheme.startswith("sqlite"):
        return _file(scheme, rest, root, origin)
    if not _is_readable(uri):
        raise ValueError(
            f"{origin}: the {scheme}:// address cannot be read; characters such as / @ : ? # in a password must be "
            f"written as %2F %40 %3A %3F %23; allowed: {ALLOWED}"
        )
    return Address(uri, without_credentials(uri), None, root)


def _is_readable(uri: str) -> bool:
    """Whether all programs read the same host in it: else one would show a part of the password as the host's name."""
    try:
        parts = urlsplit(uri)
        return (parts.port or 1) > 0 and parts.netloc.count("@") <= 1 and "@" not in parts.path + parts.query
    except ValueError:
        return False


def _file(scheme: str, rest: str, root: Path, origin: str) -> Address:
    """A relative file lies in the repository, also for `dvc exp run --temp`, which works in a copy of it."""
    file = rest.removeprefix("/")
    if not rest.startswith("/") or not file or file.startswith(":memory:"):
        raise ValueError(f"{origin}: found {scheme}://{rest}; allowed: {ALLOWED}")
    uri = f"{scheme}:///{(root / file).as_posix()}"
    return Address(uri, uri, None, root)


def open_storage(address: Address) -> RDBStorage:
    """Raises ValueError, in one sentence, where the database does not answer or is not one for searches."""
    import sqlalchemy
    from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError

    settings = _engine_settings(address.uri)
    try:
        engine = sqlalchemy.create_engine(address.uri, **settings)
        try:
            _refuse_foreign_tables(engine, address)
        finally:
            engine.dispose()
    except ImportError as error:
        package = PACKAGES.get(str(error.name), error.name)
        raise ValueError(f"study.storage: {error}; install the driver: pip install {package}") from None
    except NoSuchModuleError as error:
        raise ValueError(f"study.storage: SQLAlchemy knows no such driver: {address.scrub(error)}") from None
    except SQLAlchemyError as error:
        raise ValueError(
            f"study.storage: {address.shown} does not answer ({reason(error, address)}); start it, or search on this "
            f"machine alone with `storage: null` and without {VARIABLE}. Nothing was changed"
        ) from None
    return _prepared(address, settings)


def away() -> tuple[type[Exception], ...]:
    """Returns what a database that does not answer raises, through Optuna or directly."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    return StorageInternalError, SQLAlchemyError


def reason(error: BaseException, address: Address) -> str:
    """The first line of what the driver said, without credentials."""
    cause = getattr(error, "orig", None) or getattr(error.__cause__, "orig", None) or error.__cause__ or error
    lines = address.scrub(cause).strip().splitlines()
    return lines[0] if lines else type(cause).__name__


def _prepared(address: Address, settings: dict[str, Any]) -> RDBStorage:
    """The storage with its tables. Several machines that make them at once disturb each other: those wait and look."""
    from optuna.storages import RDBStorage

    template = address.uri.replace("{", "{{").replace("}", "}}")  # Optuna fills braces in
    for attempt in range(TRIES):
        try:
            return RDBStorage(template, engine_kwargs=dict(settings))
        except away() as error:
            message = reason(error, address)
            time.sleep(random.uniform(0.05, 0.2) * (attempt + 1))
        except RuntimeError as error:
            raise ValueError(f"study.storage: {address.shown}: {address.scrub(error)}") from None
    raise ValueError(f"study.storage: the tables of {address.shown} cannot be made ({message})")


def _engine_settings(uri: str) -> dict[str, Any]:
    """A server that is gone shall be noticed within seconds, and one that came back be used again."""
    if uri.startswith("sqlite"):
        return {"connect_args": {"timeout": 60}}  # seconds that a writer waits for another one
    settings: dict[str, Any] = {"pool_pre_ping": True, "pool_size": 2}
    if uri.startswith(("postgresql:", "postgresql+psycopg:", "postgresql+psycopg2:")):
        settings["connect_args"] = {
            "connect_timeout": 10, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
            "tcp_user_timeout": 20_000,
        }  # fmt: skip
    return settings


def _refuse_foreign_tables(engine: Engine, address: Address) -> None:
    """Optuna and MLflow both keep their version in a table `alembic_version`: in one database they break each other."""
    import sqlalchemy

    with engine.connect() as connection:
        tables = set(sqlalchemy.inspect(connection).get_table_names())
    if tables & {"alembic_version", "registered_models"} and "studies" not in tables:
        raise ValueError(
            f"study.storage: {address.shown} holds the tables of another program, such as MLflow; "
            "give searches a database or a schema of their own. Nothing was changed"
        )
