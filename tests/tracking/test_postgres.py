"""PostgreSQL as the store of MLflow and of Optuna's shared studies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from servers import Postgres

APART = "?options=-csearch_path%3Doptuna"  # in an address: the tables of this connection live in the schema `optuna`
DRIVERS = ["postgresql", "postgresql+psycopg2", "postgresql+psycopg"]


def test_a_database_asks_for_its_password(postgres: Postgres) -> None:
    import psycopg2

    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(host="127.0.0.1", port=postgres.port, user=postgres.user, password="?", dbname="postgres")


@pytest.mark.parametrize("driver", DRIVERS)
def test_mlflow_and_optuna_share_a_database_in_two_schemas(postgres: Postgres, driver: str) -> None:
    import optuna
    from mlflow.tracking import MlflowClient

    pytest.importorskip("psycopg")
    name = f"shared-{driver}"
    postgres.create(name, "optuna")
    client = MlflowClient(postgres.address(name, driver))
    study = optuna.create_study(storage=postgres.address(name, driver, APART), study_name="digits")
    study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=2)
    run = client.create_run(client.create_experiment("digits"))
    client.log_metric(run.info.run_id, "loss", 0.5)
    assert client.get_run(run.info.run_id).data.metrics == {"loss": 0.5}
    schemas = dict(postgres.execute(name, "select table_name, table_schema from information_schema.tables "
                                          "where table_name in ('trials', 'runs')"))  # fmt: skip
    assert schemas == {"runs": "public", "trials": "optuna"}
    versions = [postgres.execute(name, f"select * from {schema}.alembic_version") for schema in ("public", "optuna")]
    assert len(versions[0]) == len(versions[1]) == 1 and versions[0] != versions[1]


def test_in_one_schema_each_stumbles_over_the_others_table_of_versions(postgres: Postgres) -> None:
    """Why the schemas: both keep their version in a table `alembic_version`. Fails once one of them mends that."""
    import optuna
    from alembic.util import CommandError
    from mlflow.tracking import MlflowClient

    address = postgres.create("mlflow-first")
    MlflowClient(address).search_experiments()
    with pytest.raises(RuntimeError, match="no longer compatible with the table schema"):
        optuna.create_study(storage=address)
    address = postgres.create("optuna-first")
    optuna.create_study(storage=address)
    with pytest.raises(CommandError, match="Can't locate revision"):
        MlflowClient(address).search_experiments()
