"""Lists every difference between the files, dvc.lock and MLflow, and what would mend it. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.differences import DIFFERENCES
from pipeline.differences.runs import EXPERIMENT, planned_differences
from pipeline.params import Params, ParamsError, nearest
from pipeline.registry import record
from pipeline.registry.audit import version_differences
from pipeline.registry.store import Store
from pipeline.tracking.address import Address, address_of
from pipeline.tracking.audit import REGISTER, Difference, run_differences
from pipeline.tracking.audit_files import file_differences
from pipeline.tracking.client import Unreachable, connect, reported
from pipeline.tracking.outputs import planned_runs

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


def main(name: str | None, params: Params) -> int:
    """Returns 1 where something differs that matters, else 0. Raises ValueError where DVC or MLflow cannot be asked."""
    if name not in (None, EXPERIMENT, *params.experiments):
        raise ParamsError(f"experiment: found {name}; {nearest(str(name), [*params.experiments, EXPERIMENT])}")
    address = address_of(params.tracking)
    differences = list(_printed(file_differences(Path.cwd())))
    experiments = [name] if name else [*params.experiments, EXPERIMENT]
    if _is_absent(address):
        differences += _printed([Difference("MLflow", f"there is no {address.shown} yet", REGISTER)])
    else:
        try:
            with reported(address):
                client = connect(address)
                for experiment in experiments:
                    differences += _printed(_of_experiment(experiment, params, address, client))
        except Unreachable as error:
            raise ValueError(f"the files were compared, but not MLflow: {error}") from None
    count = sum(difference.matters for difference in differences)
    print(f"audit: {count} difference{'' if count == 1 else 's'}")
    return 1 if count else 0


def _of_experiment(experiment: str, params: Params, address: Address, client: MlflowClient) -> Iterator[Difference]:
    """Compares runs, versions and aliases of one experiment."""
    is_own = experiment == EXPERIMENT  # of the ten differences, which have no models
    planned = (
        planned_differences(DIFFERENCES) if is_own
        else planned_runs(experiment, params.experiments[experiment].candidates)
    )  # fmt: skip
    place = client.get_experiment_by_name(experiment)
    if place is None or place.lifecycle_stage != "active":
        if planned:
            yield Difference(experiment, "MLflow has no such experiment", REGISTER)
        return
    yield from run_differences(client, place.experiment_id, experiment, planned)
    if is_own:
        return
    entry = record.read(address.root)["experiments"].get(experiment, {})
    yield from version_differences(Store(client, address, experiment, place.experiment_id, ""), entry)


def _is_absent(address: Address) -> bool:
    """Whether the store is a file that does not exist: connecting would make it."""
    return address.uri.startswith("sqlite:///") and not Path(address.uri.removeprefix("sqlite:///")).exists()


def _printed(differences: Iterable[Difference]) -> Iterator[Difference]:
    for difference in differences:
        print(f"{'differs' if difference.matters else 'note   '}  {difference}")
        yield difference
